"""The paper's feature pyramids: transposed convolutions upwards, with skip connections of equal resolution.

From the coarsest level each 4 × 4 transposed convolution of stride 2 doubles the
resolution, and what the body gives at that resolution is added through a 1 × 1
convolution; 3 × 3 convolutions of stride 2 go on downwards. There is no normalisation and
no activation. Nothing here needs detectron2.

Source: AIO-P's published code, ``model_src/multitask/fpn_adapter_{base,detectron}.py``.
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

CHANNELS = 256
"""Width of every feature map (paper)."""

FINEST = 4
"""Stride of the finest feature map (paper)."""

DOWNSAMPLES = 1
"""Feature maps beyond the body's coarsest level (paper)."""


class FeaturePyramidAdapterBase(nn.Module):
    """A pyramid of equally wide feature maps over a backbone's levels.

    Levels of equal stride are concatenated, the coarser first; levels finer than
    a stride of 4 are not used, and where the backbone has none nothing is added. Weights
    start as torch's layers do, biases at zero.

    Args:
        levels: what the backbone gives, finest first.
        channels: of every feature map.
        downsamples: feature maps beyond the coarsest level.
        widths: channels that the levels are zero-padded to, so that one pyramid fits
            bodies of varying widths; empty for none.

    Attributes:
        channels: of every feature map.
        strides: of each feature map by its name, finest first; ``p4`` has a stride of 2⁴.

    Raises:
        ContractError: if there are no levels.
        OptionError: if a stride is not a power of two or no level is coarse enough, or
            ``widths`` do not cover the levels.
    """

    slope = math.sqrt(5)
    """Of He's initialisation: what torch's layers use."""

    def __init__(
        self,
        levels: Sequence[Level],
        *,
        channels: int = CHANNELS,
        downsamples: int = DOWNSAMPLES,
        widths: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.pad = ChannelPadding(levels, widths)
        levels = self.pad.levels
        coarsest = levels[-1]
        _require_reachable([level.stride for level in levels])
        doublings = round(math.log2(coarsest.stride / FINEST))
        self.channels = channels
        self.strides = {
            f"p{round(math.log2(stride))}": stride
            for stride in (FINEST << step for step in range(doublings + downsamples + 1))
        }
        self._joined = [
            [i for i in reversed(range(len(levels))) if levels[i].stride == coarsest.stride >> step]
            for step in range(doublings + 1)
        ]
        joined_channels = [sum(levels[i].channels for i in joined) for joined in self._joined]
        with torch.random.fork_rng(devices=[]):  # torch draws weights that draw_weights replaces
            self.coarsest = nn.Conv2d(joined_channels[0], channels, kernel_size=1)
            self.laterals = nn.ModuleList(
                nn.Conv2d(joined, channels, kernel_size=1) if joined else nn.Identity()
                for joined in joined_channels[1:]
            )
            self.upsamples = nn.ModuleList(
                nn.ConvTranspose2d(channels, channels, kernel_size=4, stride=2, padding=1, bias=False)
                for _ in range(doublings)
            )
            self.downsamples = nn.ModuleList(
                nn.Conv2d(channels, channels, kernel_size=3, stride=2, padding=1) for _ in range(downsamples)
            )
        draw_weights(self, torch.Generator().manual_seed(0))

    def forward(self, features: Sequence[Tensor]) -> dict[str, Float[Tensor, "batch channels _h _w"]]:
        """Feature maps by name, finest first, from the backbone's ``features``."""
        features = self.pad(features)
        together = [[features[i] for i in joined] for joined in self._joined]
        maps = [self.coarsest(_concatenated(together[0]))]
        for upsample, lateral, same in zip(self.upsamples, self.laterals, together[1:], strict=True):
            finer = upsample(maps[0])
            maps.insert(0, finer + lateral(_concatenated(same)) if same else finer)
        for downsample in self.downsamples:
            maps.append(downsample(maps[-1]))
        return dict(zip(self.strides, maps, strict=True))


def _concatenated(features: list[Tensor]) -> Tensor:
    return features[0] if len(features) == 1 else torch.cat(features, dim=1)


class FeaturePyramidDetectron(FeaturePyramidAdapterBase):
    """The pyramid of detection and segmentation: it starts as detectron2's own does, by Caffe2's XavierFill."""

    slope = 1.0


def draw_weights(pyramid: FeaturePyramidAdapterBase, generator: torch.Generator) -> None:
    """Draw a pyramid's weights anew: uniform by fan-in, no bias.

    Args:
        pyramid: changed in place.
        generator: on the CPU; the only source of chance.
    """
    for layer in pyramid.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            weight = torch.empty(layer.weight.shape, device="cpu")
            nn.init.kaiming_uniform_(weight, a=pyramid.slope, generator=generator)
            with torch.no_grad():
                layer.weight.copy_(weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _require_reachable(strides: Sequence[int]) -> None:
    """Make sure that doubling leads from the coarsest level to the finest map.

    Raises:
        OptionError: naming the strides.
    """
    have = ", ".join(map(str, strides))
    odd = [stride for stride in strides if stride < 1 or stride & (stride - 1)]
    if odd:
        raise OptionError(
            f"a feature pyramid doubles, but stride {odd[0]} of the backbone's levels ({have}) is no power of two; "
            "use a backbone whose strides are"
        )
    if strides[-1] < FINEST:
        raise OptionError(
            f"the backbone's coarsest level has stride {strides[-1]} (of {have}), finer than the pyramid's finest, "
            f"{FINEST}; use a backbone with a level of stride {FINEST} or coarser"
        )
