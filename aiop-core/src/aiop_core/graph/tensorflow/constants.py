"""Contents of constants, as far as shapes need them: small ones are computed, large ones have a shape only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from aiop_core.errors import GraphError
from aiop_core.graph.recorder import Shape
from aiop_core.graph.tensorflow.operation import Contents, Operation
from aiop_core.graph.tensorflow.protos import declared_shape
from aiop_core.graph.tensorflow.slicing import basic_index

MAX_CONTENTS = 65_536
"""How many whole numbers a constant may have for its contents to be kept."""

MAX_FRACTIONS = 64
"""Likewise for floating-point numbers: scales and bounds, not weights."""

_DTYPES: dict[int, tuple[str, str]] = {
    1: ("float32", "float_val"),
    2: ("float64", "double_val"),
    3: ("int32", "int_val"),
    4: ("uint8", "int_val"),
    5: ("int16", "int_val"),
    6: ("int8", "int_val"),
    9: ("int64", "int64_val"),
    10: ("bool", "bool_val"),
    17: ("uint16", "int_val"),
    22: ("uint32", "uint32_val"),
    23: ("uint64", "uint64_val"),
}
"""DataType -> numpy's name, and the field of a TensorProto that holds single numbers."""

FLOATS = frozenset({1, 2, 14, 19})
"""DataTypes that parameters have: float, double, bfloat16, half."""


def constant_shape(tensor: Any) -> Shape:
    """The declared shape of a TensorProto.

    Raises:
        GraphError: if it is unknown.
    """
    shape = declared_shape(tensor.tensor_shape)
    if shape is None or any(size < 0 for size in shape):
        raise GraphError("a constant has no shape; the file is damaged")
    return shape


def constant_contents(tensor: Any) -> Contents | None:
    """The numbers of a TensorProto; ``None`` if they are many, or no numbers.

    Raises:
        GraphError: if there are more or fewer than its shape says.
    """
    shape = constant_shape(tensor)
    size = math.prod(shape)
    if tensor.dtype not in _DTYPES or size > (MAX_FRACTIONS if tensor.dtype in FLOATS else MAX_CONTENTS):
        return None
    dtype, field = _DTYPES[tensor.dtype]
    if tensor.tensor_content:
        numbers = np.frombuffer(tensor.tensor_content[: len(tensor.tensor_content)], dtype=dtype)
        if numbers.size != size:
            raise GraphError(f"a constant of shape {list(shape)} holds {numbers.size} numbers; the file is damaged")
        return numbers.reshape(shape)
    given = list(getattr(tensor, field)[:size]) or [0]
    numbers = np.array(given + [given[-1]] * (size - len(given)), dtype=dtype)  # the last one repeats
    return numbers[:size].reshape(shape)


def fold(op: Operation) -> list[Contents] | None:
    """What an operation computes if all that it reads is known and small; ``None`` if not, or if no shape needs it."""
    compute = FOLDED.get(op.name)
    if compute is None or sum(math.prod(shape) for shape in op.shapes) > MAX_CONTENTS:
        return None
    if op.name not in _FROM_SHAPES and any(tensor.contents is None for tensor in op.inputs):
        return None
    with np.errstate(all="ignore"):
        found = compute(op)
    results = [np.asarray(r) for r in (found if isinstance(found, list) else [found])]
    return [r.reshape(shape) for r, shape in zip(results, op.shapes, strict=True)]


def _inputs(op: Operation) -> list[Contents]:
    return [op.contents(i) for i in range(len(op.inputs))]


def _elementwise(function: Callable[..., Any]) -> Callable[[Operation], Any]:
    return lambda op: function(*_inputs(op))


def _reduction(function: Callable[..., Any]) -> Callable[[Operation], Any]:
    return lambda op: function(op.contents(0), axis=tuple(op.ints(1)))


def _divide(a: Contents, b: Contents) -> Contents:
    """Integers are cut towards zero."""
    if not np.issubdtype(a.dtype, np.integer):
        return np.asarray(a / b)
    return np.asarray(np.trunc(a / b).astype(a.dtype))


def _cast(op: Operation) -> Contents:
    target = _DTYPES.get(int(op.attr("DstT", 1)), ("float32", ""))[0]
    return op.contents(0).astype(target)


