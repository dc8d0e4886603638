"""What a graph is, in a few numbers: by operation and by stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aiop_core.graph.cost import node_macs
from aiop_core.graph.features import depths
from aiop_core.graph.model import NODE_COLUMNS, Graph, GraphSet
from aiop_core.graph.ops import Op


@dataclass(frozen=True)
class OpSummary:
    """All nodes of one operation."""

    op: str
    nodes: int
    macs: int
    params: int


@dataclass(frozen=True)
class StageSummary:
    """All nodes whose result has one height and width: how many channels, how many MACs."""

    height: int
    width: int
    nodes: int
    narrowest: int
    widest: int
    macs: int


@dataclass(frozen=True)
class GraphSummary:
    """A graph in numbers; ``depth`` is the number of edges on its longest path."""

    nodes: int
    edges: int
    depth: int
    macs: int
    params: int
    ops: list[OpSummary]
    stages: list[StageSummary]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def summarise_graph(graph: Graph) -> GraphSummary:
    """Count a graph's nodes, cost and widths."""
    macs = node_macs({name: getattr(graph, name) for name in NODE_COLUMNS})
    ops = []
    for index in np.unique(graph.op):
        rows = graph.op == index
        ops.append(
            OpSummary(Op(int(index)).name, int(rows.sum()), int(macs[rows].sum()), int(graph.params[rows].sum()))
        )
    stages = []
    sizes = np.unique(graph.resolution[:, [1, 3]], axis=0)[::-1]
    for height, width in sizes:
        rows = (graph.resolution[:, 1] == height) & (graph.resolution[:, 3] == width)
        channels = graph.resolution[rows, 5]
        stages.append(
            StageSummary(
                int(height),
                int(width),
                int(rows.sum()),
                int(channels.min()),
                int(channels.max()),
                int(macs[rows].sum()),
            )
        )
    return GraphSummary(
        len(graph),
        graph.edges.shape[1],
        int(depths(GraphSet.of([graph]))[0]),
        int(macs.sum()),
        int(graph.params.sum()),
        sorted(ops, key=lambda o: (-o.macs, -o.nodes)),
        stages,
    )


def node_rows(graph: Graph) -> list[dict[str, Any]]:
    """Every node as a row: number, operation, sizes, kernel, and the nodes it reads."""
    reads: dict[int, list[int]] = {}
    for source, target in graph.edges.T.tolist():
        reads.setdefault(target, []).append(source)
    rows = []
    for i in range(len(graph)):
        h_in, h_out, w_in, w_out, c_in, c_out = graph.resolution[i].tolist()
        rows.append(
            {
                "node": i,
                "op": Op(int(graph.op[i])).name,
                "in": f"{h_in}x{w_in}x{c_in}",
                "out": f"{h_out}x{w_out}x{c_out}",
                "kernel": "x".join(map(str, graph.kernel[i].tolist())) if graph.kernel[i].any() else "",
                "stride": int(graph.stride[i][0]),
                "groups": int(graph.groups[i]),
                "params": int(graph.params[i]),
                "reads": reads.get(i, []),
            }
        )
    return rows
