"""What a finding is worth: perfect ones 1, none 0, and mIoU by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from aiop_core.errors import LabelError
from aiop_task_torchvision.data import View
from aiop_task_torchvision.evaluation import mean_iou, measure
from aiop_task_torchvision.options import PARTS


class Oracle(nn.Module):
    """Finds what is annotated in the images that it is shown in their order."""

    def __init__(self, images, *, spoil=lambda found: found):
        super().__init__()
        self.found = iter([spoil(images[View(index)][1]) for index in range(len(images))])

    def forward(self, images):
        return [self.answer(next(self.found)) for _ in images]

    @staticmethod
    def answer(target):
        answer = dict(target)
        if "boxes" in target:
            answer["scores"] = torch.ones(len(target["boxes"]))
        if "masks" in target:
            answer["masks"] = target["masks"][:, None].float()
        if "semantic" in target:
            answer["semantic"] = torch.where(target["semantic"] == 255, 0, target["semantic"]).long()
        return answer


def measured(task, **changes):
    images = task.images[1]
    return measure(Oracle(images, **changes), images, task.settings, device="cpu")


def test_what_is_annotated_is_worth_one(make_task, capsys):
    values, details = measured(make_task())
    assert values == pytest.approx(dict.fromkeys(("obj_det_AP", "inst_seg_AP", "sem_seg_mIoU"), 1.0), abs=1e-6)
    assert details["obj_det AP50"] == pytest.approx(1)
    assert {f"sem_seg IoU {name}" for name in ("things", "sky", "ground")} <= set(details)
    assert any(name.startswith("inst_seg AP ") for name in details)
    assert all(0 <= value <= 1 for value in details.values())
    assert capsys.readouterr().out == ""


def test_nothing_found_is_worth_nothing(make_task):
    def nothing(target):
        return target | {name: target[name][:0] for name in ("boxes", "labels", "masks")}

    values, _ = measured(make_task(), spoil=nothing)
    assert values["obj_det_AP"] == values["inst_seg_AP"] == 0


def test_shifted_boxes_are_worth_less_and_masks_as_much(make_task):
    """Boxes moved by a third overlap by a half at most; masks stay where they are."""

    def shifted(target):
        width = target["boxes"][:, 2:3] - target["boxes"][:, :1]
        return target | {"boxes": target["boxes"] + width / 3 * torch.tensor([1, 0, 1, 0])}

    values, details = measured(make_task(), spoil=shifted)
    assert values["obj_det_AP"] < 0.2
    assert details["obj_det AP75"] == 0
    assert values["inst_seg_AP"] == pytest.approx(1)


def test_wrong_classes_are_worth_nothing(make_task):
    values, _ = measured(make_task(), spoil=lambda target: target | {"labels": target["labels"] % 4 + 1})
    assert values["obj_det_AP"] < 0.2


def test_only_the_parts_are_measured(make_task):
    for part in PARTS:
        task = make_task(parts=(part,))
        values, details = measured(task)
        assert [*values] == [metric.name for metric in task.metrics]
        assert all(name.startswith(part) for name in details)


def test_mean_iou_is_over_the_classes_that_are_present():
    confusion = np.array([[6, 2, 0], [1, 3, 1], [0, 0, 0]])
    value, details = mean_iou(confusion, ("things", "sky", "water"))
    assert details == {"IoU things": pytest.approx(6 / 9), "IoU sky": pytest.approx(3 / 7)}
    assert value == pytest.approx((6 / 9 + 3 / 7) / 2)


def test_nothing_to_measure_by_is_an_error_not_a_zero(coco_folder, coco_task, tiny_backbone):
    with pytest.raises(LabelError, match="no pixel has a semantic class, so mIoU is not defined"):
        mean_iou(np.zeros((2, 2), dtype=int), ("things", "sky"))
    file = coco_folder / "coco" / "annotations" / "instances_val2017.json"
    text = file.read_text().replace('"iscrowd":0', '"iscrowd":1').replace('"iscrowd": 0', '"iscrowd": 1')
    file.write_text(text)
    task = coco_task(parts=("obj_det",))
    with pytest.raises(LabelError, match=r"instances_val2017\.json has no object to find, so AP is not defined"):
        task.evaluate(task.model(tiny_backbone()), device="cpu")
