"""Operations on numbers one by one, and reductions."""

from __future__ import annotations

from functools import partial

from aiop_core.graph.aten.call import Call
from aiop_core.graph.ops import Op
from aiop_core.graph.recorder import Recorder, Rule, Value


def node(op: Op, recorder: Recorder, call: Call) -> Value:
    """One node that reads every tensor of the call; only the first result is an activation."""
    return recorder.emit(op, call.values, call.shapes[0])


def _arithmetic(op: Op, recorder: Recorder, call: Call) -> Value:
    return recorder.arithmetic(op, call.values, call.shapes[0])


def _product(recorder: Recorder, call: Call) -> Value:
    """Times the number 0, a tensor of zeros is left."""
    if any(type(factor) in (int, float) and factor == 0 for factor in call.args):
        return recorder.emit(Op.Zero, call.values, call.shapes[0])
    return recorder.arithmetic(Op.Mul, call.values, call.shapes[0])


def _unchanged(recorder: Recorder, call: Call) -> Value:
    """Arithmetic with numbers only."""
    x = call.flowing
    return recorder.view(x, call.shapes[0], x.axis)


def _pow(recorder: Recorder, call: Call) -> Value:
    """Square roots and reciprocals by their own names."""
    exponent = call.args[1] if len(call.args) > 1 else None
    op = Op.Sqrt if exponent in (0.5, -0.5) else Op.Div if exponent == -1 else Op.Pow
    return node(op, recorder, call)


def _clamp(recorder: Recorder, call: Call) -> Value:
    between = (-1, 1) if call.name == "hardtanh" else (None, None)  # torch leaves defaults out
    low, high = call.arg(1, "min", between[0]), call.arg(2, "max", between[1])
    if isinstance(low, Value) or isinstance(high, Value):
        return recorder.arithmetic(Op.Max, call.values, call.shapes[0])
    return recorder.clamp(call.flowing, low, high, call.shapes[0])


def _clamp_max(recorder: Recorder, call: Call) -> Value:
    return recorder.clamp(call.flowing, None, call.args[1], call.shapes[0])


def _add_product(op: Op, recorder: Recorder, call: Call) -> Value:
    """``x + value · a · b``, or ``x + value · a / b``."""
    x, a, b = call.values
    shape = call.shapes[0]
    if not (a.flows or b.flows):
        return recorder.arithmetic(Op.Add, [x, recorder.constant([a, b], shape)], shape)
    return recorder.arithmetic(Op.Add, [x, recorder.arithmetic(op, [a, b], shape)], shape)


def _lerp(recorder: Recorder, call: Call) -> Value:
    """``start + weight · (end - start)``."""
    start, end, *weight = call.values
    shape = call.shapes[0]
    way = recorder.arithmetic(Op.Sub, [end, start], shape)
    return recorder.arithmetic(Op.Add, [start, recorder.arithmetic(Op.Mul, [way, *weight], shape)], shape)


def _where(recorder: Recorder, call: Call) -> Value:
    return recorder.arithmetic(Op.Where, call.values, call.shapes[0])


def _reduction(op: Op, recorder: Recorder, call: Call) -> Value | list[Value]:
    x, dims = call.args[0], call.arg(1, "dim")
    if len(call.values) > 1:  # an element-wise max or min of two tensors
        return recorder.arithmetic(op, call.values, call.shapes[0])
    along = [dims] if isinstance(dims, int) else dims or None
    if op in (Op.Max, Op.Min) and len(call.shapes) == 2:  # the numbers, and where they are
        return [recorder.reduction(o, x, along, shape) for o, shape in zip((op, Op.ArgMax), call.shapes, strict=True)]
    return recorder.reduction(op, x, along, call.shapes[0])


def _norm(recorder: Recorder, call: Call) -> Value:
    """``norm(x, p, dims)``."""
    dims = call.arg(2, "dim")
    return recorder.reduction(Op.Norm, call.args[0], [dims] if isinstance(dims, int) else dims or None, call.shapes[0])


def _variance(recorder: Recorder, call: Call) -> list[Value]:
    """``var_mean`` gives the mean, too."""
    x, dims = call.args[0], call.arg(1, "dim")
    along = [dims] if isinstance(dims, int) else dims or None
    return [recorder.reduction(op, x, along, shape) for op, shape in zip((Op.Var, Op.Mean), call.shapes, strict=False)]


