"""A network resolved to channels, kernels and strides: what modules and graphs are both made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from aiop_core.contracts import Level

CLASSES = 1000
"""ImageNet's."""

POOL_KERNEL, POOL_STRIDE = 3, 2
"""The max pooling behind a ResNet's stem."""


class Activation(StrEnum):
    """The non-linearities of the three spaces."""

    RELU = "relu"
    RELU6 = "relu6"
    HARD_SWISH = "hard_swish"


def divisible(channels: float) -> int:
    """The multiple of 8 nearest to ``channels``, at least 8, and at least 90 % of it.

    Source: MobileNetV2, as every once-for-all network applies it.
    """
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


@dataclass(frozen=True)
class ConvPlan:
    """A convolution, its batch norm and its activation; with ``residual``, added to its input."""

    in_channels: int
    channels: int
    activation: Activation
    kernel: int = 1
    stride: int = 1
    batch_norm: bool = True
    residual: bool = False


@dataclass(frozen=True)
class MBConvPlan:
    """An inverted bottleneck: 1×1 to ``hidden`` channels, depthwise, 1×1 to ``channels``.

    Attributes:
        squeeze: channels inside squeeze-and-excitation, 0 for none.
        expands: whether the first 1×1 convolution is there.
    """

    in_channels: int
    hidden: int
    channels: int
    kernel: int
    stride: int
    activation: Activation
    squeeze: int = 0
    expands: bool = True

    @property
    def residual(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.stride == 1 and self.in_channels == self.channels


@dataclass(frozen=True)
class BottleneckPlan:
    """A ResNet-D bottleneck: 1×1 to ``hidden``, 3×3, 1×1 to ``channels``, added to a shortcut."""

    in_channels: int
    hidden: int
    channels: int
    stride: int

    @property
    def downsample(self) -> bool:
        """Whether the shortcut is average pooling and a 1×1 convolution."""
        return self.stride != 1 or self.in_channels != self.channels


@dataclass(frozen=True)
class NetworkPlan:
    """A whole classifier.

    Attributes:
        stem: convolutions before the blocks, by their numbers in the supernet.
        stem_pool: whether max pooling follows the stem.
        blocks: by their numbers in the supernet, in order.
        taps: numbers of the blocks whose outputs are feature levels; the last level is
            the output of ``expand``, or of the last block.
        expand: the 1×1 convolution before global pooling.
        mix: the 1×1 convolution after it.
        dropout: its rate before the classifier.
        bn_eps: epsilon of every batch norm.
    """

    stem: Mapping[int, ConvPlan]
    stem_pool: bool
    blocks: Mapping[int, MBConvPlan | BottleneckPlan]
    taps: tuple[int, ...]
    expand: ConvPlan | None
    mix: ConvPlan | None
    dropout: float
    bn_eps: float

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The feature maps that a backbone gives, finest first."""
        stride = math.prod(conv.stride for conv in self.stem.values()) * (POOL_STRIDE if self.stem_pool else 1)
        levels, channels = [], 0
        for slot, block in self.blocks.items():
            stride, channels = stride * block.stride, block.channels
            if slot in self.taps:
                levels.append(Level(channels, stride))
        return (*levels, Level(self.expand.channels if self.expand else channels, stride))

    @property
    def features(self) -> int:
        """How many numbers the classifier sees."""
        return self.mix.channels if self.mix else self.levels[-1].channels
