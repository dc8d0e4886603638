"""A backbone with torchvision's heads on one feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNN, MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.models.segmentation.fcn import FCNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.poolers import initLevelMapper

from aiop_core.contracts import Backbone, Level
from aiop_core.errors import ContractError
from aiop_task_torchvision.options import Settings

IGNORED = 255
"""The semantic class of pixels that nobody labelled."""

MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Of ImageNet's colours, by which torchvision's detectors normalise images."""

DIVISIBLE = 32
"""Images are padded to multiples of so many pixels, as torchvision does."""

ASPECTS = (0.5, 1.0, 2.0)

CANONICAL = 28
"""A window's level is that on which its side is so many strides for each stride of anchor scale, or the next finer.

Source: 224 pixels at stride 16 and anchor scale 8 in the pyramid's paper (Lin et al., CVPR 2017) and in torchvision,
which is 28 pixels at stride 16 for each.
"""

Features = dict[str, Tensor]
Target = dict[str, Tensor]


class Pyramid(nn.Module):
    """A body's levels as feature maps of one width, and one more, half as fine as the coarsest.

    Levels of equal stride are concatenated.

    Raises:
        ContractError: if a stride is not twice the one before.
    """

    def __init__(self, levels: Sequence[Level], channels: int) -> None:
        super().__init__()
        self.strides = tuple(dict.fromkeys(level.stride for level in levels))
        if any(coarse != 2 * fine for fine, coarse in zip(self.strides, self.strides[1:], strict=False)):
            raise ContractError(
                f"the backbone's levels have strides {', '.join(str(level.stride) for level in levels)}; "
                "a pyramid needs each to be equal to the one before or twice it: give such levels"
            )
        self._groups = [[i for i, level in enumerate(levels) if level.stride == stride] for stride in self.strides]
        widths = [sum(levels[i].channels for i in group) for group in self._groups]
        self.fpn = FeaturePyramidNetwork(widths, channels, LastLevelMaxPool())
        self.out_channels = channels

    @property
    def names(self) -> list[str]:
        """Of the maps, from the finest on, without the one more, which is ``pool``."""
        return [str(i) for i in range(len(self.strides))]

    def forward(self, features: Sequence[Tensor]) -> Features:
        """The maps by name, from the finest to the coarsest."""
        maps = {n: torch.cat([features[i] for i in g], 1) for n, g in zip(self.names, self._groups, strict=True)}
        made: Features = self.fpn(maps)
        return made


class SemanticHead(nn.Module):
    """All maps brought to the size of the finest and added, as in a semantic FPN, then torchvision's FCN head.

    Source: Kirillov et al., Panoptic Feature Pyramid Networks, CVPR 2019, section 3.1, without its
    convolutions between the scalings.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.fcn = FCNHead(channels, classes)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """A score for each class at each place of the finest map."""
        fused = features[0]
        for feature in features[1:]:
            fused = fused + functional.interpolate(feature, fused.shape[-2:], mode="bilinear", align_corners=False)
        scores: Tensor = self.fcn(fused)
        return scores


class Heads(nn.Module):
    """Everything behind the body.

    Args:
        levels: of the body.
        things: classes of objects, without the background.
        semantic: classes of pixels.
        settings: which parts there are, and how wide.
    """

    def __init__(self, levels: Sequence[Level], things: int, semantic: int, settings: Settings) -> None:
        super().__init__()
        s = settings
        self.pyramid = Pyramid(levels, s.channels)
        self.transform = GeneralizedRCNNTransform(s.min_size, s.max_size, MEAN, DEVIATION, DIVISIBLE)
        self.semantic = SemanticHead(s.channels, semantic) if s.semantic else None
        self.rpn: Any = None
        self.roi_heads: Any = None
        if s.boxed:
            detector = _detector(self.pyramid, things + 1, s)
            self.rpn, self.roi_heads = detector.rpn, detector.roi_heads


def _detector(pyramid: Pyramid, classes: int, s: Settings) -> FasterRCNN:
    """torchvision's, with or without masks, for this pyramid; the background is one of the classes."""
    sizes = tuple((int(s.anchor_scale * stride),) for stride in (*pyramid.strides, 2 * pyramid.strides[-1]))
    width = pyramid.out_channels
    common = {
        "rpn_anchor_generator": AnchorGenerator(sizes, (ASPECTS,) * len(sizes)),
        "rpn_pre_nms_top_n_train": s.train_proposals,
        "rpn_pre_nms_top_n_test": s.proposals,
        "rpn_post_nms_top_n_train": s.train_proposals,
        "rpn_post_nms_top_n_test": s.proposals,
        "rpn_batch_size_per_image": s.sampled_anchors,
        "box_roi_pool": _windows(pyramid, 7, s),
        "box_head": TwoMLPHead(width * 7 * 7, s.box_width),
        "box_predictor": FastRCNNPredictor(s.box_width, classes),
        "box_batch_size_per_image": s.sampled_boxes,
        "box_detections_per_img": s.detections,
    }
    if "inst_seg" not in s.parts:
        return FasterRCNN(pyramid, **common)
    return MaskRCNN(
        pyramid,
        mask_roi_pool=_windows(pyramid, 14, s),
        mask_head=MaskRCNNHeads(width, (s.mask_width,) * s.mask_depth, 1),
        mask_predictor=MaskRCNNPredictor(s.mask_width, s.mask_width, classes),
        **common,
    )


