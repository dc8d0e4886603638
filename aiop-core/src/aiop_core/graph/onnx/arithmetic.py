"""Operations on numbers one by one, and reductions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce

import numpy as np

from aiop_core.graph.onnx.call import Call
from aiop_core.graph.ops import Op
from aiop_core.graph.recorder import Recorder, Rule, Value


def node(op: Op, recorder: Recorder, call: Call) -> Value:
    """One node that reads every tensor of the call; only the first result is an activation."""
    return recorder.emit(op, call.values, call.shapes[0])


def unary(op: Op, recorder: Recorder, call: Call) -> Value:
    """One node that reads the activation; what else the call reads are settings."""
    return recorder.emit(op, [call.flowing], call.shapes[0])


def _arithmetic(op: Op, recorder: Recorder, call: Call) -> Value:
    """Of two, or of many one after the other."""

    def two(left: Value, right: Value) -> Value:
        shape = tuple(np.broadcast_shapes(left.shape, right.shape))
        if not (left.flows or right.flows):
            return recorder.constant([left, right], shape)
        return recorder.arithmetic(op, [left, right], shape)

    return reduce(two, call.values)


def _product(recorder: Recorder, call: Call) -> Value:
    """Times the number 0, a tensor of zeros is left."""
    if any(known is not None and known.size == 1 and not known.any() for known in call.contents):
        return unary(Op.Zero, recorder, call)
    return _arithmetic(Op.Mul, recorder, call)


def _unchanged(recorder: Recorder, call: Call) -> Value:
    """Arithmetic with numbers only."""
    x = call.flowing
    return recorder.view(x, call.shapes[0], x.axis)


def _power(recorder: Recorder, call: Call) -> Value:
    """Square roots and reciprocals by their own names."""
    exponent = call.numbers(1, "exponent") or [None]
    op = Op.Sqrt if exponent[0] in (0.5, -0.5) else Op.Div if exponent[0] == -1 else Op.Pow
    return recorder.emit(op, [v for v in call.values if v.flows or v.params], call.shapes[0])


def _clip(recorder: Recorder, call: Call) -> Value:
    if any(v.flows for v in call.values[1:]):
        return recorder.arithmetic(Op.Max, call.values, call.shapes[0])
    low, high = call.numbers(1, "min"), call.numbers(2, "max")
    return recorder.clamp(
        call.flowing,
        low[0] if low and low[0] > np.finfo(np.float32).min else None,
        high[0] if high and high[0] < np.finfo(np.float32).max else None,
        call.shapes[0],
    )


def _where(recorder: Recorder, call: Call) -> Value:
    return recorder.arithmetic(Op.Where, call.values, call.shapes[0])


def _reduction(op: Op, recorder: Recorder, call: Call) -> Value:
    """Over all axes if none are named, unless the call says that this means none."""
    x = call.flowing
    axes = call.numbers(1, "axes")
    if not axes and call.arg(9, "noop_with_empty_axes", 0):
        return recorder.view(x, call.shapes[0], x.axis)
    return recorder.reduction(op, x, axes or None, call.shapes[0])


def _sum_of_squares(recorder: Recorder, call: Call) -> Value:
    x = call.flowing
    square = recorder.emit(Op.Pow, [x], x.shape)
    return recorder.reduction(Op.Sum, square, call.numbers(1, "axes") or None, call.shapes[0])


def _place(recorder: Recorder, call: Call) -> Value:
    return recorder.reduction(Op.ArgMax, call.flowing, [call.arg(1, "axis", 0)], call.shapes[0])


def _along(op: Op, recorder: Recorder, call: Call) -> list[Value]:
    """Every result is of the input: ``TopK`` gives values and places."""
    return [recorder.emit(op, [call.flowing], shape) for shape in call.shapes]


def _normalised(recorder: Recorder, call: Call) -> Value:
    """Each x / norm(x) along an axis."""
    x = call.flowing
    axis = call.arg(1, "axis", -1) % len(x.shape)
    shape = tuple(1 if d == axis else size for d, size in enumerate(x.shape))
    return recorder.emit(Op.Div, [x, recorder.emit(Op.Norm, [x], shape)], x.shape)


def _soft_sign(recorder: Recorder, call: Call) -> Value:
    """Softsign is x / (1 + |x|)."""
    x = call.flowing
    return recorder.emit(Op.Div, [x, recorder.emit(Op.Abs, [x], x.shape)], x.shape)


def _swish_gate(recorder: Recorder, call: Call) -> Value:
    """``SwiGLU``: swish(a) · b."""
    gate, x = call.values
    swish = recorder.emit(Op.Swish, [gate], gate.shape) if gate.flows else gate
    return recorder.arithmetic(Op.Mul, [swish, x], call.shapes[0])


def _hard_swish(recorder: Recorder, call: Call) -> Value:
    return recorder.hard_swish(call.flowing)


def _mish(recorder: Recorder, call: Call) -> Value:
    return recorder.mish(call.flowing)


_NODES: dict[Op, str] = {
    Op.ReLU: "Relu ThresholdedRelu",
    Op.ReLU6: "HardSigmoid",
    Op.Sigmoid: "Sigmoid",
    Op.Tanh: "Tanh",
    Op.Swish: "Swish",
    Op.GeLU: "Gelu",
    Op.ELU: "Celu Elu Selu",
    Op.LeakyReLU: "LeakyRelu",
    Op.Softplus: "Softplus",
    Op.Softmax: "LogSoftmax Softmax",
    Op.ArgMax: "Hardmax",
    Op.Exp: "Exp",
    Op.Log: "Log",
    Op.Sqrt: "Sqrt",
    Op.Abs: "Abs",
    Op.Sign: "Sign",
    Op.Round: "Ceil Floor Round",
    Op.Erf: "Erf",
    Op.Sin: "Asin Asinh Sin Sinh Tan",
    Op.Cos: "Acos Acosh Atan Atanh Cos Cosh",
    Op.Div: "Reciprocal",
    Op.FFT: "DFT STFT",
    Op.Gather: "NonZero",
}

_COMPARISONS = """
    And BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Not
    OneHot Or Xor
