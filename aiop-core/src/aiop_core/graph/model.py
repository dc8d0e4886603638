"""The computation graph and sets of them: columnar, immutable, checked.

A :class:`Graph` is numpy columns with one row per node; a :class:`GraphSet` is the
same columns for many graphs end to end, with offsets. Predictors and caches work on
sets, so nothing loops over graphs in Python.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import islice, pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from aiop_core.errors import GraphError
from aiop_core.graph import refinement
from aiop_core.graph.ops import Op

NODE_COLUMNS: Mapping[str, tuple[type[np.generic], int]] = {
    "op": (np.int16, 0),
    "resolution": (np.int32, 6),
    "kernel": (np.int16, 2),
    "stride": (np.int16, 2),
    "groups": (np.int32, 0),
    "bias": (np.bool_, 0),
    "params": (np.int64, 0),
}
"""Every column that has one row per node: its type, and its width (0: a vector)."""

WL_ROUNDS = 16
"""Rounds of Weisfeiler-Lehman refinement behind a fingerprint, more where these do not settle. Most networks settle
in fewer than ten; long chains of equal layers need half their length."""


def _column(name: str, value: Any, rows: int | None = None) -> np.ndarray[Any, Any]:
    """``value`` as the read-only array that column ``name`` must be."""
    dtype, width = NODE_COLUMNS[name]
    given = np.asarray(value)
    if given.dtype != dtype and given.size and issubclass(dtype, np.signedinteger):
        largest, limit = np.abs(given).max(), np.iinfo(dtype).max
        if largest > limit:
            raise GraphError(f"graph column '{name}' has the value {largest}; at most {limit} is allowed")
    array = np.ascontiguousarray(given, dtype=dtype)
    shape = (len(array) if rows is None else rows, width) if width else (len(array) if rows is None else rows,)
    if array.size == 0:
        array = array.reshape(shape)
    if array.shape != shape:
        raise GraphError(f"graph column '{name}' has shape {array.shape}, expected {shape}")
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Graph:
    """One network as a directed acyclic graph, nodes in topological order.

    Attributes:
        op: index into :class:`~aiop_core.graph.ops.Op`.
        resolution: (H_in, H_out, W_in, W_out, C_in, C_out). Token sequences have
            their length as H and W = 1; vectors have H = W = 1. A node with several
            inputs shows the smallest one, a concatenation its first.
        kernel: (height, width) of a convolution or pooling window, else (0, 0).
        stride: (height, width), (1, 1) where the operation has none.
        groups: groups of a convolution, heads of an attention product, else 1.
        bias: whether a weighted node adds a bias.
        params: trainable and frozen parameters that the node holds, buffers excluded.
        edges: (source, target) rows; a source always comes before its target.

    Raises:
        GraphError: if a column's shape, an operation's index, a resolution or an edge
            is not valid.
    """

    op: Int[np.ndarray, " n"]
    resolution: Int[np.ndarray, "n 6"]
    kernel: Int[np.ndarray, "n 2"]
    stride: Int[np.ndarray, "n 2"]
    groups: Int[np.ndarray, " n"]
    bias: Bool[np.ndarray, " n"]
    params: Int[np.ndarray, " n"]
    edges: Int[np.ndarray, "2 e"]

    def __post_init__(self) -> None:
        rows = len(self.op)
        for name in NODE_COLUMNS:
            object.__setattr__(self, name, _column(name, getattr(self, name), rows))
        edges = np.ascontiguousarray(self.edges, dtype=np.int32).view()
        if edges.size == 0:
            edges = edges.reshape(2, 0)
        if edges.ndim != 2 or edges.shape[0] != 2:
            raise GraphError(f"graph edges have shape {edges.shape}, expected (2, number of edges)")
        edges.flags.writeable = False
        object.__setattr__(self, "edges", edges)
        self._check()

    def _check(self) -> None:
        if len(self.op) == 0:
            raise GraphError("a graph needs at least one node")
        if self.op.min() < 0 or self.op.max() >= len(Op):
            bad = int(self.op[(self.op < 0) | (self.op >= len(Op))][0])
            raise GraphError(f"operation index {bad} is not in the vocabulary (0 to {len(Op) - 1})")
        if self.resolution.min() < 1:
            node = int(np.argwhere(self.resolution < 1)[0, 0])
            raise GraphError(
                f"node {node} ({Op(int(self.op[node])).name}) has resolution "
                f"{self.resolution[node].tolist()}; every entry must be at least 1"
            )
        if self.edges.size:
            if self.edges.min() < 0 or self.edges.max() >= len(self.op):
                raise GraphError(f"an edge points outside the graph's {len(self.op)} nodes")
            if (self.edges[0] >= self.edges[1]).any():
                raise GraphError("nodes are not in topological order: an edge leads backwards")

    def __len__(self) -> int:
        return len(self.op)

    def __eq__(self, other: object) -> bool:
        """Same rows in the same order and the same edges; see ``fingerprint`` for up to renumbering."""
        if not isinstance(other, Graph):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """A hash that does not depend on the order of nodes, equal for isomorphic graphs.

        Nodes are refined until no round tells more of them apart. Equal hashes of different
        graphs are possible in theory, as for any such test.
        """
        least = min(WL_ROUNDS, len(self))
        settled = (
            colour
            for done, (before, colour) in enumerate(pairwise(self._refined()), start=1)
            if done >= least and len(np.unique(colour)) == len(np.unique(before))
        )
        return hashlib.sha256(np.sort(next(settled)).tobytes()).hexdigest()[:16]

    def colours(self, rounds: int = WL_ROUNDS) -> Int[np.ndarray, " n"]:
        """A 64-bit word for each node that tells it and its surroundings, ``rounds`` edges far.

        Source: Weisfeiler-Lehman refinement over predecessors and successors.
        """
        return next(islice(self._refined(), min(rounds, len(self)), None))

    def _refined(self) -> Iterator[refinement.Words]:
        """The nodes' words after no round, one, two, …, without end."""
        columns = [getattr(self, name).reshape(len(self), -1) for name in NODE_COLUMNS]
        colour = refinement.hash_rows([column for wide in columns for column in wide.T])
        neighbours = refinement.Neighbours(self.edges, len(self))
        while True:
            yield colour
            colour = neighbours.refine(colour)


