"""A graph under rewriting: nodes change, are passed over, and what is left becomes a graph again."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from aiop_core.graph.model import NODE_COLUMNS, Graph
from aiop_core.graph.ops import Op

Geometry = tuple[int, int, int]


class Draft:
    """The nodes of a graph as lists that a pass may change.

    Attributes:
        op, kernel, stride, groups, bias, params: one entry for each node, as in the graph.
        seen: (height, width, channels) that each node reads.
        out: (height, width, channels) of each node's result.
        inputs: the nodes that each node reads.
        readers: the nodes that read each node.
    """

    def __init__(self, graph: Graph) -> None:
        self.op = [Op(op) for op in graph.op.tolist()]
        resolution = graph.resolution.tolist()
        self.seen: list[Geometry] = [(r[0], r[2], r[4]) for r in resolution]
        self.out: list[Geometry] = [(r[1], r[3], r[5]) for r in resolution]
        self.kernel: list[tuple[int, int]] = [(k[0], k[1]) for k in graph.kernel.tolist()]
        self.stride: list[tuple[int, int]] = [(s[0], s[1]) for s in graph.stride.tolist()]
        self.groups: list[int] = graph.groups.tolist()
        self.bias: list[bool] = graph.bias.tolist()
        self.params: list[int] = graph.params.tolist()
        self.inputs: list[list[int]] = [[] for _ in self.op]
        self.readers: list[list[int]] = [[] for _ in self.op]
        for source, target in graph.edges.T.tolist():
            self.inputs[target].append(source)
            self.readers[source].append(target)
        self.changed = False

    def nodes(self, *ops: Op) -> Iterator[int]:
        """The nodes of these operations that are still read, in topological order."""
        for node in range(len(self.op)):
            if self.op[node] in ops and (self.readers[node] or self.op[node] is Op.Output):
                yield node

    def only_input(self, node: int, *ops: Op) -> int | None:
        """The one node that ``node`` reads, if it is one of ``ops`` and nothing else reads it."""
        if len(self.inputs[node]) != 1:
            return None
        source = self.inputs[node][0]
        return source if self.op[source] in ops and self.readers[source] == [node] else None

    def read(self, node: int, inputs: list[int]) -> None:
        """Make ``node`` read ``inputs``."""
        for source in self.inputs[node]:
            self.readers[source].remove(node)
        self.inputs[node] = list(dict.fromkeys(inputs))
        for source in self.inputs[node]:
            self.readers[source].append(node)
        self.changed = True

    def bypass(self, node: int, source: int | None = None) -> None:
        """Let what reads ``node`` read ``source`` instead, by default the node's only input."""
        if source is None:
            (source,) = self.inputs[node]
        for reader in list(self.readers[node]):
            self.read(reader, [source if i == node else i for i in self.inputs[reader]])
        self.read(node, [])

    def see_smallest(self, node: int) -> None:
        """Show the smallest of what ``node`` reads, as the recorder does."""
        self.seen[node] = min((self.out[i] for i in self.inputs[node]), key=math.prod)

    def graph(self) -> Graph:
        """What is left and reaches an output, in a topological order."""
        useful = [op in (Op.Output, Op.Input) for op in self.op]
        waiting = [node for node, op in enumerate(self.op) if op is Op.Output]
        while waiting:
            for source in self.inputs[waiting.pop()]:
                if not useful[source]:
                    useful[source] = True
                    waiting.append(source)
        kept = [node for node, keep in enumerate(useful) if keep]
        number = {node: i for i, node in enumerate(kept)}
        edges = sorted((number[source], number[node]) for node in kept for source in self.inputs[node])
        geometries = zip(self.seen, self.out, strict=True)
        columns = {
            "op": self.op,
            "resolution": [[size for pair in zip(*both, strict=True) for size in pair] for both in geometries],
            "kernel": self.kernel,
            "stride": self.stride,
            "groups": self.groups,
            "bias": self.bias,
            "params": self.params,
        }
        return Graph(
            **{name: np.array(columns[name], dtype=dtype)[kept] for name, (dtype, _) in NODE_COLUMNS.items()},
            edges=np.array(edges, dtype=np.int32).reshape(-1, 2).T,
        )
