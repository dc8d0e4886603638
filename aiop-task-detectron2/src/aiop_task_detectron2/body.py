"""A backbone of aiop with its feature pyramid, as detectron2's kind of backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone as Detectron2Backbone
from torch import Tensor, nn

from aiop_core.contracts import Backbone, Level
from aiop_core.errors import ContractError, OptionError
from aiop_core.sharing.freezing import thaw
from aiop_task_detectron2.pyramid import CHANNELS, FeaturePyramidDetectron

FREEZE = 2
"""Levels whose weights stay as they are (paper)."""

COARSEST = 64
"""Stride of ``p6``, the last feature map that the RPN reads (paper)."""


class PyramidBody(Detectron2Backbone):  # type: ignore[misc] # detectron2 is untyped
    """Body and pyramid: images to feature maps by name.

    Args:
        body: any backbone of aiop.
        freeze: levels of it whose weights do not learn, see :func:`freeze_levels`; ``None``
            is the paper's number, or as many as there are.
        channels: of each feature map; ``None`` is the paper's number.
        widths: channels that the body's levels are zero-padded to; empty for none.
        rpn: whether an RPN reads the maps, so that one more is needed.

    Raises:
        ContractError: if the body is not a module.
        OptionError: if it has fewer levels than are to be frozen, or no pyramid can be built on them.
    """

    def __init__(
        self,
        body: Backbone,
        *,
        freeze: int | None = None,
        channels: int | None = None,
        widths: Sequence[int] = (),
        rpn: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(body, nn.Module):
            raise ContractError(f"the backbone is a {type(body).__name__}; a task needs a torch.nn.Module")
        levels = tuple(body.levels)
        self.pyramid = FeaturePyramidDetectron(
            levels, channels=channels or CHANNELS, downsamples=downsamples_for(levels, rpn=rpn), widths=widths
        )
        freeze_levels(body, levels, min(FREEZE, len(levels)) if freeze is None else freeze)
        self.body = body

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Feature maps of normalised images (batch, 3, H, W), finest first."""
        maps: dict[str, Tensor] = self.pyramid(self.body(images))
        return maps

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each feature map."""
        return {
            name: ShapeSpec(channels=self.pyramid.channels, stride=stride)
            for name, stride in self.pyramid.strides.items()
        }

    @property
    def size_divisibility(self) -> int:
        """Of the images' height and width, so that all feature maps but the last are exact multiples of each other."""
        body, maps = self.pyramid.pad.levels[-1].stride, list(self.pyramid.strides.values())
        return max(body, *maps[:-1])


def downsamples_for(levels: Sequence[Level], *, rpn: bool) -> int:
    """Feature maps beyond the body's coarsest level, so that there is ``p6``, or ``p5`` if there is no RPN.

    For a body of stride 32 it is one, as in the paper.
    """
    coarsest = COARSEST if rpn else COARSEST // 2
    stride, count = levels[-1].stride if levels else coarsest, 0
    while stride << count < coarsest:
        count += 1
    return count


def freeze_levels(body: nn.Module, levels: Sequence[Level], freeze: int) -> None:
    """Let a body's parameters learn, but for those that its first ``freeze`` levels are made with.

    Only weights are frozen: in training batch-norms still use and move their statistics, as
    in the paper's code. Where that code freezes the stem alone (``freeze=1``), here is the
    first level; 2, its default, means the same in both.

    Raises:
        OptionError: if there are fewer levels.
    """
    if not 0 <= freeze <= len(levels):
        raise OptionError(f"freeze is {freeze}, but the backbone has {len(levels)} levels; give 0 to {len(levels)}")
    device = next((p.device for p in body.parameters()), torch.device("cpu"))
    stride = levels[-1].stride
    training = body.training
    with torch.enable_grad():
        thaw(body, freeze, torch.zeros(1, 3, 2 * stride, 2 * stride, device=device))
    body.train(training)