def _pieces(op: Operation) -> list[Contents]:
    """``Split``, ``SplitV`` and ``Unpack``: the results lie end to end along an axis."""
    x, axis = (op.contents(1), op.ints(0)[0]) if op.name == "Split" else (op.contents(0), op.attr("axis", 0))
    axis = op.ints(2)[0] if op.name == "SplitV" else axis
    lengths = [1 if op.name == "Unpack" else shape[axis] for shape in op.shapes]
    return list(np.split(x, np.cumsum(lengths)[:-1], axis=axis))


def _slice(op: Operation) -> Contents:
    begin = op.ints(1)
    return op.contents(0)[tuple(slice(b, b + n) for b, n in zip(begin, op.shapes[0], strict=True))]


def _gather(op: Operation) -> Contents:
    axis = op.ints(2)[0] if len(op.inputs) > 2 else 0
    return np.take(op.contents(0), op.contents(1).astype(np.int64), axis=axis, mode="clip")


def _concat(op: Operation) -> Contents:
    if op.name == "Pack":
        return np.stack(_inputs(op), axis=op.attr("axis", 0))
    parts = _inputs(op)
    axis, parts = (parts[-1], parts[:-1]) if op.name == "ConcatV2" else (parts[0], parts[1:])
    return np.concatenate(parts, axis=int(axis))


def _filled(value: float) -> Callable[[Operation], Contents]:
    return lambda op: np.full(op.shapes[0], value, dtype=op.contents(0).dtype)


_FROM_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank"})
"""What is known of an activation, too."""

_NUMPY: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "AddV2": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _divide,
    "RealDiv": np.true_divide,
    "FloorDiv": np.floor_divide,
    "TruncateDiv": _divide,
    "FloorMod": np.mod,
    "Mod": np.fmod,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Neg": np.negative,
    "Abs": np.abs,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Round": np.round,
    "Rint": np.rint,
    "Sqrt": np.sqrt,
    "Square": np.square,
    "Equal": np.equal,
    "NotEqual": np.not_equal,
    "Less": np.less,
    "LessEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterEqual": np.greater_equal,
    "LogicalAnd": np.logical_and,
    "LogicalOr": np.logical_or,
    "LogicalNot": np.logical_not,
}

FOLDED: dict[str, Callable[[Operation], Any]] = {
    "Shape": lambda op: np.array(op.shape(), dtype=np.int64),
    "ShapeN": lambda op: [np.array(t.value.shape, dtype=np.int64) for t in op.inputs],
    "Size": lambda op: np.int64(op.inputs[0].value.size),
    "Rank": lambda op: np.int64(len(op.shape())),
    **dict.fromkeys(
        ["Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient", "EnsureShape", "Snapshot"],
        lambda op: op.contents(0).reshape(op.shapes[0]),
    ),
    "IdentityN": _inputs,
    "Transpose": lambda op: op.contents(0).transpose(op.ints(1)),
    "Cast": _cast,
    "Pack": _concat,
    "ConcatV2": _concat,
    "Concat": _concat,
    **dict.fromkeys(["Split", "SplitV", "Unpack"], _pieces),
    "StridedSlice": lambda op: op.contents(0)[basic_index(op)],
    "Slice": _slice,
    "GatherV2": _gather,
    "Gather": _gather,
    "Range": lambda op: np.arange(*[v.item() for v in _inputs(op)], dtype=op.contents(0).dtype),
    "Fill": lambda op: np.full(op.shapes[0], op.contents(1)),
    "ZerosLike": _filled(0),
    "OnesLike": _filled(1),
    "Tile": lambda op: np.tile(op.contents(0), op.ints(1)),
    "BroadcastTo": lambda op: np.broadcast_to(op.contents(0), op.shapes[0]),
    "BroadcastArgs": lambda op: np.array(np.broadcast_shapes(tuple(op.ints(0)), tuple(op.ints(1))), dtype=np.int64),
    **dict.fromkeys(["Select", "SelectV2"], _elementwise(np.where)),
    **{name: _elementwise(function) for name, function in _NUMPY.items()},
    "Prod": _reduction(np.prod),
    "Sum": _reduction(np.sum),
    "Max": _reduction(np.max),
    "Min": _reduction(np.min),
    "Mean": _reduction(np.mean),
    "All": _reduction(np.all),
    "Any": _reduction(np.any),
}
"""Operation -> its contents: those that arithmetic on shapes is made of."""
