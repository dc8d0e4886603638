"""Which constants of a file are parameters: what the network learnt, not what else it computes with."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from aiop_core.graph.onnx.file import STANDARD, bodies
from aiop_core.graph.onnx.tensors import read_contents

COUNTED = frozenset(
    getattr(TensorProto, name)
    for name in """
        FLOAT FLOAT16 BFLOAT16 DOUBLE FLOAT8E4M3FN FLOAT8E4M3FNUZ FLOAT8E5M2 FLOAT8E5M2FNUZ
        INT8 UINT8 INT4 UINT4 INT32
    """.split()
)
"""Numbers that parameters are made of, quantised ones included; other integers are sizes and places."""

KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
"""Where torch's newer exporter notes whether an initializer was a parameter or a buffer."""

SIGNATURE = "pkg.torch.export.ExportedProgram.graph_signature"
"""Where it lists all parameters that the network had, those that it computed with at once included."""

CALL = "pkg.torch.onnx.fx_node"
"""Where it notes which call of torch a node is a part of, and what that read."""

_PARAMETER = r"^(\w+): PARAMETER target='([^']*)'$"
"""A line of the signature: what calls read a parameter as, and its own name."""


def parameters(model: ModelProto, folder: str) -> dict[str, int]:
    """How many numbers each constant holds that is a parameter, or is made of some.

    A single number is one only if it is a slope of ``PRelu`` or has the name of a parameter, as
    torch gives it. Torch writes no parameter as a ``Constant``; others do. Torch's older exporter
    stores parameters of equal contents once and gives the others as its ``Identity``. The zeros
    that recurrent layers start from are none. ``folder`` is where contents may be kept.
    """
    graph, torch_made = model.graph, model.producer_name == "pytorch"
    nodes = list(_nodes(graph))
    marks = _Marks(graph, nodes)
    slopes = {node.input[1] for node in nodes if node.op_type == "PRelu" and len(node.input) > 1}
    states = {name for node in nodes if node.op_type in ("GRU", "LSTM", "RNN") for name in node.input[5:7]}
    found: dict[str, int] = {}
    for name, tensor in _constants(graph, nodes=not torch_made):
        size = math.prod(tensor.dims)
        named = marks.named(name) if marks.found else torch_made and _is_torch_name(name)
        learnt = named or (marks.may_hold_parameters(name) and not (name in states and _is_zero(tensor, folder)))
        if tensor.data_type in COUNTED and learnt and (size > 1 or named or name in slopes):
            found[name] = size
    found |= {sparse.values.name: math.prod(sparse.values.dims) for sparse in graph.sparse_initializer}
    if torch_made:
        same = [node for node in graph.node if node.op_type == "Identity" and node.input]
        found |= {node.output[0]: found[node.input[0]] for node in same if node.input[0] in found}
    return found


class _Marks:
    """What torch's newer exporter notes of the initializers; nothing in other files.

    Attributes:
        found: whether there are any.
    """

    def __init__(self, graph: GraphProto, nodes: list[NodeProto]) -> None:
        self._kinds: dict[str, str] = {
            v.name: p.value for v in graph.value_info for p in v.metadata_props if p.key == KIND
        }
        signature = "\n".join(p.value for p in graph.metadata_props if p.key == SIGNATURE)
        self._names = {target: f"%{name}" for name, target in re.findall(_PARAMETER, signature, re.MULTILINE)}
        self._folded = {self._names[target] for target in self._names.keys() - {i.name for i in graph.initializer}}
        self.found = bool(self._kinds or self._names)
        self._calls: dict[str, set[str]] = {}
        for node in nodes:
            text = next((p.value for p in node.metadata_props if p.key == CALL), None)
            for name in node.input:
                read = self._folded if text is None else set(re.findall(r"%\w+", text))
                self._calls.setdefault(name, set()).update(read)

    def named(self, name: str) -> bool:
        """Whether a parameter is stored under its own name, batch normalisation folded into it or not."""
        return self._kinds.get(name) == "PARAMETER" or name in self._names

    def may_hold_parameters(self, name: str) -> bool:
        """Whether an initializer may have been computed from parameters.

        It was not if all parameters are stored under their own names, or if the call of torch
        that reads it knows its arguments, and none is a parameter that is not stored.
        """
        if name in self._kinds:
            return self._kinds[name] == "PARAMETER"
        if not self._names:
            return True
        read = self._calls.get(name, set())
        return bool(self._folded and (f"%{name}" in read or self._folded & read))


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """All nodes, those of branches and bodies included."""
    for node in graph.node:
        yield node
        for body in bodies(node):
            yield from _nodes(body)


def _constants(graph: GraphProto, *, nodes: bool) -> Iterator[tuple[str, TensorProto]]:
    """Initializers and ``Constant`` ``nodes``, those of branches included, under the names they are read by."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if nodes and node.op_type == "Constant" and node.domain in STANDARD and node.output:
            yield from ((node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value")
        for body in bodies(node):
            yield from _constants(body, nodes=nodes)


def _is_torch_name(name: str) -> bool:
    """Whether a name is that of a module's parameter: identifiers and numbers with dots between them."""
    return all(part.isidentifier() or part.isdecimal() for part in name.split("."))


def _is_zero(tensor: TensorProto, folder: str) -> bool:
    contents = read_contents(tensor, folder)
    return contents is not None and not contents.any()
