"""The same network in plain torch_geometric: one row a node, one column of ``edge_index`` an edge.

What the fast path is tested and measured against, and the way to PyG's tools. It is
imported only by those who ask for it: torch_geometric takes seconds to import.

Shapes follow torch_geometric: ``edge_index`` is (2, edges), ``batch`` is (nodes,).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GraphConv, global_mean_pool

from aiop_core.graph.model import GraphSet
from aiop_predictor_gnn.encoder import HIDDEN, GraphRegressor
from aiop_predictor_gnn.nodes import NodeFeatures, NodeTable


class GeometricRegressor(nn.Module):
    """A :class:`~aiop_predictor_gnn.encoder.GraphRegressor` made of torch_geometric's layers.

    Args:
        network: gives the parameters; they are shared, not copied, but for those of the
            convolutions.
    """

    def __init__(self, network: GraphRegressor) -> None:
        super().__init__()
        self.network = network
        self.layers = nn.ModuleList()
        for layer in network.encoder.layers:
            conv = GraphConv(HIDDEN, HIDDEN)
            conv.load_state_dict(layer.state_dict())
            self.layers.append(conv)

    def forward(self, data: Data) -> Tensor:
        """One number for each graph of a PyG batch of :func:`geometric_data`."""
        x = self.network.embedding(NodeFeatures(data.op, data.resolution, data.kernel, data.bias, data.weighted))
        for layer in self.layers:
            x = torch.tanh(layer(x, data.edge_index))
        return self.network.head(global_mean_pool(x, data.batch))


def geometric_data(graphs: GraphSet, nodes: NodeTable) -> list[Data]:
    """Each graph as a PyG ``Data`` with the features ``nodes``, for PyG's ``DataLoader``."""
    features = vars(nodes.tensors("cpu"))
    edges = torch.as_tensor(graphs.edges.astype(np.int64))
    sizes, edge_counts = graphs.sizes.tolist(), np.diff(graphs.edge_offsets).tolist()
    columns = {name: column.split(sizes) for name, column in features.items()}
    return [
        Data(edge_index=edge_index, num_nodes=size, **{name: parts[i] for name, parts in columns.items()})
        for i, (edge_index, size) in enumerate(zip(edges.split(edge_counts, dim=1), sizes, strict=True))
    ]
