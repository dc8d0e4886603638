"""Numbers about the paths from a graph's inputs to its outputs, for predictors that read structure.

In a graph that marks no output, paths end where nothing follows.

What a network can learn depends less on how many operations it has than on how many lie on
the ways through it: a cell of three convolutions side by side is not one of three in a row,
and what no input reaches does nothing. There are too many ways to list, but sums and
extremes over all of them follow from those of each node's predecessors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from aiop_core.graph.model import GraphSet
from aiop_core.graph.ops import WEIGHTED, Op

BLOCK_NODES = 60_000
"""About how many nodes are worked on at once."""

_POOLS = (Op.Maxpool, Op.Avgpool, Op.Mean)
_ACTIVATIONS = (
    *(Op.ReLU, Op.ReLU6, Op.Sigmoid, Op.Tanh, Op.Swish, Op.GeLU),
    *(Op.ELU, Op.LeakyReLU, Op.PReLU, Op.Softplus, Op.Softmax),
)
_NORMS = (Op.BatchNorm, Op.LayerNorm, Op.GroupNorm)

COUNTED = ("spatial", "pointwise", "depthwise", "pool", "activation", "norm", "join", "field")
"""What is counted along a path: operations with weights and a window, those without one,
depthwise convolutions, pools with a window, activations, normalisations, nodes with several
inputs, and by how much windows widen the receptive field."""

_STATISTICS = ("mean", "deviation", "walk_mean", "walk_deviation", "most", "fewest", "live")

PATH_FEATURES = ("log_paths", *(f"{statistic}_{what}" for statistic in _STATISTICS for what in COUNTED))
"""The columns of ``path_features``: the logarithm of how many paths there are; mean and
deviation over all paths; the same over walks from the output that choose each input of a
node alike; the most and the fewest of any path; how many nodes of the kind an input reaches.
Where no path leads from input to output, ``log_paths``, ``most`` and ``fewest`` are -1 and the others 0."""


def path_features(graphs: GraphSet) -> Float[np.ndarray, "g f"]:
    """One row of ``PATH_FEATURES`` for each graph; several outputs are averaged."""
    blocks = [_block(graphs.take(rows)) for rows in _blocks(graphs)]
    return np.concatenate(blocks) if blocks else np.zeros((0, len(PATH_FEATURES)))


def topological_levels(source: Int[np.ndarray, " e"], target: Int[np.ndarray, " e"], nodes: int) -> Iterator[Any]:
    """The nodes whose longest path from a node without inputs has 0, 1, 2 … edges, level by level."""
    waiting = np.bincount(target, minlength=nodes)
    out = np.bincount(source, minlength=nodes)
    start = np.cumsum(out) - out
    successors = target[np.argsort(source, kind="stable")]
    ready = np.flatnonzero(waiting == 0)
    while ready.size:
        yield ready
        reached, arrivals = np.unique(successors[_ranges(start[ready], out[ready])], return_counts=True)
        waiting[reached] -= arrivals
        ready = reached[waiting[reached] == 0]


def _blocks(graphs: GraphSet) -> Iterator[np.ndarray[Any, Any]]:
    """Consecutive graphs of about ``BLOCK_NODES`` nodes together, at least one."""
    first = 0
    while first < len(graphs):
        last = int(np.searchsorted(graphs.node_offsets, graphs.node_offsets[first] + BLOCK_NODES, side="right")) - 1
        last = max(last, first + 1)
        yield np.arange(first, last)
        first = last


def _block(graphs: GraphSet) -> np.ndarray[Any, Any]:
    op = graphs.columns["op"].astype(np.int64)
    shift = np.repeat(graphs.node_offsets[:-1], np.diff(graphs.edge_offsets))
    source, target = graphs.edges + shift
    by_target = np.argsort(target, kind="stable")
    before = source[by_target]
    inputs = np.bincount(target, minlength=len(op))
    start = np.cumsum(inputs) - inputs
    own = _counted(graphs, inputs)

    fed = op == Op.Input
    log_paths = np.where(fed, 0.0, -np.inf)
    mean, variance, walk_mean, walk_variance = (np.zeros_like(own) for _ in range(4))
    most, fewest = (
        np.where(fed[:, None], 0.0, limit) for limit in (np.full_like(own, -np.inf), np.full_like(own, np.inf))
    )
    levels = topological_levels(source, target, len(op))
    next(levels, None)
    for nodes in levels:
        counts = inputs[nodes]
        edges = before[_ranges(start[nodes], counts)]
        offsets = np.cumsum(counts) - counts
        arriving = log_paths[edges]
        largest = np.maximum.reduceat(arriving, offsets)
        reached = np.isfinite(largest)
        base = np.where(reached, largest, 0.0)
        share = np.exp(arriving - base.repeat(counts))
        total = np.where(reached, np.add.reduceat(share, offsets), 1.0)
        alive = np.isfinite(arriving).astype(np.float64)
        equal = alive / np.maximum(np.add.reduceat(alive, offsets), 1).repeat(counts)
        log_paths[nodes] = np.where(reached, base + np.log(total), -np.inf)
        for weight, first, second in (
            (share / total.repeat(counts), mean, variance),
            (equal, walk_mean, walk_variance),
        ):
            middle = np.add.reduceat(weight[:, None] * first[edges], offsets)
            apart = first[edges] - middle.repeat(counts, axis=0)  # not a difference of squares, whose rounding shows
            second[nodes] = np.add.reduceat(weight[:, None] * (second[edges] + apart**2), offsets)
            first[nodes] = middle + own[nodes]
        most[nodes] = np.maximum.reduceat(most[edges], offsets) + own[nodes]
        fewest[nodes] = np.minimum.reduceat(fewest[edges], offsets) + own[nodes]
        nothing = nodes[op[nodes] == Op.Zero]  # what reaches it goes no further
        log_paths[nothing], most[nothing], fewest[nothing] = -np.inf, -np.inf, np.inf

    dead = ~np.isfinite(log_paths)
    for values in (mean, variance, walk_mean, walk_variance):
        values[dead] = 0
    for values in (log_paths, most, fewest):
        values[dead] = -1
    graph = graphs.graph_of_node
    output = op == Op.Output
    marked = np.bincount(graph[output], minlength=len(graphs)) > 0
    last = np.bincount(source, minlength=len(op)) == 0  # of graphs that mark no output, as published ones do
    ends = np.flatnonzero(output | (last & ~marked[graph]))
    found = np.zeros((len(graphs), len(PATH_FEATURES)))
    columns = [log_paths[:, None], mean, np.sqrt(variance), walk_mean, np.sqrt(walk_variance), most, fewest]
    np.add.at(found[:, : -len(COUNTED)], graph[ends], np.concatenate(columns, axis=1)[ends])
    found /= np.maximum(np.bincount(graph[ends], minlength=len(graphs)), 1)[:, None]
    live = own * ~dead[:, None]
    found[:, -len(COUNTED) :] = np.stack([graphs.sum_by_graph(column) for column in live.T], axis=1)
    return found


def _counted(graphs: GraphSet, inputs: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n c"]:
    """How much each node adds to each of ``COUNTED``."""
    op, kernel = graphs.columns["op"], graphs.columns["kernel"].max(axis=1).astype(np.float64)
    depthwise, window = op == Op.Depthwise, kernel > 1
    weighted, pool = np.isin(op, list(WEIGHTED)) & ~depthwise, np.isin(op, _POOLS) & window
    columns = {
        "spatial": weighted & window,
        "pointwise": weighted & ~window,
        "depthwise": depthwise,
        "pool": pool,
        "activation": np.isin(op, _ACTIVATIONS),
        "norm": np.isin(op, _NORMS),
        "join": inputs > 1,
        "field": np.where(((weighted | depthwise) & window) | pool, kernel - 1, 0),
    }
    return np.stack([columns[name].astype(np.float64) for name in COUNTED], axis=1)


def _ranges(starts: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The concatenation of ``arange(start, start + length)`` over all pairs."""
    stops = np.cumsum(lengths)
    ranges: np.ndarray[Any, Any] = np.arange(stops[-1] if len(stops) else 0) + np.repeat(
        starts - stops + lengths, lengths
    )
    return ranges
