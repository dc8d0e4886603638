"""Which nodes and blocks move a prediction, for any predictor: take each out and predict again.

Occlusion: a contribution is the prediction of the whole graph minus that of the graph
without the node or block, in the metric's unit; positive where it raises the prediction.
What is taken out does nothing any more: its inputs go straight to its readers, as a
tracer draws an identity, and all other nodes keep their sizes. (An ``Identity`` node in its
place would be an operation that predictors have hardly ever seen.)

Source: occlusion sensitivity, M. D. Zeiler and R. Fergus, Visualizing and Understanding
Convolutional Networks, ECCV 2014, here on graphs instead of images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from aiop_core.contracts import Progress, silent
from aiop_core.graph.cost import node_macs
from aiop_core.graph.draw.blocks import Item, Outline, find_blocks
from aiop_core.graph.draw.kinds import caption, times
from aiop_core.graph.model import NODE_COLUMNS, Graph, GraphSet
from aiop_core.graph.ops import Op
from aiop_core.pipeline.fit import Learner, predictions

CHUNK_NODES = 200_000
"""Nodes of all variants that are predicted at a time; bounds the memory for any graph."""

_ENDS = (Op.Input, Op.Output)
"""Never taken out."""

Span = tuple[int, int]
"""First position and one after the last of an item of the drawing."""


@dataclass(frozen=True)
class Contribution:
    """What one node or block adds to a prediction.

    Attributes:
        part: in words: an operation with its window and number, or a block with its letter.
        stage: height × width × channels that it gives.
        nodes: how many nodes it has.
        macs: their multiply-adds.
        params: their parameters.
        contribution: how much lower the prediction is without it, in the metric's unit.
    """

    part: str
    stage: str
    nodes: int
    macs: int
    params: int
    contribution: float


@dataclass(frozen=True)
class Explanation:
    """Contributions to the prediction of one graph.

    Attributes:
        graph: what was explained.
        outline: its blocks, as they are drawn.
        predicted: the prediction of the whole graph.
        of_nodes: one value for each node; 0 for input and output.
        of_blocks: one value for each block and stack of the drawing, taken out whole.
    """

    graph: Graph
    outline: Outline
    predicted: float
    of_nodes: Float[np.ndarray, " n"]
    of_blocks: dict[Span, float]

    def nodes(self) -> list[Contribution]:
        """All nodes, what moves the prediction most first."""
        return _largest_first(
            [self._row(f"{caption(self.graph, n)[0]} #{n}", [n], v) for n, v in enumerate(self.of_nodes)]
        )

    def blocks(self) -> list[Contribution]:
        """All blocks, what moves the prediction most first."""
        rows = []
        for item in _parts(self.outline):
            nodes = self.outline.order[item.lo : item.hi]
            words = f"{'run' if item.kind == 'run' else 'block'} {item.name}"
            if item.kind == "stack":
                words = " + ".join(caption(self.graph, node)[0] for node in nodes)
            span = f"#{min(nodes)} to #{max(nodes)}"
            rows.append(self._row(f"{words}, {span}", nodes, self.of_blocks[item.lo, item.hi]))
        return _largest_first(rows)

    def _row(self, part: str, nodes: Sequence[int], value: float) -> Contribution:
        rows = np.asarray(nodes)
        macs = node_macs({name: getattr(self.graph, name)[rows] for name in NODE_COLUMNS})
        shape = times(self.graph.resolution[nodes[-1], [1, 3, 5]].tolist())
        return Contribution(part, shape, len(nodes), int(macs.sum()), int(self.graph.params[rows].sum()), float(value))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; nodes and blocks ordered by the size of their contribution."""
        return {
            "predicted": self.predicted,
            "blocks": [asdict(row) for row in self.blocks()],
            "nodes": [asdict(row) for row in self.nodes()],
        }


def _largest_first(rows: list[Contribution]) -> list[Contribution]:
    return sorted(rows, key=lambda row: -abs(row.contribution))


def explain(
    predictor: Learner, graph: Graph, *, scores: Mapping[str, float] | None = None, progress: Progress = silent
) -> Explanation:
    """Predict the graph without each node, and without each block.

    Args:
        predictor: any.
        graph: what is explained.
        scores: numbers beside the graph, by name, that stay as they are.
        progress: told how many variants are predicted.
    """
    outline = find_blocks(graph)
    spans = [(item.lo, item.hi) for item in _parts(outline)]
    nodes = [n for n in range(len(graph)) if graph.op[n] not in _ENDS and len(graph) > 1]
    masks = [np.array([n]) for n in nodes] + [np.asarray(outline.order[lo:hi]) for lo, hi in spans]
    variants = (graph if rows is None else without(graph, rows) for rows in (None, *masks))
    values: list[float] = []
    for chunk in _chunks(variants):
        graphs = replace(chunk, scores={name: np.full(len(chunk), value) for name, value in (scores or {}).items()})
        values += predictions(type(predictor).__name__, predictor, graphs).tolist()
        progress(len(values), len(masks) + 1)
    whole, *others = values
    of_nodes = np.zeros(len(graph))
    of_nodes[nodes] = whole - np.asarray(others[: len(nodes)])
    of_blocks = {span: whole - value for span, value in zip(spans, others[len(nodes) :], strict=True)}
    return Explanation(graph, outline, whole, of_nodes, of_blocks)


def _chunks(variants: Iterator[Graph]) -> Iterator[GraphSet]:
    chunk: list[Graph] = []
    nodes = 0
    for graph in variants:
        chunk.append(graph)
        nodes += len(graph)
        if nodes >= CHUNK_NODES:
            yield GraphSet.of(chunk)
            chunk, nodes = [], 0
    if chunk:
        yield GraphSet.of(chunk)


def _parts(outline: Outline) -> list[Item]:
    """What is drawn as one box with more than a node: stacks, blocks and runs, but not the whole, nor its ends."""
    ends = np.isin(outline.graph.op[outline.order], _ENDS)
    return [
        item for item in outline.root.walk() if 1 < item.hi - item.lo < len(ends) and not ends[item.lo : item.hi].any()
    ]


def without(graph: Graph, nodes: np.ndarray[Any, Any]) -> Graph:
    """The graph where some nodes do nothing: what they read goes straight to their readers."""
    gone: Bool[np.ndarray, " n"] = np.zeros(len(graph), dtype=bool)
    gone[nodes] = True
    touched = gone[graph.edges].any(axis=0)
    kept = graph.edges[:, ~touched]
    sources: dict[int, set[int]] = {int(node): set() for node in np.flatnonzero(gone)}  # that are kept and reach it
    bridges: set[tuple[int, int]] = set()
    for source, target in sorted(graph.edges[:, touched].T.tolist(), key=lambda edge: (edge[1], edge[0])):
        reached = sources[source] if gone[source] else {source}
        if gone[target]:
            sources[target] |= reached
        else:
            bridges |= {(origin, target) for origin in reached}
    edges = np.concatenate([kept, np.array(sorted(bridges), dtype=np.int32).reshape(-1, 2).T], axis=1)
    number = np.cumsum(~gone) - 1
    return Graph(**{name: getattr(graph, name)[~gone] for name in NODE_COLUMNS}, edges=number[edges])
