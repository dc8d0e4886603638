"""Operations that only move, choose, repeat or join numbers, and those that give constants."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiop_core.graph.onnx.call import Call
from aiop_core.graph.ops import Op
from aiop_core.graph.recorder import Recorder, Rule, Value


@dataclass(frozen=True)
class Reshaped(Value):
    """A tensor under another shape than it was made in, which a later reshape may bring back.

    Attributes:
        whole: the tensor as it was made, which knows its channels.
    """

    whole: Value | None = None


def _reshape(recorder: Recorder, call: Call) -> Value:
    x, shape = call.flowing, call.shapes[0]
    whole = (x.whole if isinstance(x, Reshaped) else None) or x
    if shape == whole.shape:
        return whole
    seen = recorder.view(x, shape)
    return Reshaped(shape, seen.node, seen.axis, whole=whole)


def _same_axes(recorder: Recorder, call: Call) -> list[Value]:
    x = call.flowing
    return [recorder.view(x, shape, x.axis) for shape in call.shapes]


def _unchanged(recorder: Recorder, call: Call) -> Value:
    """Only the first result is the input: ``Dropout`` gives its mask, too."""
    x = call.flowing
    return recorder.view(x, call.shapes[0], x.axis)


def _like(recorder: Recorder, call: Call) -> Value:
    """``CastLike``: only the type of the second input is used."""
    x, shape = call.values[0], call.shapes[0]
    return recorder.view(x, shape, x.axis) if x.flows else recorder.constant([x], shape)


def _axes(call: Call, rank: int) -> set[int]:
    return {int(a) % rank for a in call.numbers(1, "axes") or ()}


def _squeeze(recorder: Recorder, call: Call) -> Value:
    x = call.flowing
    gone = _axes(call, max(len(x.shape), 1)) or {d for d, size in enumerate(x.shape) if size == 1}
    axis = None if x.axis in gone else x.axis - sum(d < x.axis for d in gone)
    return recorder.view(x, call.shapes[0], axis)


def _unsqueeze(recorder: Recorder, call: Call) -> Value:
    x, shape = call.flowing, call.shapes[0]
    new = _axes(call, max(len(shape), 1))
    old = [d for d in range(len(shape)) if d not in new]
    return recorder.view(x, shape, old[x.axis] if x.axis < len(old) else None)


def _expand(recorder: Recorder, call: Call) -> Value:
    """New axes come in front."""
    x, shape = call.flowing, call.shapes[0]
    return recorder.view(x, shape, x.axis + len(shape) - len(x.shape) if x.shape else None)


def _transpose(recorder: Recorder, call: Call) -> Value:
    x = call.flowing
    moved = recorder.permute(x, call.arg(1, "perm") or list(range(len(x.shape)))[::-1])
    return Value(moved.shape, moved.node, moved.axis)


def _gather(recorder: Recorder, call: Call) -> Value:
    """One place along an axis, which goes; several places; or places that the input decides."""
    x, places = call.inputs[:2]
    if x is None or not x.flows or places is None or places.flows:
        return recorder.emit(Op.Gather, call.values, call.shapes[0])
    along = call.arg(2, "axis", 0) % max(len(x.shape), 1)
    if len(places.shape) == 1:
        return recorder.view(x, call.shapes[0], x.axis)
    if not places.shape and along != x.axis:
        return recorder.view(x, call.shapes[0], x.axis - int(along < x.axis))
    return recorder.view(x, call.shapes[0])


def _take(recorder: Recorder, call: Call) -> Value:
    """Parts at constant places are a view."""
    x, *rest = call.values
    if x.flows and not any(v.flows for v in rest):
        return recorder.view(x, call.shapes[0])
    return recorder.emit(Op.Gather, call.values, call.shapes[0])


def _put(recorder: Recorder, call: Call) -> Value:
    """Contents written into some places: chosen from what was there and what is new."""
    first, shape = call.values[0], call.shapes[0]
    axis = first.axis if first.flows else recorder.default_axis(shape)
    return recorder.emit(Op.Where, call.values, shape, axis=axis)


def _concat(recorder: Recorder, call: Call) -> Value:
    return recorder.concat(call.values, call.shapes[0])


def _pad(recorder: Recorder, call: Call) -> Value:
    """What adds nothing is no node."""
    x = call.flowing
    if math.prod(call.shapes[0]) <= x.size:
        return recorder.view(x, call.shapes[0], x.axis)
    return recorder.emit(Op.Paddings, [x], call.shapes[0])


def _constant(recorder: Recorder, call: Call) -> list[Value]:
    """Only the shape of an activation is used."""
    return [recorder.constant((), shape) for shape in call.shapes]


SHAPES_READ = frozenset(
    "Bernoulli ConstantOfShape EyeLike Multinomial RandomNormalLike RandomUniformLike Range Shape Size".split()
)
"""Operations that only use the shape of a tensor, or give sizes and chance."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(["Flatten", "Reshape"], _reshape),
    **dict.fromkeys(["Slice", "Split", "Tile", "CenterCropPad"], _same_axes),
    **dict.fromkeys(
        """
        BitCast Cast Dropout Identity OptionalGetElement ReverseSequence Trilu
        """.split(),
        _unchanged,
    ),
    **dict.fromkeys(["Compress", "GatherElements", "GatherND"], _take),
    **dict.fromkeys(["Scatter", "ScatterElements", "ScatterND", "TensorScatter"], _put),
    **dict.fromkeys(SHAPES_READ, _constant),
    "CastLike": _like,
    "Concat": _concat,
    "Expand": _expand,
    "Gather": _gather,
    "Pad": _pad,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
