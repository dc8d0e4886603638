"""What each piece of the network costs, told from graphs that differ in one piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from aiop_core.capabilities import Piece
from aiop_core.graph.cost import Cost, cost
from aiop_core.graph.trace import trace
from aiop_task_torchvision.fixed_part import FixedPart
from aiop_task_torchvision.model import Features, Segmenter
from aiop_task_torchvision.options import Settings


class _Maps(nn.Module):
    """Body and pyramid alone."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Features:
        return self.model.features(images)


def pieces(model: Segmenter, part: str, settings: Settings, input_hw: tuple[int, int]) -> Mapping[str, Piece]:
    """The pieces of one part's graph by name; they add up to its cost."""
    shape, few = (3, *input_hw), len(model.heads.pyramid.strides)

    def whole(boxes: int, masks: int) -> Cost:
        return cost(trace(FixedPart(model, part, proposals=boxes, detections=masks), shape))

    body, maps, head = cost(trace(model.backbone, shape)), cost(trace(_Maps(model), shape)), whole(few, few)
    found = {
        "body": Piece(body.macs, body.params),
        "pyramid": Piece(maps.macs - body.macs, maps.params - body.params),
    }
    if part == "sem_seg":
        return found | {"semantic head": Piece(head.macs - maps.macs, head.params - maps.params)}
    roi: Any = model.heads.roi_heads
    found["box head"] = Piece(
        whole(few + 1, few).macs - head.macs, _params(roi.box_head, roi.box_predictor), settings.proposals
    )
    if part == "inst_seg":
        found["mask head"] = Piece(
            whole(few, few + 1).macs - head.macs, _params(roi.mask_head, roi.mask_predictor), settings.detections
        )
    windows = sum(few * found[name].macs for name in ("box head", "mask head") if name in found)
    found["proposal head"] = Piece(head.macs - maps.macs - windows, _params(model.heads.rpn.head))
    return found


def _params(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
