"""The heads of TransNAS-Bench-101's seven tasks, as blocks.

Source: the benchmark's published networks; parameters checked against its published counts.
"""

from __future__ import annotations

from functools import lru_cache

from aiop_core.graph.ops import Op
from aiop_family_nasbench.layers import classifier
from aiop_family_nasbench.plans import Block, Layer, chain

TILES = 3
"""The jigsaw puzzle has 3 × 3 pieces."""

INPUT_HW = {
    "class_scene": (256, 256),
    "class_object": (256, 256),
    "room_layout": (256, 256),
    "jigsaw": (TILES * 64, TILES * 64),
    "segmentsemantic": (256, 256),
    "normal": (256, 256),
    "autoencoder": (256, 256),
}
"""The pieces of a puzzle have 64 × 64 pixels; here they lie side by side in one image."""

CLASSES = {"class_scene": 63, "class_object": 100, "room_layout": 9, "jigsaw": 1000}

SEGMENTS = 17

WIDEST = 1024
"""Channels that both decoders begin with."""


@lru_cache
def head(task: str, channels: int, stride: int) -> Block:
    """The head of a task, on features of a body with that stride."""
    if task in CLASSES:
        return chain(*classifier(channels * TILES**2 if task == "jigsaw" else channels, CLASSES[task]))
    return _segmentation(channels, stride) if task == "segmentsemantic" else _generation(channels, stride)


def _doublings(stride: int) -> int:
    """How often a decoder doubles the size."""
    return stride.bit_length() - 1


def _segmentation(channels: int, stride: int) -> Block:
    """Eight layers that halve the channels; as many of the last ones as needed double the size."""
    doubled = _doublings(stride)
    width, layers = WIDEST, [*_unit(Op.Conv, channels, WIDEST)]
    for number in range(5):
        op = Op.Conv if number < 6 - doubled else Op.ConvTranspose
        layers += _unit(op, width, width // 2)
        width //= 2
    layers += _unit(Op.ConvTranspose, width, width)
    return chain(*layers, Layer(Op.Conv, width, SEGMENTS, 3, bias=True))


_GENERATION = (
    (1024, 0),
    (1024, 0),
    (512, 6),
    (512, 0),
    (256, 5),
    (128, 0),
    (64, 4),
    (64, 0),
    (32, 3),
    (32, 0),
    (16, 2),
    (32, 0),
    (16, 1),
)
"""Channels of each layer, and from how many doublings on it doubles the size; 0 for never."""


def _generation(channels: int, stride: int) -> Block:
    """Fourteen layers; the last gives an image between -1 and 1."""
    layers: list[Layer] = []
    for width, doubling in _GENERATION:
        doubles = 0 < doubling <= _doublings(stride)
        layers += _unit(Op.ConvTranspose if doubles else Op.Conv, channels, width)
        channels = width
    return chain(*layers, Layer(Op.Conv, channels, 3, 3, bias=True), Layer(Op.Tanh, 3, 3))


def _unit(op: Op, in_channels: int, channels: int) -> tuple[Layer, ...]:
    """A 3×3 convolution with bias, batch norm, leaky ReLU; a transposed one doubles the size."""
    return (
        Layer(op, in_channels, channels, 3, 2 if op is Op.ConvTranspose else 1, bias=True),
        Layer(Op.BatchNorm, channels, channels),
        Layer(Op.LeakyReLU, channels, channels),
    )
