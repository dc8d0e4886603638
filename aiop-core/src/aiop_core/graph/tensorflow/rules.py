"""What each TensorFlow operation that reads an activation becomes in the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from aiop_core.graph.ops import Op
from aiop_core.graph.recorder import Recorder, Rule, Value
from aiop_core.graph.tensorflow.einsum import einsum
from aiop_core.graph.tensorflow.operation import Operation
from aiop_core.graph.tensorflow.shapes import pool_window, reduced, transposed
from aiop_core.graph.tensorflow.slicing import sliced


def _node(kind: Op, recorder: Recorder, op: Operation) -> Value:
    return recorder.emit(kind, op.values, op.shapes[0])


def _each(kind: Op, recorder: Recorder, op: Operation) -> list[Value]:
    return [recorder.emit(kind, op.values, shape) for shape in op.shapes]


def _arithmetic(kind: Op, recorder: Recorder, op: Operation) -> Value:
    return recorder.arithmetic(kind, op.values, op.shapes[0])


def _unchanged(recorder: Recorder, op: Operation) -> Value:
    """Arithmetic with numbers alone, casts, and what matters in training only."""
    return recorder.view(op.flowing, op.shapes[0])


def _through(_recorder: Recorder, op: Operation) -> list[Value]:
    return op.values


def _constant(recorder: Recorder, op: Operation) -> list[Value]:
    """Only the shape of an activation is used."""
    return [recorder.constant([], shape) for shape in op.shapes]


def _divide(recorder: Recorder, op: Operation) -> Value:
    """A number divided by an activation is a node, as its reciprocal is."""
    if not op.values[0].flows:
        return recorder.emit(Op.Div, op.values, op.shapes[0])
    return recorder.arithmetic(Op.Div, op.values, op.shapes[0])


def _power(recorder: Recorder, op: Operation) -> Value:
    """Square roots and reciprocals by their own names."""
    contents = op.inputs[1].contents
    exponent = contents.item() if contents is not None and contents.size == 1 else None
    kind = Op.Sqrt if exponent in (0.5, -0.5) else Op.Div if exponent == -1 else Op.Pow
    return recorder.emit(kind, op.values, op.shapes[0])


def _sum(recorder: Recorder, op: Operation) -> Value:
    """``AddN``: one addition for each tensor after the first."""
    first, *others = op.values
    for other in others:
        first = recorder.arithmetic(Op.Add, [first, other], op.shapes[0])
    return first


def _bias(recorder: Recorder, op: Operation) -> Value:
    return replace(recorder.arithmetic(Op.Add, op.values, op.shapes[0]), axis=op.channel_axis)


def _squared_difference(recorder: Recorder, op: Operation) -> Value:
    difference = recorder.arithmetic(Op.Sub, op.values, op.shapes[0])
    return recorder.emit(Op.Pow, [difference], op.shapes[0])


def _bounded(recorder: Recorder, op: Operation) -> Value:
    """``Maximum``, ``Minimum`` and ``ClipByValue`` with numbers are ReLU, ReLU6 or nothing."""
    numbers = [tensor.contents for tensor in op.inputs if not tensor.value.flows]
    if not all(n is not None and n.size == 1 for n in numbers) or not numbers:
        return _arithmetic(Op.Min if op.name == "Minimum" else Op.Max, recorder, op)
    low, high = None, None
    bounds = [n.item() for n in numbers if n is not None]
    if op.name == "ClipByValue":
        low, high = bounds
    elif op.name == "Maximum":
        low = bounds[0]
    else:
        high = bounds[0]
    return recorder.clamp(op.flowing, low, high, op.shapes[0])


def _convolution(recorder: Recorder, op: Operation) -> Value:
    x, kernel = op.values
    inner = 1 if op.name.startswith("Depthwise") else kernel.shape[-2]
    return recorder.convolution(
        [x, kernel, None],
        op.shapes[0],
        kernel=kernel.shape[:-2],
        stride=op.spatial(op.attr("strides")),
        groups=x.shape[op.channel_axis] // inner,
        axis=op.channel_axis,
    )


def _transposed_convolution(recorder: Recorder, op: Operation) -> Value:
    _, kernel, x = op.values
    return recorder.convolution(
        [x, kernel, None],
        op.shapes[0],
        kernel=kernel.shape[:-2],
        stride=op.spatial(op.attr("strides")),
        transposed=True,
        axis=1 if op.channels_first else len(x.shape) - 1,
    )


def _product(recorder: Recorder, op: Operation) -> Value:
    left, right = (
        recorder.permute(value, [*range(len(value.shape) - 2), -1, -2]) if turned else value
        for value, turned in zip(op.values, transposed(op), strict=True)
    )
    return recorder.product(left, right, op.shapes[0])


def _batch_norm(recorder: Recorder, op: Operation) -> Value:
    """Mean and variance are no parameters."""
    return recorder.emit(Op.BatchNorm, op.values[:3], op.shapes[0], axis=op.channel_axis)


def _pool(kind: Op, recorder: Recorder, op: Operation) -> Value:
    kernel, stride = pool_window(op)
    return recorder.pool(kind, op.values[0], op.shapes[0], kernel, stride, axis=op.channel_axis)


def _reduction(kind: Op, recorder: Recorder, op: Operation) -> Value:
    return recorder.reduction(kind, op.values[0], reduced(op), op.shapes[0])


def _arg_max(recorder: Recorder, op: Operation) -> Value:
    return recorder.reduction(Op.ArgMax, op.values[0], op.ints(1), op.shapes[0])


def _concat(recorder: Recorder, op: Operation) -> Value:
    parts = op.values[:-1] if op.name == "ConcatV2" else op.values[1:] if op.name == "Concat" else op.values
    return recorder.concat(parts, op.shapes[0])


def _on_axes(x: Value, origins: Sequence[int | None]) -> int:
    """Where the channel axis is if axis ``i`` of the result is axis ``origins[i]`` of ``x``."""
    return origins.index(x.axis) if x.axis in origins else max(len(origins) - 1, 0)


def _split(recorder: Recorder, op: Operation) -> list[Value]:
    x = op.flowing
    return [recorder.view(x, shape, x.axis) for shape in op.shapes]


def _unpack(recorder: Recorder, op: Operation) -> list[Value]:
    x = op.values[0]
    gone = op.attr("axis", 0) % len(x.shape)
    axis = _on_axes(x, [d for d in range(len(x.shape)) if d != gone])
    return [recorder.view(x, shape, axis) for shape in op.shapes]


def _strided_slice(recorder: Recorder, op: Operation) -> Value:
    x = op.values[0]
    if not x.flows:
        return recorder.emit(Op.Gather, op.values, op.shapes[0])
    return recorder.view(x, op.shapes[0], _on_axes(x, sliced(op).origins))


def _same_axes(recorder: Recorder, op: Operation) -> Value:
    return recorder.view(op.values[0], op.shapes[0], op.values[0].axis)


def _gather(recorder: Recorder, op: Operation) -> Value:
    """Fixed places of an activation are a part of it; places that flow look up a table."""
    x, places = op.values[:2]
    if places.flows:
        return recorder.emit(Op.Gather, [x, places], op.shapes[0], axis=max(len(op.shapes[0]) - 1, 0))
    gathered = op.ints(2)[0] % len(x.shape) if len(op.inputs) > 2 else 0
    rank = len(places.shape)
    if gathered == x.axis:
        axis = gathered + max(rank - 1, 0) if rank else len(op.shapes[0]) - 1
    else:
        axis = x.axis + (rank - 1 if gathered < x.axis else 0)
    return recorder.view(x, op.shapes[0], max(axis, 0))


def _transpose(recorder: Recorder, op: Operation) -> Value:
    return recorder.permute(op.values[0], op.ints(1))


def _squeeze(recorder: Recorder, op: Operation) -> Value:
    x = op.values[0]
    gone = [d % len(x.shape) for d in op.attr("squeeze_dims", [])] or [d for d, n in enumerate(x.shape) if n == 1]
    return recorder.view(x, op.shapes[0], _on_axes(x, [d for d in range(len(x.shape)) if d not in gone]))


def _expand(recorder: Recorder, op: Operation) -> Value:
    x = op.values[0]
    new = op.ints(1)[0] % (len(x.shape) + 1)
    return recorder.view(x, op.shapes[0], x.axis + (new <= x.axis))


def _pad(recorder: Recorder, op: Operation) -> Value:
    if op.shapes[0] == op.shape():
        return op.values[0]
    return recorder.emit(Op.Paddings, op.values[:1], op.shapes[0])


def _first(kind: Op, recorder: Recorder, op: Operation) -> Value:
    """Sizes, blocks and the like are no inputs of the node."""
    return recorder.emit(kind, op.values[:1], op.shapes[0])


def _crop(recorder: Recorder, op: Operation) -> Value:
    window = op.shapes[0][1:3]
    return recorder.emit(Op.RoIAlign, op.values[:1], op.shapes[0], kernel=(window[0], window[1]))


_NODES: dict[Op, str] = {
    Op.ReLU: "Relu",
    Op.ReLU6: "Relu6",
    Op.Sigmoid: "Sigmoid",
    Op.Tanh: "Tanh",
    Op.ELU: "Elu Selu",
    Op.LeakyReLU: "LeakyRelu",
    Op.Softplus: "Softplus",
    Op.Softmax: "Softmax LogSoftmax",
    Op.Exp: "Exp Expm1",
    Op.Log: "Log Log1p",
    Op.Sqrt: "Sqrt Rsqrt",
    Op.Pow: "Square",
    Op.Abs: "Abs",
    Op.Sign: "Sign",
    Op.Round: "Ceil Floor Rint Round",
    Op.Erf: "Erf Erfc",
    Op.Sin: "Asin Sin Sinh Tan",
    Op.Cos: "Acos Atan Cos Cosh",
    Op.Compare: "IsFinite IsInf IsNan LogicalNot",
    Op.Div: "Inv Reciprocal Softsign",
}

_ARITHMETIC: dict[Op, str] = {
    Op.Add: "Add AddV2",
    Op.Sub: "Sub",
    Op.Mul: "Mul MulNoNan",
    Op.Round: "FloorMod Mod",
    Op.Compare: "Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr NotEqual",
    Op.Where: "Select SelectV2",
    Op.Cos: "Atan2",
}

_REDUCTIONS: dict[Op, str] = {
    Op.Mean: "Mean",
    Op.Sum: "All Any Sum",
    Op.Max: "Max",
    Op.Min: "Min",
    Op.Prod: "Prod",
    Op.Norm: "EuclideanNorm",
}

_FIRST: dict[Op, str] = {
    Op.SpacetoBatchND: "SpaceToBatchND",
    Op.BatchtoSpaceND: "BatchToSpaceND",
    Op.SpacetoDepthND: "SpaceToDepth",
    Op.DepthtoSpaceND: "DepthToSpace",
    Op.Resize: "ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate",
    Op.Cumsum: "Cumprod Cumsum",
}

RULES: Mapping[str, Rule] = {
    **{name: partial(_node, kind) for kind, names in _NODES.items() for name in names.split()},
    **{name: partial(_arithmetic, kind) for kind, names in _ARITHMETIC.items() for name in names.split()},
    **{name: partial(_reduction, kind) for kind, names in _REDUCTIONS.items() for name in names.split()},
    **{name: partial(_first, kind) for kind, names in _FIRST.items() for name in names.split()},
    **dict.fromkeys(
        """
        Cast CheckNumerics EnsureShape FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
        FakeQuantWithMinMaxVarsPerChannel Identity Neg PlaceholderWithDefault PreventGradient Print
        QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 Snapshot StopGradient
        """.split(),
        _same_axes,
    ),
    **dict.fromkeys(["Reshape", "Tile", "BroadcastTo"], _unchanged),
    **dict.fromkeys(["ReverseV2", "Roll"], _same_axes),
    **dict.fromkeys(["Slice"], _same_axes),
    **dict.fromkeys(
        "BroadcastArgs Fill OnesLike Rank Range Shape ShapeN Size ZerosLike".split(),
        _constant,
    ),
    **dict.fromkeys(["AddN", "AccumulateNV2"], _sum),
    **dict.fromkeys(["BiasAdd", "BiasAddV1"], _bias),
    **dict.fromkeys(["Maximum", "Minimum", "ClipByValue"], _bounded),
    **dict.fromkeys(["Conv2D", "Conv3D", "DepthwiseConv2dNative"], _convolution),
    **dict.fromkeys(["Conv2DBackpropInput", "Conv3DBackpropInputV2"], _transposed_convolution),
    **dict.fromkeys(["MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"], _product),
    **dict.fromkeys(["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"], _batch_norm),
    **dict.fromkeys(["MaxPool", "MaxPoolV2", "MaxPool3D", "MaxPoolWithArgmax"], partial(_pool, Op.Maxpool)),
    **dict.fromkeys(["AvgPool", "AvgPool3D"], partial(_pool, Op.Avgpool)),
    **dict.fromkeys(["ArgMax", "ArgMin"], _arg_max),
    **dict.fromkeys(["ConcatV2", "Concat", "Pack"], _concat),
    **dict.fromkeys(["Split", "SplitV"], _split),
    **dict.fromkeys(["GatherV2", "Gather", "ResourceGather"], _gather),
    **dict.fromkeys(["Pad", "PadV2", "MirrorPad"], _pad),
    **{f"NonMaxSuppressionV{version}": partial(_each, Op.NMS) for version in (3, 4, 5)},
    "CropAndResize": _crop,
    **dict.fromkeys("Div DivNoNan FloorDiv RealDiv TruncateDiv".split(), _divide),
    "Einsum": einsum,
    "ExpandDims": _expand,
    "IdentityN": _through,
    "Pow": _power,
    "SquaredDifference": _squared_difference,
    "Squeeze": _squeeze,
    "StridedSlice": _strided_slice,
    "TopKV2": partial(_each, Op.TopK),
    "Transpose": _transpose,
    "Unpack": _unpack,
}
"""The rule for each operation that can meet an activation, by TensorFlow's name of it."""
