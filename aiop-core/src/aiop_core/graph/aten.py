"""What each ATen call becomes in the graph.

``RULES`` maps the name of an ATen operation (in-place variants without their ``_``) to a
function that appends its nodes. Four decisions hold throughout:

- Views and copies are no nodes; a view that keeps only a part is a ``Slice``.
- Arithmetic with numbers or constants that are no parameters is no node.
- Hard activations are spelt in the paper's vocabulary: H-swish is ReLU6 and Mul,
  H-sigmoid is ReLU6.
- A parameter is counted at the first node that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aiop_core.graph.ops import Op

if TYPE_CHECKING:
    from aiop_core.graph.trace import Recorder


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among arguments or results, those in lists and tuples included."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors_in(value)
    return found


class Call:
    """One ATen call: its operation and data.

    Attributes:
        name: such as ``convolution``; in-place variants end with ``_``.
        full_name: such as ``aten::convolution``.
        args: by position.
        kwargs: by name.
        out: what it gave.
        tensors: every tensor that it reads.
        results: every tensor that it gives.
    """

    def __init__(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.name: str = func.overloadpacket.__name__
        self.full_name: str = func.overloadpacket._qualified_op_name
        self.args, self.kwargs = [_on_meta(v) for v in args], {k: _on_meta(v) for k, v in kwargs.items()}
        self.out = self._short_cut() if self._keeps_shape() else func(*self.args, **self.kwargs)
        self.tensors = tensors_in([*self.args, *self.kwargs.values()])
        self.results = tensors_in([self.out])

    def _keeps_shape(self) -> bool:
        return self.name.removesuffix("_") in _SAME_SHAPE

    def _short_cut(self) -> Any:
        """The result where its shape is the input's, without torch's slow way to it."""
        x: Tensor = self.args[0]
        out = x if self.name.endswith("_") else torch.empty_like(x)
        return (out, x.new_empty(0), x.new_empty(0)) if self.name in _BATCH_NORMS else out

    def arg(self, index: int, name: str, default: Any = None) -> Any:
        """An argument by position or name."""
        return self.args[index] if index < len(self.args) else self.kwargs.get(name, default)


def _on_meta(value: Any) -> Any:
    """Tensors that a module keeps unregistered, or makes on a fixed device, join the others."""
    if isinstance(value, Tensor):
        return value if value.is_meta else torch.empty_like(value, device="meta")
    if isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value):
        return [_on_meta(v) for v in value]
    return value


Rule = Callable[["Recorder", Call], None]


def _pair(value: Any) -> tuple[int, int]:
    """A window or stride as (height, width); (k, 1) for one-dimensional operations."""
    if isinstance(value, int):
        return value, value
    value = list(value)
    if not value:
        return 1, 1
    return value[0], value[-1] if len(value) > 1 else 1


def _node(op: Op, recorder: Recorder, call: Call) -> None:
    """One node that reads every tensor of the call; only the first result is an activation."""
    recorder.emit(op, call.tensors, call.results[0])


def _arithmetic(op: Op, recorder: Recorder, call: Call) -> None:
    """A node if two activations meet, or an activation and a parameter; else nothing."""
    tensors = call.tensors
    if len([t for t in tensors if recorder.is_activation(t)]) == 1 and not any(
        recorder.value(t).params for t in tensors
    ):
        _view(recorder, call)
    else:
        _node(op, recorder, call)


def _view(recorder: Recorder, call: Call) -> None:
    """Results are the input under another shape; a part of it is a ``Slice``."""
    source = next(t for t in call.tensors if recorder.is_activation(t))
    value = recorder.value(source)
    for result in call.results:
        axis = _moved_axis(call, source, result, value.axis % max(source.ndim, 1))
        if result.numel() < source.numel():
            recorder.emit(Op.Slice, [source], result, axis=axis)
        else:
            recorder.bind(result, type(value)(value.node, axis))


def _moved_axis(call: Call, source: Tensor, result: Tensor, axis: int) -> int:
    """Where the channel axis is after a view."""
    name = call.name.removesuffix("_")
    if name == "permute":
        dims: list[int] = [d % source.ndim for d in call.args[1]]
        return dims.index(axis)
    if name in ("transpose", "t"):
        a, b = (0, 1) if name == "t" else (call.args[1] % source.ndim, call.args[2] % source.ndim)
        return {a: b, b: a}.get(axis, axis)
    if name == "unsqueeze":
        return axis + int(call.args[1] % result.ndim <= axis)
    if result.ndim == source.ndim:
        return axis
    channels = source.shape[axis] if source.ndim else 1
    if axis == source.ndim - 1 and result.ndim and result.shape[-1] == channels:
        return result.ndim - 1
    if axis < result.ndim and result.shape[axis] == channels:
        return axis
    return max(result.ndim - 1, 0)


def _convolution(recorder: Recorder, call: Call) -> None:
    x, weight, bias = call.args[0], call.args[1], call.arg(2, "bias")
    transposed, groups = call.arg(6, "transposed", False), call.arg(8, "groups", 1)
    depthwise = groups == x.shape[1] > 1 and not transposed
    recorder.emit(
        Op.ConvTranspose if transposed else Op.Depthwise if depthwise else Op.Conv,
        [x, weight, bias],
        call.out,
        axis=1,
        reads=1,
        kernel=_pair(weight.shape[2:]),
        stride=_pair(call.arg(3, "stride", 1)),
        groups=groups,
        bias=bias is not None,
    )


def _linear(recorder: Recorder, call: Call) -> None:
    """``addmm(bias, x, weight)``, ``mm(x, weight)`` or ``linear(x, weight, bias)``."""
    bias = call.args[0] if call.name == "addmm" else call.arg(2, "bias")
    recorder.emit(Op.MatMul, call.tensors, call.out, axis=call.out.ndim - 1, reads=-1, bias=bias is not None)


def _batched_product(recorder: Recorder, call: Call) -> None:
    """A product of two stacks of matrices, (b, n, k) × (b, k, m): b heads as groups."""
    left, right = call.args[-2], call.args[-1]
    heads, rows, inner = left.shape
    inputs = [n for t in (left, right) if (n := recorder.value(t).node) is not None]
    columns = right.shape[-1]
    node = recorder.builder.add(
        Op.MatMul,
        inputs,
        (rows, 1, heads * columns),
        seen=(rows, 1, heads * inner),
        groups=heads,
        params=recorder.claim([left, right]),
    )
    recorder.bind(call.out, type(recorder.value(left))(node, 2))


def _pool(op: Op, recorder: Recorder, call: Call) -> None:
    kernel = _pair(call.args[1])
    stride = _pair(call.arg(2, "stride", ()) or call.args[1])
    recorder.emit(op, [call.args[0]], call.results[0], kernel=kernel, stride=stride)


def _adaptive_pool(op: Op, recorder: Recorder, call: Call) -> None:
    """The window and stride that divide the input into that many cells."""
    x, out = call.args[0], call.results[0]
    steps = tuple(max(i // o, 1) for i, o in zip(x.shape[-2:], out.shape[-2:], strict=True))
    recorder.emit(op, [x], out, kernel=_pair(steps), stride=_pair(steps))


def _reduction(op: Op, recorder: Recorder, call: Call) -> None:
    """A reduction over some axes; the channel axis keeps its place if axes are kept."""
    x, out = call.args[0], call.results[0]
    axis = recorder.value(x).axis % x.ndim
    if out.ndim != x.ndim:
        dim = call.arg(1, "dim")
        dims = {d % x.ndim for d in ([dim] if isinstance(dim, int) else dim or range(x.ndim))}
        axis = max(sum(1 for d in range(axis) if d not in dims) - (axis in dims), 0)
    recorder.emit(op, [x], out, axis=axis)


def _concat(recorder: Recorder, call: Call) -> None:
    recorder.emit(Op.Concat, list(call.args[0]), call.out)


def _constant(recorder: Recorder, call: Call) -> None:
    """Only the shape of an activation is used."""
    for result in call.results:
        recorder.bind(result, type(recorder.value(result))(None, 0))


def _copy(recorder: Recorder, call: Call) -> None:
    """``a.copy_(b)``: from now on, a is b."""
    source = recorder.value(call.args[1])
    same = call.args[1].ndim == call.out.ndim
    recorder.bind(call.out, source if same else type(source)(source.node, max(call.out.ndim - 1, 0)))


def _hard_swish(recorder: Recorder, call: Call) -> None:
    before = recorder.value(call.args[0])
    assert before.node is not None  # rules run only for calls that read an activation
    gate = recorder.builder.add(Op.ReLU6, [before.node])
    recorder.bind(call.out, type(before)(recorder.builder.add(Op.Mul, [before.node, gate]), before.axis))


def _clamp(recorder: Recorder, call: Call) -> None:
    """ReLU, ReLU6 by their bounds; any other clamp keeps the shape and is no node."""
    low, high = call.arg(1, "min"), call.arg(2, "max")
    if low == 0 and high is not None:
        _node(Op.ReLU6, recorder, call)
    elif low == 0:
        _node(Op.ReLU, recorder, call)
    else:
        _view(recorder, call)


VIEWS = """
    alias as_strided chunk detach diagonal expand expand_as narrow permute _reshape_alias select slice split
    split_with_sizes squeeze t transpose unbind unfold unsafe_split _unsafe_view unsqueeze view view_as
