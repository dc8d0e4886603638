"""What of the network is the same for every image, as a module that maps images to raw tensors: that is its graph.

Left out are scaling of the images, anchors, decoding of boxes, and suppression of overlaps. The box head runs on
``proposals`` windows and the mask head on ``detections``, shared out evenly over the levels of the pyramid; which
level a window really comes from depends on the image, and changes no cost.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import roi_align

from aiop_task_torchvision.model import Features, Segmenter


class FixedPart(nn.Module):
    """Body, pyramid and the heads that one metric needs.

    Args:
        model: the whole network.
        part: ``obj_det``, ``inst_seg`` or ``sem_seg``.
        proposals: windows that the box head sees.
        detections: windows that the mask head sees.
    """

    def __init__(self, model: Segmenter, part: str, *, proposals: int, detections: int) -> None:
        super().__init__()
        self.model, self.part = model, part
        self.proposals, self.detections = proposals, detections

    def forward(self, images: Tensor) -> list[Any]:
        """Scores of every pixel; or objectness and offsets of every anchor, then what each head says of its windows."""
        heads: Any = self.model.heads
        features = self.model.features(images)
        if self.part == "sem_seg":
            scores = heads.semantic([features[name] for name in heads.pyramid.names])
            return [functional.interpolate(scores, images.shape[-2:], mode="bilinear", align_corners=False)]
        roi = heads.roi_heads
        found = [heads.rpn.head(list(features.values()))]
        found.append(roi.box_predictor(roi.box_head(_windows(roi.box_roi_pool, features, self.proposals))))
        if self.part == "inst_seg":
            found.append(roi.mask_predictor(roi.mask_head(_windows(roi.mask_roi_pool, features, self.detections))))
        return found


def _windows(pool: Any, features: Features, count: int) -> Tensor:
    """``count`` windows, an equal share from each map that ``pool`` reads."""
    maps = [features[name] for name in pool.featmap_names]
    shares = [count // len(maps) + (i < count % len(maps)) for i in range(len(maps))]
    taken = [
        roi_align(one, one.new_zeros(share, 5), pool.output_size, scale, pool.sampling_ratio)
        for one, share, scale in zip(maps, shares, pool.scales, strict=True)
    ]
    return torch.cat(taken)
