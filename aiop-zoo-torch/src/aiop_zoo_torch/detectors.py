"""The part of torchvision's detectors whose tensors have fixed shapes, which is all that costs.

Left out are resizing of the images, anchors, decoding of boxes, and suppression of
overlaps. A two-stage detector's second stage runs on as many boxes as its settings allow,
shared out evenly over the levels of its pyramid; which level a box really comes from
depends on the image, and changes no cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.ops import roi_align


def fixed_part(detector: nn.Module) -> nn.Module:
    """Backbone and heads of a detector as a module that maps images to raw tensors."""
    return TwoStage(detector) if isinstance(detector, GeneralizedRCNN) else OneStage(detector)


class OneStage(nn.Module):
    """RetinaNet, FCOS, SSD: backbone, and heads on every level."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.head

    def forward(self, images: Tensor) -> Any:
        """Class scores and box offsets of every anchor."""
        features = self.backbone(images)
        return self.head(list(features.values()) if isinstance(features, Mapping) else [features])


class TwoStage(nn.Module):
    """Faster, Mask and Keypoint R-CNN: backbone, proposals, and heads on windows of the feature maps."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.backbone, self.proposals, self.roi = detector.backbone, detector.rpn.head, detector.roi_heads
        detector.eval()  # in training there are more boxes
        self.boxes: int = detector.rpn.post_nms_top_n()
        self.detections: int = detector.roi_heads.detections_per_img

    def forward(self, images: Tensor) -> list[Any]:
        """Objectness and offsets of every anchor, then what each head says of its windows."""
        features = self.backbone(images)
        if isinstance(features, Tensor):
            features = {"0": features}
        roi = self.roi
        found = [self.proposals(list(features.values()))]
        found.append(roi.box_predictor(roi.box_head(_windows(roi.box_roi_pool, features, self.boxes, images))))
        for part in ("mask", "keypoint"):
            if getattr(roi, f"has_{part}")():
                pool, head, predictor = (getattr(roi, f"{part}_{name}") for name in ("roi_pool", "head", "predictor"))
                found.append(predictor(head(_windows(pool, features, self.detections, images))))
        return found


def _windows(pool: Any, features: Mapping[str, Tensor], count: int, images: Tensor) -> Tensor:
    """``count`` windows, an equal share from each level that ``pool`` reads."""
    levels = [features[name] for name in pool.featmap_names if name in features]
    shares = [count // len(levels) + (i < count % len(levels)) for i in range(len(levels))]
    taken = [
        roi_align(
            level,
            torch.zeros(share, 5, device=images.device),
            pool.output_size,
            level.shape[-1] / images.shape[-1],
            pool.sampling_ratio,
        )
        for level, share in zip(levels, shares, strict=True)
    ]
    return torch.cat(taken)
