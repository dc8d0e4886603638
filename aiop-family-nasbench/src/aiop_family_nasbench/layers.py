"""The layers that the three benchmarks' networks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiop_core.graph.ops import Op
from aiop_family_nasbench.plans import Block, BlockDraft, Layer

Edge = Callable[[BlockDraft, int], int]
"""Appends an operation on a value to a block; gives the value of its result."""


def conv_bn(in_channels: int, channels: int, kernel: int, stride: int = 1) -> tuple[Layer, ...]:
    """Convolution without bias, batch norm."""
    return Layer(Op.Conv, in_channels, channels, kernel, stride), Layer(Op.BatchNorm, channels, channels)


def conv_bn_relu(in_channels: int, channels: int, kernel: int) -> tuple[Layer, ...]:
    """Convolution without bias, batch norm, ReLU."""
    return *conv_bn(in_channels, channels, kernel), relu(channels)


def relu_conv_bn(in_channels: int, channels: int, kernel: int, stride: int = 1) -> tuple[Layer, ...]:
    """ReLU, convolution without bias, batch norm."""
    return relu(in_channels), *conv_bn(in_channels, channels, kernel, stride)


def relu(channels: int) -> Layer:
    """The non-linearity of a map of that many channels."""
    return Layer(Op.ReLU, channels, channels)


def classifier(channels: int, classes: int) -> tuple[Layer, ...]:
    """Mean over height and width, and a linear layer."""
    return Layer(Op.Mean, channels, channels), Layer(Op.MatMul, channels, classes, bias=True)


def summed_cell(
    cell: tuple[str, ...], edges: Callable[[str, int], Edge | None], zeros: Edge, channels: int, stride: int = 1
) -> Block:
    """A cell whose nodes are sums of their incoming edges; the last node is the output.

    A node without any is a tensor of zeros. Summands stand in an order that depends on what
    they compute alone, so that isomorphic cells give one graph.

    Args:
        cell: for each node after the first, one letter for each edge that comes in.
        edges: what a letter stands for on an edge that leaves a node; ``None`` for nothing.
        zeros: makes zeros of a node's shape from the first node.
        channels: of each node after the first.
        stride: of the edges that leave the first node.
    """
    draft = BlockDraft()
    values, texts = [0], ["x"]
    for letters in cell:
        summands = []
        for source, letter in enumerate(letters):
            edge = edges(letter, source)
            if edge is not None:
                value = edge(draft, values[source])
                text = texts[source] if value == values[source] else f"{letter}({texts[source]})"
                summands.append((text, value))
        summands = sorted(summands) or [("0", zeros(draft, 0))]
        values.append(draft.add(*(value for _, value in summands)))
        texts.append(f"({'+'.join(text for text, _ in summands)})" if len(summands) > 1 else summands[0][0])
    return draft.block(values[-1], channels, stride)


def layered(layers: Mapping[str, tuple[Layer, ...] | None]) -> Callable[[str, int], Edge | None]:
    """Edges that are plain sequences of layers, whichever node they leave."""

    def edge(letter: str, _: int) -> Edge | None:
        chosen = layers[letter]
        return None if chosen is None else lambda draft, value: draft.apply(value, *chosen)

    return edge
