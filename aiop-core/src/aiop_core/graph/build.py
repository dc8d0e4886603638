"""Composing a graph by hand, node by node, as the tracer does it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiop_core.errors import GraphError
from aiop_core.graph.model import Graph
from aiop_core.graph.ops import Op

Pair = tuple[int, int]


class GraphBuilder:
    """Collects nodes in topological order and makes the :class:`Graph` of them.

    A node is a number; the methods return the new node. Families that compose blocks
    use ``conv``, ``batch_norm``, ``activation`` …, which know shapes and parameters of
    those operations; everything else goes through ``add``.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[int, ...]] = []
        self._edges: list[Pair] = []

    def __len__(self) -> int:
        return len(self._rows)

    def shape(self, node: int) -> tuple[int, int, int]:
        """(height, width, channels) of what ``node`` gives."""
        row = self._rows[node]
        return row[2], row[4], row[6]

    def add(
        self,
        op: Op,
        inputs: Sequence[int],
        out: tuple[int, int, int] | None = None,
        *,
        seen: tuple[int, int, int] | None = None,
        kernel: Pair = (0, 0),
        stride: Pair = (1, 1),
        groups: int = 1,
        bias: bool = False,
        params: int = 0,
    ) -> int:
        """Append a node.

        Args:
            op: what it computes.
            inputs: the nodes it reads, all appended before.
            out: (height, width, channels) of its result; as its input's by default.
            seen: (height, width, channels) that it reads; by default those of its smallest
                input, for a concatenation of its first.
            kernel: (height, width) of a window, (0, 0) for none.
            stride: (height, width).
            groups: of a convolution.
            bias: whether it adds a bias.
            params: parameters that it holds.

        Raises:
            GraphError: if an input is not a node yet, or ``out`` is missing for a source.
        """
        for node in inputs:
            if not 0 <= node < len(self._rows):
                raise GraphError(f"{op.name} reads node {node}, but only {len(self._rows)} nodes exist so far")
        if not inputs and out is None:
            raise GraphError(f"{op.name} has no inputs, so its output shape must be given")
        if seen is None:
            shapes = [self.shape(node) for node in inputs] or [out or (1, 1, 1)]
            seen = shapes[0] if op is Op.Concat else min(shapes, key=lambda s: s[0] * s[1] * s[2])
        h, w, c = out or seen
        self._rows.append(
            (op, seen[0], h, seen[1], w, seen[2], c, *kernel, *stride, groups, int(bias), params),
        )
        target = len(self._rows) - 1
        self._edges.extend((source, target) for source in dict.fromkeys(inputs))
        return target

    def input(self, hw: Pair, channels: int = 3) -> int:
        """The node that stands for the network's input."""
        return self.add(Op.Input, (), (*hw, channels))

    def output(self, node: int) -> int:
        """Mark ``node``'s tensor as an output of the network."""
        return self.add(Op.Output, (node,))

    def conv(
        self, node: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> int:
        """A convolution padded by (kernel - 1) / 2, so that H_out = ceil(H_in / stride)."""
        h, w, c = self.shape(node)
        return self.add(
            Op.Depthwise if groups == c > 1 else Op.Conv,
            (node,),
            (-(-h // stride), -(-w // stride), channels),
            kernel=(kernel, kernel),
            stride=(stride, stride),
            groups=groups,
            bias=bias,
            params=c // groups * channels * kernel * kernel + (channels if bias else 0),
        )

    def batch_norm(self, node: int) -> int:
        """Batch normalisation with its scale and shift."""
        return self.add(Op.BatchNorm, (node,), params=2 * self.shape(node)[2])

    def hard_swish(self, node: int) -> int:
        """H-swish, x · ReLU6(x + 3) / 6, as the vocabulary spells it: ReLU6, then Mul."""
        return self.add(Op.Mul, (node, self.add(Op.ReLU6, (node,))))

    def mean(self, node: int) -> int:
        """Mean over height and width."""
        return self.add(Op.Mean, (node,), (1, 1, self.shape(node)[2]))

    def linear(self, node: int, features: int, *, bias: bool = True) -> int:
        """A fully connected layer over the last axis."""
        h, w, c = self.shape(node)
        params = c * features + (features if bias else 0)
        return self.add(Op.MatMul, (node,), (h, w, features), bias=bias, params=params)

    def build(self) -> Graph:
        """The checked, immutable graph of everything appended so far."""
        table = np.array(self._rows, dtype=np.int64).reshape(-1, 14)
        return Graph(
            op=table[:, 0],
            resolution=table[:, 1:7],
            kernel=table[:, 7:9],
            stride=table[:, 9:11],
            groups=table[:, 11],
            bias=table[:, 12] != 0,
            params=table[:, 13],
            edges=np.array(self._edges, dtype=np.int32).reshape(-1, 2).T,
        )
