"""Cost, counted in one place, on the graph: multiply-adds (MACs) and parameters.

FLOPs are 2 × MACs and appear only on screen or where a formula asks for them.
Operations without multiplications by weights (activations, pooling, normalisation,
additions) count nothing, as in the numbers that the OFA and MobileNet papers print.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aiop_core.graph.model import NODE_COLUMNS, Graph, GraphSet
from aiop_core.graph.ops import Op

COST_SOURCE = "aiop-graph"
"""The ``source`` of every cost that this module counted."""


@dataclass(frozen=True)
class Cost:
    """What a network costs for one input: MACs, parameters, and who counted."""

    macs: int
    params: int
    source: str = COST_SOURCE


def node_macs(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Multiply-adds of each node for one input.

    A convolution costs output pixels × kernel area × C_in × C_out / groups; a transposed
    one counts its *input* pixels (thop 0.1.1 counts its output pixels, four times as many
    at stride 2); a matrix product costs rows × C_in × C_out / groups; a recurrent layer, whose
    groups are its gates and whose kernel's height its directions, costs at each step gates ×
    (C_in + hidden) × C_out.
    """
    op = columns["op"]
    h_in, h_out, w_in, w_out, c_in, c_out = columns["resolution"].astype(np.int64).T
    area = columns["kernel"].astype(np.int64).prod(axis=1)
    dense = c_in * c_out // columns["groups"].astype(np.int64)
    macs = np.zeros(len(op), dtype=np.int64)
    conv = (op == Op.Conv) | (op == Op.Depthwise) | (op == Op.DeformConv)
    macs[conv] = (h_out * w_out * area * dense)[conv]
    transposed = op == Op.ConvTranspose
    macs[transposed] = (h_in * w_in * area * dense)[transposed]
    product = op == Op.MatMul
    macs[product] = (h_out * w_out * dense)[product]
    recurrent = op == Op.Recurrent
    gates, directions = columns["groups"].astype(np.int64), np.maximum(columns["kernel"][:, 0].astype(np.int64), 1)
    macs[recurrent] = (h_out * w_out * gates * (c_in * c_out + c_out * c_out // directions))[recurrent]
    return macs


def cost(graph: Graph) -> Cost:
    """MACs and parameters of one graph, counted here."""
    macs = node_macs({name: getattr(graph, name) for name in NODE_COLUMNS})
    return Cost(int(macs.sum()), int(graph.params.sum()))


def macs(graphs: GraphSet) -> np.ndarray[Any, Any]:
    """Multiply-adds of each graph, shape (number of graphs,)."""
    return graphs.sum_by_graph(node_macs(graphs.columns))


def params(graphs: GraphSet) -> np.ndarray[Any, Any]:
    """Parameters of each graph, shape (number of graphs,)."""
    return graphs.sum_by_graph(graphs.columns["params"])