def _windows(pyramid: Pyramid, size: int, s: Settings) -> MultiScaleRoIAlign:
    """Reads windows of ``size`` × ``size`` from the maps."""
    pool = MultiScaleRoIAlign(pyramid.names, size, sampling_ratio=2)
    # left to itself it takes strides from the first images that it sees, and misjudges them if these are small
    pool.scales = [1 / stride for stride in pyramid.strides]
    finest, coarsest = (stride.bit_length() - 1 for stride in (pyramid.strides[0], pyramid.strides[-1]))
    pool.map_levels = initLevelMapper(finest, coarsest, canonical_scale=CANONICAL * s.anchor_scale)
    return pool


class Segmenter(nn.Module):
    """A body with its heads: images and targets to losses in training, images to what is found otherwise."""

    def __init__(self, backbone: nn.Module, heads: Heads) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = heads

    @property
    def body(self) -> Backbone:
        """The body by its contract."""
        body: Any = self.backbone
        return cast(Backbone, body)

    def features(self, images: Tensor) -> Features:
        """The pyramid's maps of a batch of normalised images."""
        maps: Features = self.heads.pyramid(self.backbone(images))
        return maps

    def forward(self, images: list[Tensor], targets: list[Target] | None = None) -> Any:
        """Losses by name, or a dictionary of findings for each image.

        Args:
            images: RGB in [0, 1], of any size each.
            targets: in training ``boxes`` (corners, pixels), ``labels`` from 1, ``masks`` and ``semantic``.
        """
        heads = self.heads
        batch, scaled = heads.transform(images, targets if heads.rpn is not None else None)
        features = self.features(batch.tensors.contiguous(memory_format=torch.channels_last))
        losses: dict[str, Tensor] = {}
        found: list[dict[str, Tensor]] = [{} for _ in images]
        if heads.rpn is not None:
            proposals, proposal_losses = heads.rpn(batch, features, scaled)
            detections, box_losses = heads.roi_heads(features, proposals, batch.image_sizes, scaled)
            losses |= proposal_losses | box_losses
            if not self.training:
                found = heads.transform.postprocess(
                    detections, batch.image_sizes, [tuple(i.shape[-2:]) for i in images]
                )
        if heads.semantic is not None:
            scores = heads.semantic([features[name] for name in heads.pyramid.names])
            scores = functional.interpolate(scores, batch.tensors.shape[-2:], mode="bilinear", align_corners=False)
            if self.training:
                losses["loss_semantic"] = _semantic_loss(scores, batch, targets or [])
            else:
                for one, score, (h, w), image in zip(found, scores, batch.image_sizes, images, strict=True):
                    inside = score[None, :, :h, :w]  # the rest is padding
                    inside = functional.interpolate(inside, image.shape[-2:], mode="bilinear", align_corners=False)
                    one["semantic"] = inside[0].argmax(0)
        return losses if self.training else found


def _semantic_loss(scores: Tensor, batch: ImageList, targets: list[Target]) -> Tensor:
    """Cross-entropy over the labelled pixels; nothing if there are none."""
    truth = torch.full((len(targets), *scores.shape[-2:]), IGNORED, device=scores.device)
    for plane, target, (h, w) in zip(truth, targets, batch.image_sizes, strict=True):
        plane[:h, :w] = functional.interpolate(target["semantic"][None, None].float(), (h, w), mode="nearest")[
            0, 0
        ].long()
    total = functional.cross_entropy(scores, truth, ignore_index=IGNORED, reduction="sum")
    return total / (truth != IGNORED).sum().clamp(min=1)
