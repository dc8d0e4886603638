"""Numbers that describe a graph as a whole, for predictors that do not read its edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from aiop_core.graph.cost import node_macs
from aiop_core.graph.model import GraphSet
from aiop_core.graph.ops import WEIGHTED, Op
from aiop_core.graph.paths import topological_levels

STAGES = 7
"""Resolution stages that are told apart: the input's, half of it, a quarter, … and all smaller ones."""

KERNELS = (1, 2, 3, 4, 5, 6, 7)
"""Kernel heights that are counted one by one; larger ones together."""


def depths(graphs: GraphSet) -> Int[np.ndarray, " g"]:
    """The longest path of each graph, in edges."""
    first = graphs.node_offsets[:-1].repeat(np.diff(graphs.edge_offsets))
    longest = np.zeros(int(graphs.node_offsets[-1]), dtype=np.int64)
    for level, nodes in enumerate(topological_levels(graphs.edges[0] + first, graphs.edges[1] + first, len(longest))):
        longest[nodes] = level
    return _by_graph(np.maximum, longest, graphs)


def graph_features(graphs: GraphSet) -> tuple[Float[np.ndarray, "g f"], tuple[str, ...]]:
    """One row of numbers for each graph, and the columns' names.

    Size (log10 of MACs and parameters, nodes, edges, depth), how often each operation and
    each kernel occurs, widths, and the same by stage: a stage is all nodes whose output is
    smaller than the input image by the same power of two.
    """
    columns = graphs.columns
    op = columns["op"]
    h_out, c_in, c_out = columns["resolution"][:, [1, 4, 5]].T.astype(np.int64)
    macs = node_macs(columns).astype(np.float64)
    kernel = columns["kernel"][:, 0].astype(np.int64)
    weighted = np.isin(op, list(WEIGHTED))
    depthwise = op == Op.Depthwise
    dense = weighted & ~depthwise
    node = graphs.graph_of_node

    table: dict[str, np.ndarray[Any, Any]] = {
        "log10_macs": np.log10(graphs.sum_by_graph(macs) + 1),
        "log10_params": np.log10(graphs.sum_by_graph(columns["params"]) + 1),
        "nodes": graphs.sizes,
        "edges": np.diff(graphs.edge_offsets),
        "depth": depths(graphs),
    }
    histogram = np.bincount(node * len(Op) + op, minlength=len(graphs) * len(Op)).reshape(-1, len(Op))
    table |= {f"op_{kind.name}": histogram[:, kind] for kind in Op}
    for size in (*KERNELS, KERNELS[-1] + 1):
        of_size = kernel > KERNELS[-1] if size > KERNELS[-1] else kernel == size
        table[f"kernel_{size}"] = graphs.sum_by_graph(of_size & dense)
        table[f"depthwise_kernel_{size}"] = graphs.sum_by_graph(of_size & depthwise)
    table["width_max"] = _by_graph(np.maximum, c_out * weighted, graphs)
    table["width_mean"] = _mean(graphs.sum_by_graph(c_out * weighted), graphs.sum_by_graph(weighted))
    table["expansion_mean"] = _mean(graphs.sum_by_graph(c_out / c_in * dense), graphs.sum_by_graph(dense))

    image = _by_graph(np.maximum, h_out, graphs)[node]
    stage = np.clip(np.round(np.log2(image / h_out)), 0, STAGES - 1).astype(np.int64)
    for i in range(STAGES):
        here = weighted & (stage == i)
        count = graphs.sum_by_graph(here)
        spatial = graphs.sum_by_graph(here & (kernel > 1))
        table |= {
            f"stage{i}_weighted": count,
            f"stage{i}_spatial": spatial,
            f"stage{i}_log10_macs": np.log10(graphs.sum_by_graph(macs * here) + 1),
            f"stage{i}_log10_params": np.log10(graphs.sum_by_graph(columns["params"] * here) + 1),
            f"stage{i}_width_mean": _mean(graphs.sum_by_graph(c_out * here), count),
            f"stage{i}_kernel_mean": _mean(graphs.sum_by_graph(kernel * (here & (kernel > 1))), spatial),
        }
    return np.stack([column.astype(np.float64) for column in table.values()], axis=1), tuple(table)


def _by_graph(reduce: np.ufunc, values: np.ndarray[Any, Any], graphs: GraphSet) -> np.ndarray[Any, Any]:
    """``reduce`` over each graph's nodes; a graph has at least one."""
    reduced: np.ndarray[Any, Any] = reduce.reduceat(values, graphs.node_offsets[:-1]) if len(graphs) else values
    return reduced


def _mean(total: np.ndarray[Any, Any], count: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``total / count``, and 0 where nothing was counted."""
    mean: np.ndarray[Any, Any] = total / np.maximum(count, 1)
    return mean
