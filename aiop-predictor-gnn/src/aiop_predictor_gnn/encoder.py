"""The paper's network: node embedding, graph convolutions, mean over nodes, regressor.

Source: AIO-P (AAAI-23), section 3; ``comp_graph/tf_comp_graph_models.py`` of its code.
Module by module it is that code's ``CGRegressor``, without the layers that code builds
and never calls: of the 24,287 parameters it counts, 6,240 do not touch any output.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from aiop_predictor_gnn.batching import Batch, Gather
from aiop_predictor_gnn.nodes import NodeFeatures, Vocabulary

HIDDEN = 32
"""Width of node and graph embeddings (paper, appendix)."""

LAYERS = 6
"""Graph convolutions (paper, appendix)."""

RESOLUTION_WIDTH, KERNEL_WIDTH, BIAS_WIDTH = 8, 8, 2
"""How much of a node's embedding each attribute gets; the operation gets the rest (paper, appendix)."""

RESOLUTION_GAIN = 2.5
"""Initial weights of the resolution's embedding, in Xavier's: most normalised channels are below 0.1."""


class NodeEmbedding(nn.Module):
    """A vector for each node. Operations with weights also show their kernel and bias."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        ops = len(vocabulary.op_names)
        self.regular_op = nn.Embedding(ops, HIDDEN - RESOLUTION_WIDTH)
        self.weighted_op = nn.Embedding(ops, HIDDEN - RESOLUTION_WIDTH - KERNEL_WIDTH - BIAS_WIDTH)
        self.kernel = nn.Embedding(vocabulary.kernels, KERNEL_WIDTH // 2)
        self.resolution = nn.Linear(6, RESOLUTION_WIDTH)
        self.bias = nn.Linear(2, BIAS_WIDTH)

    def forward(self, nodes: NodeFeatures) -> Float[Tensor, "n hidden"]:
        """Embed every node."""
        resolution = self.resolution(nodes.resolution)
        regular = torch.cat([self.regular_op(nodes.op), resolution], dim=1)
        bias = self.bias(functional.one_hot(nodes.bias, 2).to(resolution.dtype))
        kernel = self.kernel(nodes.kernel).flatten(1)
        weighted = torch.cat([self.weighted_op(nodes.op), resolution, kernel, bias], dim=1)
        return torch.where(nodes.weighted[:, None], weighted, regular)


class GraphConv(nn.Module):
    """W_root x_i + W_rel Σ x_j + b over predecessors j, as torch_geometric's ``GraphConv``.

    Parameters have that layer's names and shapes. The linear maps come before the sum
    here, because there are fewer distinct inputs than outputs.

    Source: Morris et al., "Weisfeiler and Leman Go Neural", AAAI-19, equation 3.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lin_rel = nn.Linear(inputs, outputs)
        self.lin_root = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Float[Tensor, "m inputs"], hop: Gather) -> Float[Tensor, "n outputs"]:
        """One row for each row of ``hop``."""
        bias = functional.pad(self.lin_rel.bias, (0, self.lin_rel.out_features))
        parts = functional.linear(x, torch.cat([self.lin_root.weight, self.lin_rel.weight]), bias)
        return hop(parts.view(-1, self.lin_rel.out_features))


class GraphEncoder(nn.Module):
    """Graph convolutions, each followed by tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GraphConv(HIDDEN, HIDDEN) for _ in range(LAYERS))

    def states(self, x: Float[Tensor, "m hidden"], hops: tuple[Gather, ...]) -> list[Tensor]:
        """The rows of distinct nodes, and those after each hop."""
        states = [x]
        for layer, hop in zip(self.layers, hops, strict=True):
            states.append(torch.tanh(layer(states[-1], hop)))
        return states

    def forward(self, x: Float[Tensor, "m hidden"], hops: tuple[Gather, ...]) -> Float[Tensor, "n hidden"]:
        """The rows after the last hop, from those of distinct nodes."""
        return self.states(x, hops)[-1]


def projection(inputs: int) -> nn.Sequential:
    """What stands between a graph's embedding and the output."""
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.Linear(HIDDEN, HIDDEN),
    )


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights of ``network``: Xavier's, and standard normal embeddings.

    The research code keeps torch's defaults, whose convolutions are 1.7 times smaller.
    With these, as many steps rank better (measured on OFA-MobileNetV3).
    """
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class GraphRegressor(nn.Module):
    """One number for each graph of a batch."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.embedding = NodeEmbedding(vocabulary)
        self.encoder = GraphEncoder()
        self.projection = projection(HIDDEN)
        self.output = nn.Linear(HIDDEN, 1)

    @classmethod
    def initialised(cls, vocabulary: Vocabulary, generator: torch.Generator) -> GraphRegressor:
        """A network with random weights."""
        with torch.device("meta"):  # torch's own initialisation would draw from the global generator
            network = cls(vocabulary)
        network.to_empty(device=generator.device)
        initialise(network, generator)
        with torch.no_grad():
            network.embedding.resolution.weight *= RESOLUTION_GAIN
        return network

    def embed(self, batch: Batch) -> Float[Tensor, "g hidden"]:
        """The mean of each graph's node embeddings."""
        return batch.readout(self.encoder(self.embedding(batch.nodes), batch.hops)) / batch.sizes

    def head(self, graphs: Float[Tensor, "g hidden"]) -> Float[Tensor, " g"]:
        """The prediction from a graph's embedding."""
        prediction: Tensor = self.output(self.projection(graphs)).squeeze(1)
        return prediction

    def forward(self, batch: Batch) -> Float[Tensor, " g"]:
        """The scaled label of each graph."""
        return self.head(self.embed(batch))