""".split()
"""Operations whose results share their contents with the first input."""

_COPIES = """
    abs clone contiguous dropout flatten flip index lift_fresh native_dropout neg repeat reshape roll to _to_copy
""".split()

_CONSTANTS = """
    empty_like full_like new_empty new_empty_strided new_full new_ones new_zeros ones_like rand_like randn_like
    zeros_like
""".split()

_BATCH_NORMS = "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training".split()
_SAME_SHAPE = frozenset(
    """
    elu gelu hardsigmoid hardswish hardtanh leaky_relu relu relu6 sigmoid silu softplus tanh
    """.split()
    + _BATCH_NORMS
)

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
    Op.Exp: "exp",
    Op.Sqrt: "sqrt rsqrt",
    Op.BatchNorm: "batch_norm " + " ".join(_BATCH_NORMS),
    Op.LayerNorm: "native_layer_norm layer_norm",
    Op.GroupNorm: "native_group_norm group_norm",
    Op.Paddings: "constant_pad_nd reflection_pad2d replication_pad2d",
    Op.SpacetoDepthND: "pixel_unshuffle",
    Op.DepthtoSpaceND: "pixel_shuffle",
    Op.Resize: "upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d",
}

RULES: dict[str, Rule] = {
    **dict.fromkeys([*VIEWS, *_COPIES], _view),
    **dict.fromkeys(_CONSTANTS, _constant),
    "copy": _copy,
    "stack": _concat,
    **{name: partial(_node, op) for op, names in _NODES.items() for name in names.split()},
    "add": partial(_arithmetic, Op.Add),
    "sub": partial(_arithmetic, Op.Sub),
    "rsub": partial(_arithmetic, Op.Sub),
    "mul": partial(_arithmetic, Op.Mul),
    "div": partial(_arithmetic, Op.Div),
    "pow": partial(_node, Op.Pow),
    "convolution": _convolution,
    "addmm": _linear,
    "mm": _linear,
    "linear": _linear,
    "bmm": _batched_product,
    "max_pool2d_with_indices": partial(_pool, Op.Maxpool),
    "max_pool2d": partial(_pool, Op.Maxpool),
    "avg_pool2d": partial(_pool, Op.Avgpool),
    "_adaptive_avg_pool2d": partial(_adaptive_pool, Op.Avgpool),
    "adaptive_max_pool2d": partial(_adaptive_pool, Op.Maxpool),
    "mean": partial(_reduction, Op.Mean),
    "sum": partial(_reduction, Op.Sum),
    "amax": partial(_reduction, Op.Max),
    "max": partial(_reduction, Op.Max),
    "cat": _concat,
    "hardswish": _hard_swish,
    "hardtanh": _clamp,
    "clamp": _clamp,
    "clamp_min": _clamp,
}
"""The rule for each ATen operation that can meet an activation."""
