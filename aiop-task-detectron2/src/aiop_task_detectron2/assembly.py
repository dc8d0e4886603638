"""Body, pyramid and detectron2's heads put together, from a config and a backbone of aiop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import (
    GeneralizedRCNN,
    PanopticFPN,
    SemanticSegmentor,
    build_proposal_generator,
    build_roi_heads,
    build_sem_seg_head,
)
from torch import Tensor, nn

from aiop_core.contracts import Backbone
from aiop_core.errors import OptionError
from aiop_core.sharing.chance import own_randomness
from aiop_task_detectron2.body import PyramidBody
from aiop_task_detectron2.config import require_known_heads
from aiop_task_detectron2.fixed_part import FixedPart, heads_of
from aiop_task_detectron2.pyramid import draw_weights
from aiop_task_detectron2.registration import register


class DetectionModel(nn.Module):
    """A detector of detectron2's, and what of it can run on tensors.

    Attributes:
        detector: detectron2's model: a list of dicts to losses, or to what was found.
        cfg: that it was built from.
        heads: what it has, of those in :data:`~aiop_task_detectron2.fixed_part.HEADS`.
        box_proposals: windows that the box head reads of each image in ``forward``.
        mask_proposals: windows that the mask head reads there.
    """

    def __init__(
        self, detector: Any, cfg: CfgNode, heads: Sequence[str], *, box_proposals: int, mask_proposals: int
    ) -> None:
        super().__init__()
        self.detector: Any = detector
        self.cfg = cfg
        self.heads = tuple(heads)
        self.box_proposals, self.mask_proposals = box_proposals, mask_proposals

    def forward(self, images: Tensor) -> list[Tensor]:
        """What all heads say of normalised images (batch, 3, H, W); see :class:`FixedPart`."""
        found: list[Tensor] = self.fixed_part(self.heads)(images)
        return found

    def fixed_part(
        self,
        heads: Sequence[str],
        *,
        read: Sequence[str] = (),
        box_proposals: int | None = None,
        mask_proposals: int | None = None,
    ) -> FixedPart:
        """Body, pyramid and some of the heads, on this model's numbers of windows or others; its modules are shared."""
        return FixedPart(
            self.detector,
            heads,
            box_proposals=box_proposals or self.box_proposals,
            mask_proposals=mask_proposals or self.mask_proposals,
            read=read,
        )


def assemble(
    cfg: CfgNode,
    backbone: Backbone,
    *,
    parts: Sequence[str],
    freeze: int | None = None,
    channels: int | None = None,
    widths: Sequence[int] = (),
    box_proposals: int | None = None,
    mask_proposals: int | None = None,
    seed: int = 0,
) -> DetectionModel:
    """A detector for some parts of the task: Faster or Mask R-CNN, semantic FPN or PanopticFPN.

    The parts decide which one, in place of ``MODEL.META_ARCHITECTURE`` and ``MODEL.MASK_ON``,
    and ``MODEL.BACKBONE`` is not read.

    Args:
        cfg: of detectron2, with the data's numbers of classes; is not changed.
        backbone: any of aiop.
        parts: keys of :data:`~aiop_task_detectron2.fixed_part.HEADS`.
        freeze: levels of the backbone whose weights do not learn; ``None`` is the paper's 2.
        channels: of the pyramid's feature maps; ``None`` is the paper's 256.
        widths: channels that the backbone's levels are zero-padded to; empty for none.
        box_proposals: windows that the box head reads in graphs; ``None`` is ``MODEL.RPN.POST_NMS_TOPK_TEST``.
        mask_proposals: windows that the mask head reads in graphs; ``None`` is ``TEST.DETECTIONS_PER_IMAGE``.
        seed: of the first weights; torch's global generator stays as it was.

    Raises:
        ContractError: if the backbone is not a module.
        OptionError: if the config's heads cannot be built on the backbone's levels.
    """
    register()
    cfg = cfg.clone()
    cfg.defrost()
    heads = heads_of(parts)
    cfg.MODEL.MASK_ON = "mask" in heads
    body = PyramidBody(backbone, freeze=freeze, channels=channels, widths=widths, rpn="rpn" in heads)
    draw_weights(body.pyramid, torch.Generator().manual_seed(seed))
    return DetectionModel(
        _detector(cfg, body, heads, seed),
        cfg,
        heads,
        box_proposals=box_proposals or cfg.MODEL.RPN.POST_NMS_TOPK_TEST,
        mask_proposals=mask_proposals or cfg.TEST.DETECTIONS_PER_IMAGE,
    )


