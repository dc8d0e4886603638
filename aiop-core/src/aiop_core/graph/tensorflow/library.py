"""The nodes of a graph with the calls of its function library written out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiop_core.errors import GraphError
from aiop_core.graph.tensorflow.protos import attributes

MAX_NODES = 1_000_000
"""After all calls are written out; NASNetLarge has about 8,000."""

MAX_DEPTH = 64
"""Of calls inside calls."""

Port = tuple[str, int]
"""One result of a node: the node's name, and which of its results."""

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")

_SEVERAL_RESULTS = {
    "FusedBatchNorm": "y batch_mean batch_variance reserve_space_1 reserve_space_2 reserve_space_3",
    "If": "output",
    "MaxPoolWithArgmax": "output argmax",
    "Merge": "output value_index",
    "NonMaxSuppressionV4": "selected_indices valid_outputs",
    "NonMaxSuppressionV5": "selected_indices selected_scores valid_outputs",
    "Switch": "output_false output_true",
    "TopKV2": "values indices",
    "Unique": "y idx",
}
"""Names of the results where an operation has more than one; functions refer to results by name."""


@dataclass(frozen=True)
class Node:
    """One operation of a graph.

    Attributes:
        name: unique in the graph.
        op: TensorFlow's name of the operation.
        inputs: the results that it reads, in order; control inputs left out.
        attrs: its attributes in Python.
    """

    name: str
    op: str
    inputs: tuple[Port, ...]
    attrs: Mapping[str, Any]


def parse_port(text: str) -> Port:
    """``name`` or ``name:2``."""
    name, _, index = text.partition(":")
    return name, int(index) if index.isdigit() else 0


def flatten(graph_def: Any, source: str) -> dict[str, Node]:
    """The nodes of a graph by name. A call becomes the nodes of its function and an ``IdentityN`` of its results.

    Raises:
        GraphError: if a name is no name or used twice, or calls are too deep or too many.
    """
    functions = {function.signature.name: function for function in graph_def.library.function}
    nodes: dict[str, Node] = {}
    calls: deque[tuple[Node, Any, int]] = deque()

    def add(node: Node, depth: int) -> None:
        if damaged := [
            text for text in (node.name, node.op, *(name for name, _ in node.inputs)) if not text.isprintable()
        ]:
            raise GraphError(f"{source}: {damaged[0]!r} is no name of a node; the file is damaged")
        if node.name in nodes:
            raise GraphError(f"{source}: two nodes are called '{node.name}'; names must be unique in a graph")
        if len(nodes) >= MAX_NODES:
            raise GraphError(
                f"{source}: calls of functions make more than {MAX_NODES:,} nodes; give a graph without them"
            )
        nodes[node.name] = node
        called = node.attrs.get("f") if node.op in _CALLS else node.op
        if called in functions:
            if depth >= MAX_DEPTH:
                raise GraphError(
                    f"{source}: node '{node.name}': functions call each other more than {MAX_DEPTH} levels deep"
                )
            calls.append((node, functions[called], depth + 1))

    for node in graph_def.node:
        inputs = tuple(parse_port(text) for text in node.input if not text.startswith("^"))
        add(Node(node.name, node.op, inputs, attributes(node)), 0)
    while calls:
        call, function, depth = calls.popleft()
        scope = _Scope(call, function)
        for node in function.node_def:
            attrs = {
                **attributes(node),
                **{k: call.attrs.get(v.placeholder) for k, v in node.attr.items() if v.placeholder},
            }
            inputs = tuple(scope.port(text) for text in node.input if not text.startswith("^"))
            add(Node(scope.name(node.name), node.op, inputs, attrs), depth)
        results = tuple(scope.port(function.ret[arg.name]) for arg in function.signature.output_arg)
        nodes[call.name] = Node(call.name, "IdentityN", results, {})
    return nodes


class _Scope:
    """The names inside one call of a function."""

    def __init__(self, call: Node, function: Any) -> None:
        self._call = call
        self._arguments: dict[str, Port] = dict(
            zip((arg.name for arg in function.signature.input_arg), call.inputs, strict=False)
        )
        self._ops = {node.name: node.op for node in function.node_def}

    def name(self, name: str) -> str:
        return f"{self._call.name}/{name}"

    def port(self, text: str) -> Port:
        """``argument``, or ``node:result:2`` where ``result`` may hold several tensors."""
        argument = self._arguments.get(text)
        if argument is not None:
            return argument
        name, _, rest = text.partition(":")
        result, _, index = rest.partition(":")
        op = self._ops.get(name, "")
        several = _SEVERAL_RESULTS.get("FusedBatchNorm" if op.startswith("FusedBatchNorm") else op, "").split()
        offset = several.index(result) if result in several else 0
        return self.name(name), offset + (int(index) if index.isdigit() else 0)