def _along(op: Op, recorder: Recorder, call: Call) -> list[Value]:
    """Every result is of the input: ``topk`` gives values and places."""
    return [recorder.emit(op, call.values, shape) for shape in call.shapes]


def _glu(recorder: Recorder, call: Call) -> Value:
    """One half times the sigmoid of the other."""
    x, shape = call.flowing, call.shapes[0]
    half, gate = recorder.view(x, shape, x.axis), recorder.view(x, shape, x.axis)
    return recorder.emit(Op.Mul, [half, recorder.emit(Op.Sigmoid, [gate], shape)], shape)


_NODES: dict[Op, str] = {
    Op.ReLU: "relu threshold",
    Op.ReLU6: "relu6 hardsigmoid",
    Op.Sigmoid: "sigmoid log_sigmoid_forward",
    Op.Tanh: "tanh",
    Op.Swish: "silu",
    Op.GeLU: "gelu",
    Op.ELU: "elu celu selu",
    Op.LeakyReLU: "leaky_relu rrelu_with_noise",
    Op.PReLU: "prelu _prelu_kernel",
    Op.Softplus: "softplus",
    Op.Softmax: "_softmax softmax _safe_softmax _log_softmax",
    Op.Exp: "exp exp2 expm1",
    Op.Log: "log log2 log10 log1p",
    Op.Sqrt: "sqrt rsqrt",
    Op.Abs: "abs angle",
    Op.Sign: "sign sgn",
    Op.Round: "ceil floor round trunc fmod remainder",
    Op.Erf: "erf",
    Op.Sin: "sin sinh asin tan",
    Op.Cos: "cos cosh acos atan atan2",
    Op.Compare: "eq ge gt isfinite isinf isnan le logical_and logical_not logical_or lt ne bitwise_and bitwise_not",
    Op.Div: "reciprocal floor_divide",
    Op.FFT: "_fft_r2c _fft_c2r _fft_c2c",
    Op.Gather: "masked_select nonzero",
}

RULES: dict[str, Rule] = {
    **{name: partial(node, op) for op, names in _NODES.items() for name in names.split()},
    **dict.fromkeys(["neg", "conj", "real", "nan_to_num", "positive", "masked_fill", "fill", "zero"], _unchanged),
    **dict.fromkeys(["add", "_add_relu"], partial(_arithmetic, Op.Add)),
    **dict.fromkeys(["sub", "rsub"], partial(_arithmetic, Op.Sub)),
    "mul": _product,
    **dict.fromkeys(["div"], partial(_arithmetic, Op.Div)),
    **dict.fromkeys(["maximum", "fmax"], partial(_arithmetic, Op.Max)),
    **dict.fromkeys(["minimum", "fmin"], partial(_arithmetic, Op.Min)),
    **dict.fromkeys(["mean", "nanmean"], partial(_reduction, Op.Mean)),
    **dict.fromkeys(["sum", "nansum", "any", "all", "logsumexp"], partial(_reduction, Op.Sum)),
    **dict.fromkeys(["amax", "max"], partial(_reduction, Op.Max)),
    **dict.fromkeys(["amin", "min"], partial(_reduction, Op.Min)),
    **dict.fromkeys(["prod"], partial(_reduction, Op.Prod)),
    **dict.fromkeys(["var", "var_mean", "std", "std_mean"], _variance),
    **dict.fromkeys(["linalg_vector_norm", "norm"], _norm),
    **dict.fromkeys(["argmax", "argmin"], partial(_reduction, Op.ArgMax)),
    **dict.fromkeys(["topk", "sort", "kthvalue", "median"], partial(_along, Op.TopK)),
    **dict.fromkeys(["cumsum", "cumprod"], partial(_along, Op.Cumsum)),
    **dict.fromkeys(["hardtanh", "clamp", "clamp_min"], _clamp),
    "clamp_max": _clamp_max,
    "pow": _pow,
    "addcmul": partial(_add_product, Op.Mul),
    "addcdiv": partial(_add_product, Op.Div),
    "lerp": _lerp,
    "where": _where,
    "glu": _glu,
}
