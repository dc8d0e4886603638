"""Lists of tensors, as the plain operations on the tensors in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from aiop_core.errors import GraphError
from aiop_core.graph.onnx.call import Contents
from aiop_core.graph.onnx.file import title
from aiop_core.graph.recorder import Shape

LONGEST = 10_000
"""Tensors in a list."""


OPERATORS = frozenset(
    """
    ConcatFromSequence SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength
    SplitToSequence
    """.split()
)
"""Every operation that :meth:`Sequences.plain` rewrites."""


class Sequences:
    """What lists a model makes, each as the names of its tensors.

    Args:
        opset: of the model.
        shape: of the tensor of a name.
        contents: of a small constant of a name.
    """

    def __init__(self, opset: int, shape: Callable[[str], Shape], contents: Callable[[str], Contents | None]) -> None:
        self._opset, self._shape, self._contents = opset, shape, contents
        self._lists: dict[str, list[str]] = {}

    def plain(self, node: NodeProto) -> list[NodeProto] | None:
        """The operations on tensors that ``node`` stands for; ``None`` if it is about no list.

        Raises:
            GraphError: if places or sizes are not known before a run.
        """
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        names = self._lists.get(node.input[0], []) if node.input else []
        match node.op_type:
            case "SplitToSequence":
                return self._split(node, attributes.get("axis", 0), attributes.get("keepdims", 1))
            case "SequenceConstruct":
                self._lists[node.output[0]] = list(node.input)
            case "SequenceEmpty":
                self._lists[node.output[0]] = []
            case "SequenceInsert":
                at = self._number(node, 2) if len(node.input) > 2 else len(names)
                self._lists[node.output[0]] = [*names[:at], node.input[1], *names[at:]]
            case "SequenceErase":
                at = self._number(node, 1) if len(node.input) > 1 else -1
                self._lists[node.output[0]] = [name for i, name in enumerate(names) if i != at % len(names)]
            case "SequenceAt":
                at = self._number(node, 1)
                if not -len(names) <= at < len(names):
                    raise GraphError(f"{title(node)} takes tensor {at} of a list of {len(names)}")
                return [helper.make_node("Identity", [names[at]], node.output)]
            case "SequenceLength":
                return [_constant(np.array(len(names)), node.output[0])]
            case "ConcatFromSequence":
                return self._join(node, names, attributes["axis"], attributes.get("new_axis", 0))
            case _:
                return None
        return []

    def _number(self, node: NodeProto, index: int) -> int:
        known = self._contents(node.input[index])
        if known is None or known.size != 1:
            raise GraphError(f"{title(node)} takes a place that only a run would tell; fix the input shape at export")
        return int(known.reshape(-1)[0])

    def _split(self, node: NodeProto, axis: int, keepdims: int) -> list[NodeProto]:
        """Into parts of given sizes, of one size, or of one place each."""
        shape = self._shape(node.input[0])
        if not -len(shape) <= axis < len(shape):
            raise GraphError(f"{title(node)} splits axis {axis} of a tensor of shape {shape}")
        whole, given = shape[axis], len(node.input) > 1 and bool(node.input[1])
        size = self._contents(node.input[1]) if given else np.array(1)
        if size is None or whole > LONGEST:
            raise GraphError(f"{title(node)} splits into sizes that only a run would tell, or into over {LONGEST}")
        step = max(int(size.reshape(-1)[0]), 1) if size.size else 1
        sizes = size.tolist() if size.ndim else [min(step, whole - start) for start in range(0, whole, step)]
        parts = [f"{node.output[0]}[{i}]" for i in range(len(sizes))]
        split = helper.make_node("Split", node.input[:1], parts, name=node.name, axis=axis)
        places = [_constant(np.array(sizes, dtype=np.int64), f"sizes of {node.output[0]}")]
        if self._opset < 13:
            split.attribute.append(helper.make_attribute("split", sizes))
            places = []
        else:
            split.input.append(places[0].output[0])
        self._lists[node.output[0]] = parts
        if given or keepdims:
            return [*places, split]
        self._lists[node.output[0]] = [f"{part} alone" for part in parts]
        return [*places, split, *(n for part in parts for n in self._axis("Squeeze", part, f"{part} alone", axis))]

    def _join(self, node: NodeProto, names: list[str], axis: int, new_axis: int) -> list[NodeProto]:
        if not names:
            raise GraphError(f"{title(node)} joins an empty list; a network that is read must know its lists")
        wider = [f"{name} in {node.output[0]}" for name in names]
        pairs = zip(names, wider, strict=True) if new_axis else ()
        unsqueeze = [n for name, result in pairs for n in self._axis("Unsqueeze", name, result, axis)]
        return [*unsqueeze, helper.make_node("Concat", wider if new_axis else names, node.output, axis=axis)]

    def _axis(self, op: str, name: str, result: str, axis: int) -> list[NodeProto]:
        """``Squeeze`` or ``Unsqueeze`` as the opset writes them."""
        if self._opset < 13:
            return [helper.make_node(op, [name], [result], axes=[axis])]
        place = f"axis of {result}"
        return [_constant(np.array([axis]), place), helper.make_node(op, [name, place], [result])]


def _constant(contents: Contents, name: str) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(contents, name))