def redraw(model: DetectionModel, seed: int) -> None:
    """Draw the weights of pyramid and heads anew, as ``assemble`` with that ``seed`` would."""
    body: PyramidBody = model.detector.backbone
    draw_weights(body.pyramid, torch.Generator().manual_seed(seed))
    fresh = _detector(model.cfg, body, model.heads, seed)
    for name, module in model.detector.named_children():
        if module is not body:
            module.load_state_dict(fresh.get_submodule(name).state_dict())


def _detector(cfg: CfgNode, body: PyramidBody, heads: Sequence[str], seed: int) -> Any:
    _require_buildable(cfg, body, heads)
    shapes = body.output_shape()
    given: dict[str, Any] = {"backbone": body, "pixel_mean": cfg.MODEL.PIXEL_MEAN, "pixel_std": cfg.MODEL.PIXEL_STD}
    combine = cfg.MODEL.PANOPTIC_FPN.COMBINE
    try:
        with own_randomness(seed, "cpu"):  # detectron2 draws its weights from torch's global generator
            if "semantic" in heads:
                given["sem_seg_head"] = build_sem_seg_head(cfg, shapes)
            if "rpn" not in heads:
                return SemanticSegmentor(**given)
            given |= {
                "proposal_generator": build_proposal_generator(cfg, shapes),
                "roi_heads": build_roi_heads(cfg, shapes),
                "input_format": cfg.INPUT.FORMAT,
                "vis_period": cfg.VIS_PERIOD,
            }
            if "semantic" not in heads:
                return GeneralizedRCNN(**given)
            return PanopticFPN(
                **given,
                combine_overlap_thresh=combine.OVERLAP_THRESH,
                combine_stuff_area_thresh=combine.STUFF_AREA_LIMIT,
                combine_instances_score_thresh=combine.INSTANCES_CONFIDENCE_THRESH,
            )
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise OptionError(
            f"detectron2 cannot build the heads that its config asks for: {reason}; change MODEL there"
        ) from error


def _require_buildable(cfg: CfgNode, body: PyramidBody, heads: Sequence[str]) -> None:
    """Make sure that the heads are of the kinds that can be counted here, and read what there is.

    Raises:
        OptionError: naming the key of the config.
    """
    model, shapes = cfg.MODEL, body.output_shape()
    if "rpn" in heads:
        require_known_heads(cfg)
    read = {"RPN": model.RPN.IN_FEATURES, "ROI_HEADS": model.ROI_HEADS.IN_FEATURES} if "rpn" in heads else {}
    if "semantic" in heads:
        read["SEM_SEG_HEAD"] = model.SEM_SEG_HEAD.IN_FEATURES
    for key, names in read.items():
        missing = [name for name in names if name not in shapes]
        if missing or not names:
            raise OptionError(
                f"MODEL.{key}.IN_FEATURES names {missing[0] if missing else 'nothing'}, but this backbone's pyramid "
                f"has {', '.join(shapes)}; name some of these"
            )
    strides = [shapes[name].stride for name in read.get("SEM_SEG_HEAD", ())]
    if strides and min(strides) < model.SEM_SEG_HEAD.COMMON_STRIDE:
        raise OptionError(
            f"MODEL.SEM_SEG_HEAD.COMMON_STRIDE is {model.SEM_SEG_HEAD.COMMON_STRIDE}, coarser than the stride "
            f"{min(strides)} that the head reads; give {min(strides)} or less, or read coarser IN_FEATURES"
        )