""".split()


def _each(names: str, rule: Callable[..., Value | list[Value]], op: Op) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), partial(rule, op))


RULES: dict[str, Rule] = {
    **{name: partial(unary, op) for op, names in _NODES.items() for name in names.split()},
    **_each("Add Sum", _arithmetic, Op.Add),
    **_each("Mean", _arithmetic, Op.Add),  # a sum, and arithmetic with a number
    **_each("Sub", _arithmetic, Op.Sub),
    **_each("BitShift", _arithmetic, Op.Mul),
    **_each("Div", _arithmetic, Op.Div),
    **_each("Max", _arithmetic, Op.Max),
    **_each("Min", _arithmetic, Op.Min),
    **_each("Mod", node, Op.Round),
    **_each("PRelu", node, Op.PReLU),
    **_each("ReduceMean", _reduction, Op.Mean),
    **_each("ReduceSum ReduceLogSum ReduceLogSumExp", _reduction, Op.Sum),
    **_each("ReduceL1 ReduceL2 GlobalLpPool", _reduction, Op.Norm),
    **_each("ReduceMax", _reduction, Op.Max),
    **_each("ReduceMin", _reduction, Op.Min),
    **_each("ReduceProd", _reduction, Op.Prod),
    **_each("CumProd CumSum", _along, Op.Cumsum),
    **_each("TopK", _along, Op.TopK),
    **dict.fromkeys(_COMPARISONS, partial(node, Op.Compare)),
    **dict.fromkeys(["ArgMax", "ArgMin"], _place),
    "Clip": _clip,
    "HardSwish": _hard_swish,
    "LpNormalization": _normalised,
    "Mish": _mish,
    "Mul": _product,
    "Neg": _unchanged,
    "Pow": _power,
    "ReduceSumSquare": _sum_of_squares,
    "Softsign": _soft_sign,
    "SwiGLU": _swish_gate,
    "Where": _where,
}
