"""Layers: convolutions, matrix products, attention, normalisation, pooling, resizing, recurrence."""

from __future__ import annotations

import math
from functools import partial

from aiop_core.errors import GraphError
from aiop_core.graph.onnx.arithmetic import node, unary
from aiop_core.graph.onnx.call import Call
from aiop_core.graph.onnx.views import Reshaped
from aiop_core.graph.ops import Op
from aiop_core.graph.recorder import Recorder, Rule, Shape, Value, geometry, window


def _required(call: Call, index: int) -> Value:
    value = call.input(index)
    if value is None:
        raise GraphError(f"{call.name} lacks its input {index}; check the file with onnx.checker")
    return value


def _window_shape(call: Call) -> Shape:
    """What a window leaves of its input."""
    shape = call.shapes[0]
    if math.prod(shape) == 0:
        raise GraphError(f"nothing is left of its input of shape {call.flowing.shape}; give a larger input shape")
    return shape


def _bias(call: Call, index: int) -> Value | None:
    """A bias; numbers that are no parameters are none."""
    value = call.input(index)
    return value if value is not None and (value.flows or value.params) else None


def _convolution(recorder: Recorder, call: Call) -> Value:
    x, weight = _required(call, 0), _required(call, 1)
    transposed, groups = call.name == "ConvTranspose", call.arg(9, "group", 1)
    takes = weight.shape[0] if transposed else weight.shape[1] * groups
    if x.shape[1] != takes:
        raise GraphError(f"its weights are for {takes} channels, but its input of shape {x.shape} has {x.shape[1]}")
    return recorder.convolution(
        [x, weight, _bias(call, 2)],
        _window_shape(call),
        kernel=weight.shape[2:],
        stride=call.arg(9, "strides", (1,) * (len(weight.shape) - 2)),
        groups=groups,
        transposed=transposed,
    )


def _deformable(recorder: Recorder, call: Call) -> Value:
    """Inputs are the activation, its weights, offsets, bias and mask."""
    weight = _required(call, 1)
    return recorder.emit(
        Op.DeformConv,
        call.values,
        call.shapes[0],
        axis=1,
        kernel=window(weight.shape[2:]),
        stride=window(call.arg(9, "strides", (1, 1))),
        groups=call.arg(9, "group", 1),
        bias=_bias(call, 3) is not None,
    )


def _gemm(recorder: Recorder, call: Call) -> Value:
    """A · B + C, with A and B transposed if the call says so."""
    left, right = (
        recorder.permute(v, (1, 0)) if call.arg(9, flag, 0) else v
        for v, flag in ((_required(call, 0), "transA"), (_required(call, 1), "transB"))
    )
    shape, bias = call.shapes[0], _bias(call, 2)
    if left.shape[1] != right.shape[0]:
        raise GraphError(f"it multiplies {left.shape} by {right.shape}; is the input shape one that the network takes?")
    if bias is not None and (bias.flows or bias.size != shape[1]):
        return recorder.arithmetic(Op.Add, [recorder.product(left, right, shape), bias], shape)
    return recorder.product(left, right, shape, bias=bias)


def _product(recorder: Recorder, call: Call) -> Value:
    return recorder.product(_required(call, 0), _required(call, 1), call.shapes[0])


def _einsum(recorder: Recorder, call: Call) -> Value:
    """A product of two tensors over the letters that both have and the result has not."""
    equation = call.attributes["equation"].decode().replace(" ", "")
    terms, arrow, result = equation.partition("->")
    letters = terms.split(",")
    if len(call.values) != 2 or not arrow or "." in equation or any(len(set(t)) < len(t) for t in letters):
        return recorder.emit(Op.MatMul, call.values, call.shapes[0])
    left, right = call.values
    size = dict(zip(letters[0], left.shape, strict=True)) | dict(zip(letters[1], right.shape, strict=True))
    first, second = (set(t) for t in letters)
    stack = [c for c in result if c in first and c in second]
    rows = [c for c in result if c in first - second]
    columns = [c for c in result if c in second - first]
    inner = [c for c in letters[0] if c in second and c not in result]

    def sizes(*groups: list[str]) -> Shape:
        return tuple(math.prod(size[c] for c in group) for group in groups)

    heads = (stack,) if stack else ()
    made = recorder.product(
        Value(sizes(*heads, rows, inner), left.node, 0, left.params),
        Value(sizes(*heads, inner, columns), right.node, 0, right.params),
        sizes(*heads, rows, columns),
    )
    return Value(call.shapes[0], made.node, result.index(columns[-1]) if columns else max(len(result) - 1, 0))


def _attention(recorder: Recorder, call: Call) -> Value:
    """Scaled dot-product attention as its two products and the softmax between them."""
    heads, groups = call.arg(9, "q_num_heads"), call.arg(9, "kv_num_heads")
    query = _heads(recorder, _required(call, 0), heads)
    key, value = (_heads(recorder, _required(call, i), groups) for i in (1, 2))
    key, value = (recorder.view(v, (*query.shape[:2], *v.shape[2:]), v.axis) for v in (key, value))
    scores = (*query.shape[:-1], key.shape[-2])
    logits = recorder.product(query, recorder.permute(key, (0, 1, 3, 2)), scores)
    if (mask := call.input(3)) is not None:
        logits = recorder.arithmetic(Op.Add, [logits, mask], scores)
    weights = recorder.emit(Op.Softmax, [logits], scores)
    made = recorder.product(weights, value, (*query.shape[:-1], value.shape[-1]))
    if heads is None:
        return made
    return recorder.view(recorder.permute(made, (0, 2, 1, 3)), call.shapes[0])


