"""The part of a detector whose tensors have fixed shapes, which is all that costs, and its graphs.

They are the real modules. Left out are anchors, decoding of boxes, suppression of overlaps,
and pasting of masks. The box and mask heads read a stated number of windows, shared out
evenly over the feature maps that they pool from; which one a window really comes from
depends on the image, and changes no cost.

What each metric's graph holds beside body and pyramid:

- ``obj_det``: RPN and box head;
- ``inst_seg``: the same and the mask head, as Mask R-CNN finds masks in boxes (the research
  code leaves the box head out of its FLOPs);
- ``sem_seg``: the semantic head alone, without a feature map that only the RPN reads;
- ``pan_seg``: all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from aiop_core.errors import OptionError
from aiop_core.graph.trace import trace

if TYPE_CHECKING:
    from aiop_core.graph.model import Graph
    from aiop_task_detectron2.assembly import DetectionModel

HEADS: Mapping[str, tuple[str, ...]] = {
    "obj_det": ("rpn", "box"),
    "inst_seg": ("rpn", "box", "mask"),
    "sem_seg": ("semantic",),
    "pan_seg": ("rpn", "box", "mask", "semantic"),
}
"""What each part of the task needs, in the order in which it runs."""


def heads_of(parts: Sequence[str]) -> tuple[str, ...]:
    """What several parts of the task need together.

    Things and semantic classes together bring masks, too: detectron2 always combines them.

    Raises:
        OptionError: if there are no parts.
    """
    needed = {head for part in parts for head in HEADS[part]}
    if not needed:
        raise OptionError(f"no part of the task is asked for; give some of {', '.join(HEADS)}")
    return HEADS["pan_seg"] if needed >= {"rpn", "semantic"} else tuple(h for h in HEADS["pan_seg"] if h in needed)


class FixedPart(nn.Module):
    """Body, pyramid and heads of a detector as a module that maps normalised images to raw tensors.

    Args:
        detector: detectron2's model; its modules are used, not copied.
        heads: which, of those that it has.
        box_proposals: windows that the box head reads of an image.
        mask_proposals: windows that the mask head reads of an image.
        read: heads whose feature maps are results, too: to see what the maps alone cost.
    """

    def __init__(
        self, detector: Any, heads: Sequence[str], *, box_proposals: int, mask_proposals: int, read: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.backbone = detector.backbone
        shown = {name for head in read for name in features_of(detector, head)}
        self._shown = [name for name in self.backbone.output_shape() if name in shown]
        self.heads = nn.ModuleList(_head(detector, head, (box_proposals, mask_proposals)) for head in heads)

    def forward(self, images: Tensor) -> list[Tensor]:
        """What each head says: of every anchor, of every window, of every pixel."""
        maps: dict[str, Tensor] = self.backbone(images)
        found = [maps[name] for name in self._shown]
        for head in self.heads:
            found += head(maps)
        return found


def _head(detector: Any, head: str, windows: tuple[int, int]) -> nn.Module:
    names = features_of(detector, head)
    if head == "rpn":
        return Rpn(detector.proposal_generator.rpn_head, names)
    if head == "semantic":
        return SemanticHead(detector.sem_seg_head)
    roi = detector.roi_heads
    if head == "box":
        return BoxHead(roi.box_head, roi.box_predictor, Windows(roi.box_pooler, names, windows[0]))
    return MaskHead(roi.mask_head, Windows(roi.mask_pooler, names, windows[1]))


class Rpn(nn.Module):
    """Objectness and offsets of every anchor."""

    def __init__(self, head: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.head, self._names = head, names

    def forward(self, maps: Mapping[str, Tensor]) -> list[Tensor]:
        """Of each feature map, the objectness first."""
        scores, offsets = self.head([maps[name] for name in self._names])
        return [*scores, *offsets]


class BoxHead(nn.Module):
    """Classes and offsets of every window."""

    def __init__(self, head: nn.Module, predictor: nn.Module, windows: Windows) -> None:
        super().__init__()
        self.head, self.predictor, self._windows = head, predictor, windows

    def forward(self, maps: Mapping[str, Tensor]) -> list[Tensor]:
        """Scores and offsets."""
        return list(self.predictor(self.head(self._windows.take(maps))))


class MaskHead(nn.Module):
    """A mask for each class of every window."""

    def __init__(self, head: Any, windows: Windows) -> None:
        super().__init__()
        self.head, self._windows = head, windows

    def forward(self, maps: Mapping[str, Tensor]) -> list[Tensor]:
        """Logits."""
        return [self.head.layers(self._windows.take(maps))]


class SemanticHead(nn.Module):
    """Classes of every pixel."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: Mapping[str, Tensor]) -> list[Tensor]:
        """Logits at the image's size."""
        small = self.head.layers(maps)
        return [nn.functional.interpolate(small, scale_factor=self.head.common_stride, mode="bilinear")]


@dataclass(frozen=True)
class Windows:
    """A number of windows of every image, an equal share from each feature map that a pooler reads."""

    pooler: Any
    names: Sequence[str]
    count: int

    def take(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Pooled features (windows, channels, height, width)."""
        levels = [maps[name] for name in self.names]
        shares = [self.count // len(levels) + (i < self.count % len(levels)) for i in range(len(levels))]
        poolers = self.pooler.level_poolers
        taken = [_window(*each) for each in zip(levels, poolers, shares, strict=True) if each[2]]
        return taken[0] if len(taken) == 1 else torch.cat(taken)


def features_of(detector: Any, head: str) -> tuple[str, ...]:
    """Names of the feature maps that a head reads."""
    if head == "rpn":
        return tuple(detector.proposal_generator.in_features)
    if head == "semantic":
        return tuple(detector.sem_seg_head.in_features)
    return tuple(detector.roi_heads.box_in_features if head == "box" else detector.roi_heads.mask_in_features)


def _window(level: Tensor, align: Any, share: int) -> Tensor:
    """``share`` times the window at the origin that has one pixel of ``level`` in each of its bins."""
    height, width = align.output_size
    images = torch.arange(level.shape[0], device=level.device, dtype=level.dtype).repeat_interleave(share)
    corner = torch.tensor([0.0, 0.0, width, height], device=level.device, dtype=level.dtype) / align.spatial_scale
    boxes = torch.cat([images[:, None], corner.expand(len(images), 4)], dim=1)
    windows: Tensor = roi_align(
        level, boxes, align.output_size, align.spatial_scale, align.sampling_ratio, aligned=align.aligned
    )
    return windows


def graphs(model: DetectionModel, input_hw: tuple[int, int]) -> dict[str, Graph]:
    """For each part of the task that the model's heads suffice for, its graph.

    Raises:
        OptionError: if feature maps of that size would not be exact multiples of each other.
    """
    require_multiple(model, input_hw)
    parts = [part for part, heads in HEADS.items() if set(heads) <= set(model.heads)]
    return {part: trace(model.fixed_part(HEADS[part]), (3, *input_hw)) for part in parts}


def require_multiple(model: DetectionModel, input_hw: tuple[int, int]) -> None:
    """Make sure that the pyramid can add its feature maps at that size.

    Raises:
        OptionError: naming the next sizes.
    """
    stride = model.detector.backbone.size_divisibility
    for size in input_hw:
        if size % stride:
            below = size // stride * stride
            raise OptionError(
                f"input size {size} is not a multiple of {stride}, which the feature pyramid needs; "
                f"give {f'{below} or ' if below else ''}{below + stride}"
            )
