"""What a trained network finds, and how good that is."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from aiop_core.errors import LabelError
from aiop_task_torchvision.data import CocoImages, View, batches, in_batches
from aiop_task_torchvision.model import IGNORED, Segmenter
from aiop_task_torchvision.options import Settings
from aiop_task_torchvision.training import enough_memory, on_device

METRICS = {"obj_det": "obj_det_AP", "inst_seg": "inst_seg_AP", "sem_seg": "sem_seg_mIoU"}

_SUMMARY = ("AP", "AP50", "AP75", "APs", "APm", "APl")
"""What pycocotools sums up first: over all overlaps, at 0.5, at 0.75, and of small, medium and large objects."""

BATCH = 8
"""Images at a time, or fewer where training has fewer; whole masks of all detections take more than the network."""

Values = dict[str, float]


def measure(model: Segmenter, images: CocoImages, settings: Settings, *, device: str) -> tuple[Values, Values]:
    """The metrics of the parts, and what lies behind them: AP at some overlaps and sizes, and for each class.

    Raises:
        LabelError: if the images hold nothing to measure by, or the device's memory does not suffice.
    """
    model.to(device).to(memory_format=torch.channels_last).eval()
    boxes: list[dict[str, Any]] = []
    masks: list[dict[str, Any]] = []
    classes = 1 + len(images.categories.stuff)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    views = in_batches([View(index) for index in range(len(images))], min(BATCH, settings.batch))
    with torch.no_grad(), enough_memory(device, settings):
        done = 0
        for samples in batches(images, views, settings.workers):
            pixels, targets = on_device(samples, device)
            for target, found in zip(targets, model(pixels), strict=True):
                image = images.records[done].image_id
                done += 1
                if "boxes" in found:
                    boxes += _boxes(image, found, images)
                if "masks" in found:
                    masks += _masks(image, found, images)
                if "semantic" in found:
                    confusion += _confusion(target["semantic"], found["semantic"], classes)
    values: Values = {}
    details: Values = {}
    for part in settings.parts:
        if part == "sem_seg":
            value, more = mean_iou(confusion, ("things", *images.categories.stuff))
        else:
            value, more = average_precision(images, *{"obj_det": (boxes, "bbox"), "inst_seg": (masks, "segm")}[part])
        values[METRICS[part]] = value
        details |= {f"{part} {name}": number for name, number in more.items()}
    return values, details


def _boxes(image: int, found: Mapping[str, torch.Tensor], images: CocoImages) -> Iterable[dict[str, Any]]:
    """Detections in the format of COCO's results."""
    corners = found["boxes"].cpu()
    sides = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1).tolist()
    for box, name, score in zip(sides, _ids(found, images), found["scores"].tolist(), strict=True):
        yield {"image_id": image, "category_id": name, "bbox": box, "score": score}


def _masks(image: int, found: Mapping[str, torch.Tensor], images: CocoImages) -> Iterable[dict[str, Any]]:
    """The same with masks in place of boxes."""
    inside = (found["masks"][:, 0] > 0.5).to(torch.uint8).cpu().numpy()
    encoded = run_lengths.encode(np.asfortranarray(inside.transpose(1, 2, 0)))
    for mask, name, score in zip(encoded, _ids(found, images), found["scores"].tolist(), strict=True):
        yield {"image_id": image, "category_id": name, "segmentation": mask, "score": score}


def _ids(found: Mapping[str, torch.Tensor], images: CocoImages) -> list[int]:
    """The data set's ids of what was found."""
    ids = list(images.categories.thing_ids)
    return [ids[label - 1] for label in found["labels"].tolist()]


def average_precision(images: CocoImages, results: list[dict[str, Any]], kind: str) -> tuple[float, Values]:
    """COCO's AP, the mean over overlaps from 0.5 to 0.95, by pycocotools; then more of its numbers, and each class's.

    Args:
        images: what is measured on.
        results: in COCO's format; none at all is an AP of 0.
        kind: ``bbox`` or ``segm``.

    Raises:
        LabelError: if there is no object to find.
    """
    if not any(not instance.is_crowd for record in images.records for instance in record.instances):
        raise LabelError(f"{images.split.instances} has no object to find, so AP is not defined; measure on others")
    truth = images.truth
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(truth, truth.loadRes(results) if results else _nothing(truth), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    summed = dict(zip(_SUMMARY, map(float, judge.stats), strict=False))
    precision = judge.eval["precision"][:, :, :, 0, -1]  # overlap, recall, class; all sizes, most detections
    names = dict(zip(images.categories.thing_ids, images.categories.things, strict=True))
    by_class = {
        f"AP {names[name]}": float(precision[:, :, k].mean())
        for k, name in enumerate(judge.params.catIds)
        if (precision[:, :, k] > -1).any()
    }
    return summed["AP"], {name: value for name, value in summed.items() if value >= 0} | by_class


def _nothing(truth: COCO) -> COCO:
    """Results of the same images without any detection, which ``loadRes`` does not take."""
    empty = COCO()
    empty.dataset = truth.dataset | {"annotations": []}
    empty.createIndex()
    return empty


def _confusion(truth: torch.Tensor, found: torch.Tensor, classes: int) -> np.ndarray[Any, Any]:
    """How many pixels of each true class (row) were given each class (column)."""
    known = truth != IGNORED
    pairs = truth[known].long() * classes + found[known]
    return torch.bincount(pairs, minlength=classes**2).reshape(classes, classes).cpu().numpy()


def mean_iou(confusion: np.ndarray[Any, Any], names: Iterable[str]) -> tuple[float, Values]:
    """Intersection over union, the mean over the classes that are present in the truth, and each of them.

    Raises:
        LabelError: if no pixel is labelled.
    """
    both, true, found = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    present = true > 0
    if not present.any():
        raise LabelError("no pixel has a semantic class, so mIoU is not defined; measure on other images")
    shares = both[present] / (true + found - both)[present]
    named = [name for name, there in zip(names, present, strict=True) if there]
    return float(shares.mean()), {f"IoU {name}": float(s) for name, s in zip(named, shares, strict=True)}
