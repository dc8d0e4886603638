"""Views, copies, and what takes parts of a tensor or puts parts together."""

from __future__ import annotations

from collections.abc import Sequence

from aiop_core.graph.aten.call import Call
from aiop_core.graph.ops import Op
from aiop_core.graph.recorder import Recorder, Rule, Value

VIEWS = """
    alias as_strided chunk detach diagonal expand expand_as narrow permute _reshape_alias select slice split
    split_with_sizes squeeze t transpose unbind unfold unsafe_split _unsafe_view unsqueeze view view_as
    view_as_complex view_as_real
""".split()
"""Operations whose results share their contents with the first input."""

_RESHAPES = """
    alias as_strided channel_shuffle clone contiguous _conj detach diagonal dropout flatten flip im2col lift_fresh
    native_channel_shuffle native_dropout repeat repeat_interleave _reshape_alias reshape roll rot90 squeeze to _to_copy
    tril triu unfold _unsafe_view view view_as view_as_complex view_as_real
""".split()

_SAME_AXES = "chunk narrow slice split split_with_sizes unsafe_split".split()

_CONSTANTS = """
    bernoulli empty_like full_like new_empty new_empty_strided new_full new_ones new_zeros ones_like rand_like
    randn_like zeros_like
""".split()


def _reshape(recorder: Recorder, call: Call) -> list[Value]:
    return [recorder.view(call.flowing, shape) for shape in call.shapes]


def _same_axes(recorder: Recorder, call: Call) -> list[Value]:
    x = call.flowing
    return [recorder.view(x, shape, x.axis) for shape in call.shapes]


def _permute(recorder: Recorder, call: Call) -> Value:
    return recorder.permute(call.args[0], call.args[1])


def _transpose(recorder: Recorder, call: Call) -> Value:
    x = call.args[0]
    dims = list(range(len(x.shape)))
    first, second = (0, len(dims) - 1) if call.name == "t" else (call.args[1], call.args[2])
    if dims:
        dims[first], dims[second] = dims[second], dims[first]
    return recorder.permute(x, dims)


def _unsqueeze(recorder: Recorder, call: Call) -> Value:
    x, shape = call.args[0], call.shapes[0]
    return recorder.view(x, shape, x.axis + int(bool(x.shape) and call.args[1] % len(shape) <= x.axis))


def _select(recorder: Recorder, call: Call) -> list[Value]:
    """Parts of one place each along an axis, which goes."""
    x = call.args[0]
    gone = call.arg(1, "dim", 0) % len(x.shape)
    axis = None if gone == x.axis else x.axis - int(gone < x.axis)
    return [recorder.view(x, shape, axis) for shape in call.shapes]


def _expand(recorder: Recorder, call: Call) -> Value:
    """New axes come in front."""
    x, shape = call.flowing, call.shapes[0]
    return recorder.view(x, shape, x.axis + len(shape) - len(x.shape))


def _concat(recorder: Recorder, call: Call) -> Value:
    return recorder.concat(call.values, call.shapes[0])


def _stack(recorder: Recorder, call: Call) -> Value:
    """A concatenation along a new axis."""
    x, shape = call.flowing, call.shapes[0]
    axis = x.axis + int(call.arg(1, "dim", 0) % len(shape) <= x.axis)
    return recorder.emit(Op.Concat, call.values, shape, axis=axis)


def _constant(recorder: Recorder, call: Call) -> list[Value]:
    """Only the shape of an activation is used."""
    return [recorder.constant([], shape) for shape in call.shapes]


def _copy(recorder: Recorder, call: Call) -> Value:
    """``a.copy_(b)``: from now on, a is b."""
    source, shape = call.args[1], call.shapes[0]
    if not source.flows:
        return Value(shape, params=source.params)
    return recorder.view(source, shape, source.axis if len(shape) == len(source.shape) else None)


def _take(recorder: Recorder, call: Call) -> Value | Sequence[Value]:
    """Parts at constant places are a view; at places that the input decides, a ``Gather``."""
    x, rest = call.values[0], call.values[1:]
    if x.flows and not any(v.flows for v in rest):
        return recorder.view(x, call.shapes[0])
    return recorder.emit(Op.Gather, call.values, call.shapes[0])


def _put(recorder: Recorder, call: Call) -> Value:
    """Contents written into some places: chosen from what was there and what is new."""
    return recorder.emit(Op.Where, call.values, call.shapes[0], axis=call.values[0].axis if call.shapes[0] else 0)


RULES: dict[str, Rule] = {
    **dict.fromkeys(_RESHAPES, _reshape),
    **dict.fromkeys(_SAME_AXES, _same_axes),
    **dict.fromkeys(_CONSTANTS, _constant),
    **dict.fromkeys(["permute"], _permute),
    **dict.fromkeys(["transpose", "t"], _transpose),
    **dict.fromkeys(["select", "unbind"], _select),
    **dict.fromkeys(["expand", "expand_as"], _expand),
    **dict.fromkeys(["index", "index_select", "gather", "embedding", "take", "take_along_dim"], _take),
    **dict.fromkeys(["index_put", "scatter", "select_scatter", "slice_scatter", "masked_scatter", "index_copy"], _put),
    "unsqueeze": _unsqueeze,
    "cat": _concat,
    "stack": _stack,
    "copy": _copy,
}