def _heads(recorder: Recorder, x: Value, heads: int | None) -> Value:
    """(batch, length, heads · features) as (batch, heads, length, features)."""
    if heads is None or len(x.shape) == 4:
        return x
    batch, length, features = x.shape
    return recorder.permute(recorder.view(x, (batch, length, heads, features // heads)), (0, 2, 1, 3))


def _batch_norm(recorder: Recorder, call: Call) -> Value:
    """Scale and shift are parameters; mean and variance are not."""
    return recorder.emit(Op.BatchNorm, call.inputs[:3], call.shapes[0])


def _instance_norm(recorder: Recorder, call: Call) -> Value:
    """Each channel by itself; of channels that are groups, a ``GroupNorm`` that torch spells out.

    Scale and shift are then ones and zeros, and those that count come after.
    """
    x = _required(call, 0)
    scale, shift = call.contents[1:3]
    if not isinstance(x, Reshaped) or x.whole is None or scale is None or shift is None:
        return node(Op.GroupNorm, recorder, call)
    if (scale != 1).any() or shift.any():
        return node(Op.GroupNorm, recorder, call)
    norm = recorder.emit(Op.GroupNorm, [x.whole], x.whole.shape)
    return Reshaped(x.shape, norm.node, 1, whole=norm)


def _rotary(recorder: Recorder, call: Call) -> Value:
    """A rotation by constant angles is arithmetic with numbers."""
    if any(v.flows for v in call.values[1:]):
        return recorder.emit(Op.Mul, call.values, call.shapes[0])
    return call.flowing


def _pool(op: Op, recorder: Recorder, call: Call) -> Value:
    kernel = call.attributes["kernel_shape"]
    return recorder.pool(op, call.flowing, _window_shape(call), kernel, call.arg(9, "strides", (1,) * len(kernel)))


def _global_mean(recorder: Recorder, call: Call) -> Value:
    x = call.flowing
    return recorder.reduction(Op.Mean, x, range(2, len(x.shape)), call.shapes[0])


def _global_max(recorder: Recorder, call: Call) -> Value:
    return recorder.adaptive_pool(Op.Maxpool, call.flowing, call.shapes[0])


def _regions(recorder: Recorder, call: Call) -> Value:
    """Pooling at boxes: the window is the grid of each box."""
    shape = call.shapes[0]
    return recorder.emit(Op.RoIAlign, call.values[:1], shape, axis=1, kernel=window(shape[2:]))


_GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def _recurrent(recorder: Recorder, call: Call) -> list[Value]:
    """All steps in both directions, and the last ones: parts of them."""
    x, recurrence = _required(call, 0), _required(call, 2)
    directions, _, hidden = recurrence.shape
    steps = recorder.emit(
        Op.Recurrent,
        [x, *call.inputs[1:4], *call.inputs[5:7]],
        (*x.shape[:2], directions * hidden),
        axis=2,
        seen=geometry(x.shape, 2),
        kernel=(directions, 1),
        groups=_GATES[call.name],
        bias=_bias(call, 3) is not None,
    )
    return [recorder.view(steps, shape) if shape else Value(shape) for shape in call.shapes]


_NODES: dict[Op, str] = {
    Op.LayerNorm: "LayerNormalization RMSNormalization",
    Op.GroupNorm: "GroupNormalization MeanVarianceNormalization",
    Op.Norm: "LRN",
}

RULES: dict[str, Rule] = {
    **{name: partial(node, op) for op, names in _NODES.items() for name in names.split()},
    **dict.fromkeys(["Conv", "ConvTranspose"], _convolution),
    **dict.fromkeys(["Resize", "Upsample"], partial(unary, Op.Resize)),
    **dict.fromkeys(["AveragePool", "LpPool"], partial(_pool, Op.Avgpool)),
    **dict.fromkeys(["MaxRoiPool", "RoiAlign"], _regions),
    **dict.fromkeys(["GRU", "LSTM", "RNN"], _recurrent),
    "Attention": _attention,
    "BatchNormalization": _batch_norm,
    "DeformConv": _deformable,
    "DepthToSpace": partial(unary, Op.DepthtoSpaceND),
    "Einsum": _einsum,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_mean,
    "GlobalMaxPool": _global_max,
    "GridSample": partial(node, Op.GridSample),
    "InstanceNormalization": _instance_norm,
    "MatMul": _product,
    "MaxPool": partial(_pool, Op.Maxpool),
    "NonMaxSuppression": partial(node, Op.NMS),
    "RotaryEmbedding": _rotary,
    "SpaceToDepth": partial(unary, Op.SpacetoDepthND),
    "Col2Im": partial(unary, Op.Sum),
}
