"""The pose heads of the paper: transposed convolutions from the coarsest level to heat maps.

Both follow Simple Baselines for pose estimation: each stage doubles the resolution with
a 4 × 4 transposed convolution of stride 2, batch normalisation and ReLU; a 1 × 1
convolution gives one heat map for each joint. They are built from a backbone's levels
alone.

Source: AIO-P, section "Experimental setup" (individual pose labels), and its published
code, ``model_src/multitask/{task_adapter,skip_adapter}.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aiop_core.contracts import Level
from aiop_core.errors import OptionError
from aiop_core.sharing.padding import ChannelPadding
from aiop_task_hpe.options import Settings

KERNEL = 4
FILTERS = 256
"""Width of every stage (paper)."""

LAST_DEVIATION = 0.001
"""Of the last convolution's first weights (Xiao et al., "Simple Baselines for Human Pose Estimation", 2018)."""

RESNET_WIDTHS = (256, 512, 1024, 2048)
"""The widest levels of the ResNet-50 space: what its shared head pads all levels to."""

HeatMaps = Float[Tensor, "batch joints h w"]


class DeconvHPEHead(nn.Module):
    """Heat maps from the coarsest level alone.

    Args:
        levels: what the backbone gives, finest first.
        joints: how many heat maps.
        filters: width of each stage.
        output_stride: how much smaller than the input image the heat maps are.
        widths: channels that the levels are zero-padded to, so that one head fits bodies
            of varying widths; the coarsest then passes a 1 × 1 convolution first. Empty
            for none.

    Raises:
        OptionError: if the heat maps cannot be reached by doubling, or a level is wider
            than ``widths`` allows.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        joints: int,
        *,
        filters: int = FILTERS,
        output_stride: int = 4,
        widths: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.pad = ChannelPadding(levels, widths)
        coarsest = self.pad.levels[-1]
        self.mix = conv_block(coarsest.channels, coarsest.channels) if widths else nn.Identity()
        self.stages = deconv_stages(coarsest, filters, output_stride)
        self.heat_maps = nn.Conv2d(filters if len(self.stages) else coarsest.channels, joints, kernel_size=1)

    def forward(self, features: Sequence[Tensor]) -> HeatMaps:
        """One map for each joint from the backbone's ``features``."""
        x = self.mix(self.pad(features)[-1])
        for stage in self.stages:
            x = stage(x)
        maps: Tensor = self.heat_maps(x)
        return maps


class SkipDeconvHPEHead(nn.Module):
    """Heat maps from all levels: each stage adds the levels of its resolution.

    Levels of equal stride are concatenated, the coarser first, and brought to ``filters``
    channels by a 1 × 1 convolution, batch normalisation and ReLU. With one level only it
    is :class:`DeconvHPEHead`. Arguments and errors are the same.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        joints: int,
        *,
        filters: int = FILTERS,
        output_stride: int = 4,
        widths: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.pad = ChannelPadding(levels, widths)
        levels = self.pad.levels
        coarsest = levels[-1]
        self.mix = conv_block(coarsest.channels, coarsest.channels) if widths else nn.Identity()
        self.stages = deconv_stages(coarsest, filters, output_stride)
        self.joined = [
            [i for i in reversed(range(len(levels) - 1)) if levels[i].stride == coarsest.stride >> stage + 1]
            for stage in range(len(self.stages))
        ]
        self.skips = nn.ModuleList(
            conv_block(sum(levels[i].channels for i in joined), filters) if joined else nn.Identity()
            for joined in self.joined
        )
        self.heat_maps = nn.Conv2d(filters if len(self.stages) else coarsest.channels, joints, kernel_size=1)

    def forward(self, features: Sequence[Tensor]) -> HeatMaps:
        """One map for each joint from the backbone's ``features``."""
        features = self.pad(features)
        x = self.mix(features[-1])
        for stage, joined, skip in zip(self.stages, self.joined, self.skips, strict=True):
            x = stage(x)
            if joined:
                together = [features[i] for i in joined]
                x = x + skip(together[0] if len(together) == 1 else torch.cat(together, dim=1))
        maps: Tensor = self.heat_maps(x)
        return maps


HEADS: dict[str, type[DeconvHPEHead | SkipDeconvHPEHead]] = {"deconv": DeconvHPEHead, "skip": SkipDeconvHPEHead}
"""By the names that the option ``head`` has."""


def build_head(levels: Sequence[Level], joints: int, settings: Settings) -> DeconvHPEHead | SkipDeconvHPEHead:
    """The head that the settings name, its weights drawn; torch's global generator stays as it was.

    Raises:
        OptionError: if it cannot be built on these levels, or they do not fit the image size.
    """
    require_multiple(settings.input_size, levels)
    with torch.random.fork_rng(devices=[]):  # torch draws weights that draw_weights replaces
        head = HEADS[settings.head](
            levels,
            joints,
            filters=settings.filters,
            output_stride=settings.output_stride,
            widths=settings.head_widths,
        )
    draw_weights(head, torch.Generator().manual_seed(0))
    return head


def require_multiple(input_size: int, levels: Sequence[Level]) -> None:
    """Make sure that the coarsest level has whole pixels: heat maps of another size than their targets teach nothing.

    Raises:
        OptionError: naming the next sizes.
    """
    stride = levels[-1].stride if levels else 1
    if input_size % stride:
        below = input_size // stride * stride
        raise OptionError(
            f"input size {input_size} is not a multiple of {stride}, the stride of the bodies' coarsest level; give "
            f"{f'{below} or ' if below else ''}{below + stride}"
        )


def conv_block(channels: int, filters: int) -> nn.Sequential:
    """1 × 1 convolution with bias, batch normalisation, ReLU."""
    return nn.Sequential(nn.Conv2d(channels, filters, kernel_size=1), nn.BatchNorm2d(filters), nn.ReLU(inplace=True))


def deconv_stages(coarsest: Level, filters: int, output_stride: int) -> nn.ModuleList:
    """As many doublings as lead from ``coarsest`` to ``output_stride``."""
    count = round(math.log2(max(coarsest.stride / output_stride, 1)))
    if output_stride << count != coarsest.stride:
        raise OptionError(
            f"output stride {output_stride} cannot be reached from stride {coarsest.stride} by doubling; "
            f"use {coarsest.stride} divided by a power of two"
        )
    return nn.ModuleList(
        nn.Sequential(
            nn.ConvTranspose2d(filters if i else coarsest.channels, filters, KERNEL, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(inplace=True),
        )
        for i in range(count)
    )


def draw_weights(head: DeconvHPEHead | SkipDeconvHPEHead, generator: torch.Generator) -> None:
    """Draw a head's weights anew: He's normal ones, no bias, and nearly empty heat maps.

    The last convolution starts at a deviation of 0.001, as in Simple Baselines, so that a
    short training does not begin with unlearning random maps.

    Args:
        head: changed in place; its batch normalisations become the identity.
        generator: on the CPU; the only source of chance.
    """
    for module in head.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            # each output of a stride-2 transposed convolution sees a quarter of its kernel
            fan = module.in_channels * (KERNEL**2 / 4 if isinstance(module, nn.ConvTranspose2d) else 1)
            deviation = LAST_DEVIATION if module is head.heat_maps else math.sqrt(2 / fan)
            with torch.no_grad():
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator, device="cpu") * deviation)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
