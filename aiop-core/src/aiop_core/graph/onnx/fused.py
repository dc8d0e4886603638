"""Fused and quantised operations, as the plain ones that they stand for.

Runtimes write them when they optimise a model. Their scales and zero points are no part of
the network: what is left are ONNX's own operations, for which inference and rules exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from onnx import NodeProto, TensorProto, helper

from aiop_core.graph.onnx.file import STANDARD
from aiop_core.graph.recorder import Shape

RUNTIME = "com.microsoft"
"""The domain of ONNX Runtime's own operations."""

_QUANTISED: Mapping[str, tuple[str, Sequence[int]]] = {
    "ConvInteger": ("Conv", (0, 1)),
    "MatMulInteger": ("MatMul", (0, 1)),
    "QLinearConv": ("Conv", (0, 3, 8)),
    "QLinearMatMul": ("MatMul", (0, 3)),
    "QuantizeLinear": ("CastLike", (0, 1)),
    "DequantizeLinear": ("CastLike", (0, 1)),
    f"{RUNTIME}::QuantizeLinear": ("CastLike", (0, 1)),
    f"{RUNTIME}::DequantizeLinear": ("CastLike", (0, 1)),
    f"{RUNTIME}::QGemm": ("Gemm", (0, 3, 6)),
    f"{RUNTIME}::QLinearAdd": ("Add", (0, 3)),
    f"{RUNTIME}::QLinearMul": ("Mul", (0, 3)),
    f"{RUNTIME}::QLinearSigmoid": ("Sigmoid", (0,)),
    f"{RUNTIME}::QLinearLeakyRelu": ("LeakyRelu", (0,)),
    f"{RUNTIME}::QLinearSoftmax": ("Softmax", (0,)),
    f"{RUNTIME}::QLinearAveragePool": ("AveragePool", (0,)),
    f"{RUNTIME}::QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    f"{RUNTIME}::Gelu": ("Gelu", (0,)),
}
"""One operation each: its plain name, and which of the inputs it reads."""


def _make(
    op: str, inputs: Sequence[str], outputs: Sequence[str], like: NodeProto, *keep: str, **more: Any
) -> NodeProto:
    """A plain node that is called as ``like`` is, with those of its attributes that it ``keep``s."""
    node = helper.make_node(op, inputs, outputs, name=like.name, **more)
    node.attribute.extend(a for a in like.attribute if a.name in keep)
    return node


def _inner(node: NodeProto, what: str) -> str:
    """A name for a tensor inside a fused node, which no other tensor has."""
    return f"{what} inside {node.output[0]}"


def _activated(op: str, node: NodeProto) -> Iterator[NodeProto]:
    """``FusedConv`` and ``FusedGemm``: a sum with a fourth input and an activation come after."""
    steps: list[tuple[str, Sequence[str]]] = [(op, node.input[:3])]
    if len(node.input) > 3 and node.input[3]:
        steps.append(("Add", node.input[3:]))
    if activation := next((a.s.decode() for a in node.attribute if a.name == "activation"), ""):
        steps.append((activation, ()))
    given: list[str] = []
    for number, (step, inputs) in enumerate(steps):
        last = number == len(steps) - 1
        result = node.output[0] if last else _inner(node, step)
        kept = [a.name for a in node.attribute if not a.name.startswith("activation")] if step == op else []
        yield _make(step, [*given, *inputs], [result], node, *kept)
        given = [result]


def _quantised_while_running(node: NodeProto) -> Iterator[NodeProto]:
    """``DynamicQuantizeLinear`` gives its scale and zero point, too: numbers."""
    yield _make("Identity", node.input[:1], node.output[:1], node)
    for name, kind in zip(node.output[1:], (TensorProto.FLOAT, TensorProto.UINT8), strict=False):
        yield _make("Constant", [], [name], node, value=helper.make_tensor(name, kind, [], [1]))


def _fused_product(node: NodeProto, shape: Callable[[str], Shape]) -> Iterator[NodeProto]:
    """``FusedMatMul`` reads its inputs with the last two axes swapped, if it says so."""
    names = list(node.input[:2])
    for index, flag in enumerate(("transA", "transB")):
        if any(a.name == flag and a.i for a in node.attribute):
            axes = list(range(len(shape(names[index]))))
            turned = _inner(node, flag)
            yield _make("Transpose", [names[index]], [turned], node, perm=[*axes[:-2], *axes[:-3:-1]])
            names[index] = turned
    yield _make("MatMul", names, node.output[:1], node)


