"""Kinds of operations, as they are coloured, and the words that a node is drawn with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiop_core.graph.model import Graph
from aiop_core.graph.ops import Op


@dataclass(frozen=True)
class Kind:
    """Operations that share a colour: a title for the legend, and the fill on a light and on a dark page."""

    title: str
    light: str
    dark: str
    ops: str


KINDS: Mapping[str, Kind] = {
    "conv": Kind("convolution", "#a9cdf2", "#2b5c8f", "Conv ConvTranspose DeformConv"),
    "depthwise": Kind("depthwise convolution", "#a5e0da", "#1f6b66", "Depthwise"),
    "matmul": Kind("matrix product", "#cfc0f0", "#5a4595", "MatMul Recurrent"),
    "norm": Kind("normalisation", "#d5dae2", "#4a515d", "BatchNorm LayerNorm GroupNorm"),
    "activation": Kind(
        "activation",
        "#c5e6b4",
        "#3d6b2c",
        "ReLU ReLU6 Sigmoid Tanh Swish GeLU ELU LeakyReLU PReLU Softplus Softmax",
    ),
    "pool": Kind(
        "pooling, reduction",
        "#f6d79f",
        "#7d5719",
        "Maxpool Avgpool Mean Global Sum Max Min Prod Norm Var ArgMax Cumsum TopK RoIAlign",
    ),
    "join": Kind(
        "arithmetic, joining",
        "#f5bfb8",
        "#8a3f3b",
        "Add Sub Mul Div Concat Exp Log Sqrt Pow Abs Erf Sin Cos Round Sign Compare Where FFT",
    ),
    "shape": Kind("slicing, resizing", "#e6d6c3", "#66533d", ""),
    "io": Kind("input, output", "#3f4a5a", "#c3cad5", "Input Output"),
    "unknown": Kind("unknown", "#ff8a8a", "#b3262d", "OOV"),
}
"""In the order of the legend. An operation that no kind names is a ``shape``."""

_KIND_OF = {op: kind for kind, entry in KINDS.items() for op in entry.ops.split()}


def kind_of(op: int) -> str:
    """The key in ``KINDS`` of an operation."""
    return _KIND_OF.get(Op(op).name, "shape")


def caption(graph: Graph, node: int) -> tuple[str, str]:
    """What a node's row says: the operation with its window, and the shape that it gives if that changes."""
    name = Op(int(graph.op[node])).name
    kernel, stride, groups = graph.kernel[node].tolist(), graph.stride[node].tolist(), int(graph.groups[node])
    h_in, h_out, w_in, w_out, c_in, c_out = graph.resolution[node].tolist()
    words = [name]
    if any(kernel):
        words.append(times(kernel))
    if stride != [1, 1]:
        words.append(f"/{stride[0] if stride[0] == stride[1] else times(stride)}")
    if groups > 1 and name != "Depthwise":
        words.append(f"g{groups}")
    changes = (h_in, w_in, c_in) != (h_out, w_out, c_out) or name in ("Input", "Output")
    return " ".join(words), times((h_out, w_out, c_out)) if changes else ""


def times(sizes: list[int] | tuple[int, ...]) -> str:
    """Sizes with a multiplication sign between them."""
    return "×".join(map(str, sizes))


def amount(value: float) -> str:
    """A number in three figures with k, M, G or T."""
    size = abs(value)
    for factor, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if size >= factor * 0.9995:
            return f"{value / factor:.3g}{letter}"
    return f"{value:.3g}"
