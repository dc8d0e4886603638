"""Graphs of any size as one batch, every distinct neighbourhood computed once.

After k hops of message passing, a node's embedding depends only on what lies within k
edges before it. Networks of one search space share most of these neighbourhoods: 128
OFA networks have 30,000 nodes, but after the first hop fewer than 500 different
embeddings, and after the sixth about 5,000. ``Layers`` finds the distinct ones by
Weisfeiler-Lehman refinement and keeps, for each hop, one row for each of them; the
result for every graph is the one that plain message passing gives.

Everything is index arithmetic on columns; nothing loops over graphs or nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aiop_core.graph.model import GraphSet
from aiop_predictor_gnn.nodes import NodeFeatures, NodeTable

Array = np.ndarray[Any, Any]

_ODD = np.uint64(0x9E3779B97F4A7C15)
"""Keeps a node's own key apart from its predecessors' (splitmix64's increment)."""


def _mix(word: Array) -> Array:
    """Scramble 64-bit words, so that sums of them tell multisets apart (splitmix64's finaliser)."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = word ^ (word >> np.uint64(31))
    return mixed


def _distinct(keys: Array) -> tuple[Array, Array]:
    """Where each distinct key stands, and for each key the number of its like.

    As ``np.unique``, but faster: the order within equals does not matter.
    """
    order = np.argsort(keys)
    ordered = keys[order]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(keys)]
    number = np.empty(len(keys), dtype=np.int64)
    number[order] = np.cumsum(new) - 1
    return order[new], number


def _ranges(starts: Array, lengths: Array) -> Array:
    """The concatenation of ``arange(start, start + length)`` over all pairs."""
    stops = np.cumsum(lengths)
    ranges: Array = np.arange(stops[-1] if len(stops) else 0) + np.repeat(starts - stops + lengths, lengths)
    return ranges


@dataclass(frozen=True)
class Rows:
    """For each output row, the input rows that it adds up: ``indices[offsets[i]:offsets[i + 1]]``."""

    indices: Int[np.ndarray, " k"]
    offsets: Int[np.ndarray, " n_plus_1"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: Array) -> Rows:
        """The output rows at ``rows``, in that order."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        return Rows(self.indices[_ranges(starts, lengths)], np.concatenate([[0], np.cumsum(lengths)]))

    def compact(self, inputs: int) -> tuple[Rows, Array]:
        """The same over only those of ``inputs`` rows that occur, and which these are."""
        number = np.zeros(inputs, dtype=np.int64)
        number[self.indices] = 1
        used = np.flatnonzero(number)
        number[used] = np.arange(len(used))
        return Rows(number[self.indices], self.offsets), used


@dataclass(frozen=True)
class Layers:
    """A set of graphs, unrolled into hops over distinct neighbourhoods.

    Attributes:
        nodes: the features of every distinct node.
        hops: for each distinct neighbourhood of k hops, the rows of k - 1 hops that make
            it: first the node itself, then its predecessors.
        readout: for each graph, its nodes' rows after the last hop.
    """

    nodes: NodeTable
    hops: tuple[Rows, ...]
    readout: Rows

    def __len__(self) -> int:
        return len(self.readout)

    @classmethod
    def of(cls, graphs: GraphSet, nodes: NodeTable, hops: int) -> Layers:
        """Unroll ``graphs``, whose rows have the features ``nodes``.

        Neighbourhoods are told apart by 64-bit hashes: among a million distinct ones,
        two are taken for one with a probability of about 1 in 10 million.
        """
        first = np.repeat(graphs.node_offsets[:-1].astype(np.int32), np.diff(graphs.edge_offsets))
        source, target = graphs.edges[0] + first, graphs.edges[1] + first
        if (target[1:] < target[:-1]).any():
            source = source[np.argsort(target, kind="stable")]
        before = np.bincount(target, minlength=len(nodes)).astype(np.int32)
        del first, target
        stops = np.cumsum(before, dtype=np.int32)
        starts = stops - before

        key = np.zeros(len(nodes), dtype=np.uint64)
        for word in nodes.words():
            key = _mix(key + word)
        keys = [key]
        running = np.zeros(len(source) + 1, dtype=np.uint64)
        for _ in range(hops):
            np.cumsum(_mix(keys[-1])[source], out=running[1:])  # wraps around, so differences are exact
            keys.append(_mix(keys[-1] * _ODD + running[stops] - running[starts]))

        del running
        padded = np.concatenate([np.zeros(1, np.int32), source])  # a place for the node itself before its predecessors
        members, inverse = _distinct(keys[-1])
        readout = Rows(inverse, graphs.node_offsets)
        unrolled = []
        for key in reversed(keys[:-1]):
            lengths = before[members] + 1
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            below = padded[_ranges(starts[members], lengths)]
            below[offsets[:-1]] = members
            chosen, inverse = _distinct(key[below])
            unrolled.append(Rows(inverse, offsets))
            members = below[chosen]
        return cls(nodes.take(members), tuple(reversed(unrolled)), readout)

    @property
    def _inputs(self) -> list[int]:
        """How many rows each hop reads."""
        return [len(self.nodes), *map(len, self.hops[:-1])]

    def take(self, graphs: Array) -> Layers:
        """The graphs at ``graphs``, with only the rows that they need."""
        readout, rows = self.readout.take(graphs).compact(len(self.hops[-1]))
        hops = []
        for hop, inputs in reversed([*zip(self.hops, self._inputs, strict=True)]):
            taken, rows = hop.take(rows).compact(inputs)
            hops.append(taken)
        return Layers(self.nodes.take(rows), tuple(reversed(hops)), readout)

    def batch(self, device: str | torch.device = "cpu") -> Batch:
        """The same as tensors."""
        hops = []
        for hop, inputs in zip(self.hops, self._inputs, strict=True):
            indices = 2 * hop.indices + 1
            indices[hop.offsets[:-1]] -= 1
            hops.append(Gather.of(Rows(indices, hop.offsets), 2 * inputs, device))
        sizes = np.diff(self.readout.offsets).astype(np.float32)[:, None]
        return Batch(
            self.nodes.tensors(device),
            tuple(hops),
            Gather.of(self.readout, len(self.hops[-1]), device),
            torch.as_tensor(sizes, device=device),
        )


@dataclass(frozen=True)
class Gather:
    """A sum of rows, and the transposed one for its gradient.

    Attributes:
        indices: input rows, output row after output row.
        offsets: where each output row starts in ``indices``.
        back_indices: output rows, input row after input row.
        back_offsets: where each input row starts in ``back_indices``.
    """

    indices: Int[Tensor, " k"]
    offsets: Int[Tensor, " n"]
    back_indices: Int[Tensor, " k"]
    back_offsets: Int[Tensor, " m"]

    @classmethod
    def of(cls, rows: Rows, inputs: int, device: str | torch.device) -> Gather:
        """``rows`` over so many inputs."""
        counts = np.bincount(rows.indices, minlength=inputs)
        outputs = np.repeat(np.arange(len(rows), dtype=np.int32), np.diff(rows.offsets))
        order = np.argsort(rows.indices.astype(np.int32))
        arrays = (rows.indices, rows.offsets[:-1], outputs[order], np.cumsum(counts) - counts)
        return cls(*(torch.as_tensor(array.astype(np.int32), device=device) for array in arrays))

    def __call__(self, values: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
        """The sums of ``values``."""
        total: Tensor = _Sum.apply(values, self)
        return total

    def add_up(self, values: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
        """The same, but unknown to autograd."""
        return torch.embedding_bag(values, self.indices, self.offsets, mode=0)[0]

    def spread(self, gradient: Float[Tensor, "n d"]) -> Float[Tensor, "m d"]:
        """The gradient of ``values``, given that of their sums."""
        return torch.embedding_bag(gradient.contiguous(), self.back_indices, self.back_offsets, mode=0)[0]


class _Sum(torch.autograd.Function):
    """embedding_bag with a gradient that is one, too: on a CPU more than twice as fast as torch's own."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, gather: Gather) -> Tensor:
        ctx.gather = gather
        return gather.add_up(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return ctx.gather.spread(gradient), None


@dataclass(frozen=True)
class Batch:
    """``Layers`` as tensors.

    Attributes:
        nodes: features of distinct nodes.
        hops: sums over rows 2i (the root's part of input i) and 2i + 1 (the part that it
            sends to its successors).
        readout: sums over each graph's nodes.
        sizes: how many nodes each graph has.
    """

    nodes: NodeFeatures
    hops: tuple[Gather, ...]
    readout: Gather
    sizes: Float[Tensor, "g 1"]