def _biased_gelu(node: NodeProto) -> Iterator[NodeProto]:
    """``BiasGelu`` and ``FastGelu`` add a vector first."""
    x = node.input[0]
    if len(node.input) > 1 and node.input[1]:
        x = _inner(node, "sum")
        yield _make("Add", node.input[:2], [x], node)
    yield _make("Gelu", [x], node.output[:1], node)


def _quick_gelu(node: NodeProto) -> Iterator[NodeProto]:
    """``QuickGelu`` is x · sigmoid(alpha · x)."""
    gate = _inner(node, "gate")
    yield _make("Sigmoid", node.input[:1], [gate], node)
    yield _make("Mul", [node.input[0], gate], node.output[:1], node)


def _skip_norm(norm: str, node: NodeProto) -> Iterator[NodeProto]:
    """A residual sum, and its normalisation: (input, skip, scale, shift, bias)."""
    with_shift = norm == "LayerNormalization"
    bias = node.input[3 + with_shift] if len(node.input) > 3 + with_shift else ""
    summed = node.output[3] if len(node.output) > 3 and node.output[3] else _inner(node, "sum")
    x, skip = node.input[:2]
    if bias:
        yield _make("Add", [x, bias], [_inner(node, "biased")], node)
        x = _inner(node, "biased")
    yield _make("Add", [x, skip], [summed], node)
    yield _make(norm, [summed, *node.input[2 : 3 + with_shift]], node.output[:1], node, axis=-1)


def _renamed(op: str, *keep: str) -> Callable[[NodeProto], Iterator[NodeProto]]:
    def rename(node: NodeProto) -> Iterator[NodeProto]:
        yield _make(op, node.input, node.output[:1], node, *keep)

    return rename


_FUSED: Mapping[str, Callable[[NodeProto], Iterator[NodeProto]]] = {
    "DynamicQuantizeLinear": _quantised_while_running,
    f"{RUNTIME}::FusedConv": lambda node: _activated("Conv", node),
    f"{RUNTIME}::FusedGemm": lambda node: _activated("Gemm", node),
    f"{RUNTIME}::BiasGelu": _biased_gelu,
    f"{RUNTIME}::FastGelu": _biased_gelu,
    f"{RUNTIME}::QuickGelu": _quick_gelu,
    f"{RUNTIME}::SkipLayerNormalization": lambda node: _skip_norm("LayerNormalization", node),
    f"{RUNTIME}::SkipSimplifiedLayerNormalization": lambda node: _skip_norm("RMSNormalization", node),
    f"{RUNTIME}::QLinearConcat": lambda node: iter([_make("Concat", node.input[2::3], node.output, node, "axis")]),
    f"{RUNTIME}::SimplifiedLayerNormalization": _renamed("RMSNormalization", "axis"),
    "SimplifiedLayerNormalization": _renamed("RMSNormalization", "axis"),
}


PLAIN = frozenset([*_QUANTISED, *_FUSED, f"{RUNTIME}::FusedMatMul"])
"""Every operation that :func:`plain` rewrites."""


def plain(node: NodeProto, shape: Callable[[str], Shape]) -> list[NodeProto]:
    """The plain operations that ``node`` stands for, itself if it is one; ``shape`` is that of a tensor."""
    name = node.op_type if node.domain in STANDARD else f"{node.domain}::{node.op_type}"
    if name == f"{RUNTIME}::FusedMatMul":
        return list(_fused_product(node, shape))
    if name in _FUSED:
        return list(_FUSED[name](node))
    if name in _QUANTISED:
        op, places = _QUANTISED[name]
        inputs = [node.input[i] for i in places if i < len(node.input) and node.input[i]]
        if op == "CastLike":
            return [_make(op, inputs, node.output[:1], node)]
        real = [_inner(node, f"real {i}") for i in places]
        casts = [_make("Cast", [i], [r], node, to=TensorProto.FLOAT) for i, r in zip(inputs, real, strict=False)]
        return [*casts, _make(op, real[: len(inputs)], node.output[:1], node, *(a.name for a in node.attribute))]
    return [node]