def _ranges(starts: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The concatenation of ``arange(start, start + length)`` over all pairs."""
    total = int(lengths.sum())
    offsets = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    indices: np.ndarray[Any, Any] = np.arange(total) + offsets
    return indices


@dataclass(frozen=True, eq=False)
class GraphSet(Sequence[Graph]):
    """Many graphs as one block of columns.

    Attributes:
        columns: each of ``NODE_COLUMNS``, all graphs' rows end to end.
        edges: (2, total edges); node numbers count from each graph's own first node.
        node_offsets: graph ``i`` has rows ``node_offsets[i]`` to ``node_offsets[i + 1]``.
        edge_offsets: likewise for ``edges``.
        scores: (graphs,) numbers by name that stand beside the graphs, such as a
            profiler's; NaN where one is not known.
    """

    columns: Mapping[str, np.ndarray[Any, Any]]
    edges: Int[np.ndarray, "2 e"]
    node_offsets: Int[np.ndarray, " g_plus_1"]
    edge_offsets: Int[np.ndarray, " g_plus_1"]
    scores: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        total, edges = int(self.node_offsets[-1]), int(self.edge_offsets[-1])
        for name in NODE_COLUMNS:
            if name not in self.columns or len(self.columns[name]) != total:
                raise GraphError(f"graph set: column '{name}' is missing or does not have {total} rows")
        if self.edges.shape != (2, edges) or len(self.node_offsets) != len(self.edge_offsets):
            raise GraphError("graph set: edges and offsets do not belong together")
        for name, values in self.scores.items():
            if values.shape != (len(self),):
                raise GraphError(f"graph set: score '{name}' has shape {values.shape}, not one number a graph")

    @classmethod
    def of(cls, graphs: Iterable[Graph]) -> GraphSet:
        """Put graphs end to end, in their order."""
        graphs = list(graphs)
        columns = {
            name: np.concatenate([getattr(g, name) for g in graphs])
            if graphs
            else np.zeros((0, width) if width else (0,), dtype)
            for name, (dtype, width) in NODE_COLUMNS.items()
        }
        edges = np.concatenate([g.edges for g in graphs], axis=1) if graphs else np.zeros((2, 0), np.int32)
        return cls(
            columns,
            edges,
            np.concatenate([[0], np.cumsum([len(g) for g in graphs])]).astype(np.int64),
            np.concatenate([[0], np.cumsum([g.edges.shape[1] for g in graphs])]).astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.node_offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        i = range(len(self))[index]
        rows = slice(int(self.node_offsets[i]), int(self.node_offsets[i + 1]))
        edges = self.edges[:, int(self.edge_offsets[i]) : int(self.edge_offsets[i + 1])]
        return Graph(**{name: self.columns[name][rows] for name in NODE_COLUMNS}, edges=edges)

    def __iter__(self) -> Iterator[Graph]:
        return (self[i] for i in range(len(self)))

    @property
    def sizes(self) -> Int[np.ndarray, " g"]:
        """How many nodes each graph has."""
        sizes: np.ndarray[Any, Any] = np.diff(self.node_offsets)
        return sizes

    @property
    def graph_of_node(self) -> Int[np.ndarray, " n"]:
        """For each row, the number of its graph."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def take(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> GraphSet:
        """The graphs at ``indices``, in that order, without a loop over them."""
        chosen = np.asarray(indices, dtype=np.int64)
        sizes, edge_counts = self.sizes[chosen], np.diff(self.edge_offsets)[chosen]
        rows = _ranges(self.node_offsets[chosen], sizes)
        return GraphSet(
            {name: column[rows] for name, column in self.columns.items()},
            self.edges[:, _ranges(self.edge_offsets[chosen], edge_counts)],
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.concatenate([[0], np.cumsum(edge_counts)]).astype(np.int64),
            {name: values[chosen] for name, values in self.scores.items()},
        )

    def sum_by_graph(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Add up one number per node into one number per graph."""
        return np.bincount(self.graph_of_node, weights=values, minlength=len(self))
