"""The computation graph of a plan, composed without building a module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.model import NODE_COLUMNS, Graph
from aiop_core.graph.ops import Op
from aiop_family_nasbench.plans import Block, Layer, NetworkPlan

Geometry = tuple[int, int, int]


@dataclass(frozen=True)
class _Piece:
    """The nodes of a block on an input of some size; node 0 stands for that input."""

    graph: Graph
    output: int
    shape: Geometry


def compose(plan: NetworkPlan, input_hw: tuple[int, int]) -> Graph:
    """The network's graph for images of ``input_hw``; equal to the traced one."""
    image = GraphBuilder()
    image.input(input_hw)
    nodes = _Nodes(image.build())
    if plan.tiles == 1:
        features, shape = nodes.append_all(plan.body, 0, (*input_hw, 3))
    else:
        features, shape = _tiled(nodes, plan, input_hw)
    output, shape = nodes.append_all((plan.head,), features, shape)
    mark = GraphBuilder()
    mark.output(mark.add(Op.Input, (), shape))
    nodes.append(mark.build(), output)
    return nodes.graph()


def _tiled(nodes: _Nodes, plan: NetworkPlan, input_hw: tuple[int, int]) -> tuple[int, Geometry]:
    """The body on each tile, its parameters counted once, and the features side by side."""
    h, w = (size // plan.tiles for size in input_hw)
    features: list[int] = []
    for _ in range(plan.tiles):
        row = nodes.append(_slice((*input_hw, 3), (h, input_hw[1], 3)), 0)
        for _ in range(plan.tiles):
            tile = nodes.append(_slice((h, input_hw[1], 3), (h, w, 3)), row)
            value, shape = nodes.append_all(plan.body, tile, (h, w, 3), shared=bool(features))
            features.append(value)
    join = GraphBuilder()
    tiles = [join.add(Op.Input, (), shape) for _ in features]
    joined = (*shape[:2], shape[2] * len(tiles))
    join.add(Op.Concat, tiles, joined)
    return nodes.append(join.build(), *features), joined


@lru_cache(maxsize=64)
def _slice(whole: Geometry, part: Geometry) -> Graph:
    build = GraphBuilder()
    build.add(Op.Slice, (build.add(Op.Input, (), whole),), part)
    return build.build()


class _Nodes:
    """Columns of nodes, put end to end."""

    def __init__(self, start: Graph) -> None:
        self._columns: dict[str, list[np.ndarray[Any, Any]]] = {name: [getattr(start, name)] for name in NODE_COLUMNS}
        self._edges = [start.edges]
        self._count = len(start)

    def append_all(
        self, blocks: Sequence[Block], value: int, shape: Geometry, *, shared: bool = False
    ) -> tuple[int, Geometry]:
        """Blocks one after the other; ``shared`` ones use parameters that were counted before."""
        for block in blocks:
            piece = _piece(block, shape)
            shape = piece.shape
            value = self.append(piece.graph, value, output=piece.output, shared=shared)
        return value, shape

    def append(self, graph: Graph, *inputs: int, output: int = -1, shared: bool = False) -> int:
        """A graph's nodes; its first ones stand for nodes that are there. Gives the node of ``output``."""
        given = len(inputs)
        number = np.concatenate([inputs, np.arange(self._count, self._count + len(graph) - given)])
        for name, parts in self._columns.items():
            rows = getattr(graph, name)[given:]
            parts.append(np.zeros_like(rows) if shared and name == "params" else rows)
        self._edges.append(number[graph.edges])
        self._count += len(graph) - given
        return int(number[output])

    def graph(self) -> Graph:
        """The checked graph of everything."""
        columns = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        return Graph(**columns, edges=np.concatenate(self._edges, axis=1))


@lru_cache(maxsize=4096)
def _piece(block: Block, shape: Geometry) -> _Piece:
    """What of a block reaches its output."""
    build = GraphBuilder()
    values = {0: build.add(Op.Input, (), shape)}
    for number, step in enumerate(block.steps, 1):
        if number in block.live:
            nodes = [values[value] for value in step.inputs]
            node = nodes[0] if step.join is Op.Identity else _join(build, step.join, nodes)
            for layer in step.layers:
                node = _node(build, layer, node)
            values[number] = node
    output = values[block.output]
    return _Piece(build.build(), output, build.shape(output))


def _join(build: GraphBuilder, op: Op, nodes: list[int]) -> int:
    if op is not Op.Concat:
        return build.add(op, nodes)
    h, w, _ = build.shape(nodes[0])
    return build.add(op, nodes, (h, w, sum(build.shape(node)[2] for node in nodes)))


def _node(build: GraphBuilder, layer: Layer, x: int) -> int:
    h, w, _ = build.shape(x)
    if layer.op is Op.ConvTranspose:
        h, w = h * layer.stride, w * layer.stride
    elif layer.op is Op.Mean:
        h, w = 1, 1
    else:
        h, w = -(-h // layer.stride), -(-w // layer.stride)
    windowed = layer.kernel > 0
    return build.add(
        layer.op,
        (x,),
        (h, w, layer.channels),
        kernel=(layer.kernel, layer.kernel),
        stride=(layer.stride, layer.stride) if windowed else (1, 1),
        bias=layer.bias,
        params=layer.params,
    )
