"""The four metrics, by detectron2's own evaluators."""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from aiop_core.contracts import Metric
from aiop_core.errors import DataError, LabelError
from aiop_task_detectron2.loading import Readable, Record, read

if TYPE_CHECKING:
    from detectron2.config import CfgNode
    from detectron2.evaluation import DatasetEvaluator

METRICS: Mapping[str, Metric] = {
    "obj_det": Metric(
        "obj_det_AP", description="average precision of boxes, mean over IoU .50 to .95 and classes (COCO)"
    ),
    "inst_seg": Metric(
        "inst_seg_AP", description="average precision of masks, mean over IoU .50 to .95 and classes (COCO)"
    ),
    "sem_seg": Metric("sem_seg_mIoU", description="intersection over union of pixels, mean over classes"),
    "pan_seg": Metric("pan_seg_PQ", description="panoptic quality, mean over things and stuff (COCO)"),
}
"""By part; fractions."""

_RESULTS = {
    "obj_det": ("bbox", "AP"),
    "inst_seg": ("segm", "AP"),
    "sem_seg": ("sem_seg", "mIoU"),
    "pan_seg": ("panoptic_seg", "PQ"),
}
"""Where detectron2 puts them, in percent."""


def evaluate(
    detector: nn.Module, records: Sequence[Record], name: str, cfg: CfgNode, parts: Sequence[str], *, device: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Each part's metric, and all else that the evaluators say, both as fractions.

    Args:
        detector: trained.
        records: to measure on.
        name: of the data set they are, in detectron2's catalogue.
        cfg: of detectron2.
        parts: what to measure.
        device: a torch device.

    Raises:
        DataError: if an image or its annotations cannot be read.
        LabelError: if the GPU has too little memory, or a metric is not defined on these images.
    """
    from detectron2.data import DatasetMapper, build_detection_test_loader
    from detectron2.evaluation import DatasetEvaluators, inference_on_dataset

    mapper = partial(read, DatasetMapper(cfg, is_train=False))
    loader = build_detection_test_loader(list(records), mapper=mapper, num_workers=cfg.DATALOADER.NUM_WORKERS)
    try:
        with quiet(), contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng(devices=[]):
            evaluators = DatasetEvaluators(_evaluators(name, parts))
            found = inference_on_dataset(detector.to(device), Readable(loader), evaluators)
    except torch.cuda.OutOfMemoryError as error:
        raise LabelError(
            "the GPU has too little memory to measure; lower TEST.DETECTIONS_PER_IMAGE or INPUT.MIN_SIZE_TEST "
            "(--overrides)"
        ) from error
    except OSError as error:
        raise DataError(f"{name} cannot be measured on ({error}); mend that and run the same command again") from error
    except ZeroDivisionError as error:  # of panopticapi
        raise LabelError(
            f"pan_seg is not defined on {name}: none of its images has a thing, or none has stuff; choose other images "
            "or parts"
        ) from error
    values = {part: _share(found.get(group, {}).get(key, math.nan)) for part, (group, key) in _RESULTS.items()}
    details = {
        f"{group}/{key}": _share(value)
        for group, results in found.items()
        for key, value in results.items()
        if isinstance(value, float) and math.isfinite(value)
    }
    for part in ("obj_det", "inst_seg"):  # undefined where nothing at all was found
        values[part] = 0.0 if math.isnan(values[part]) else values[part]
    undefined = [part for part in parts if not math.isfinite(values[part])]
    if undefined:
        raise LabelError(f"{', '.join(undefined)} not defined on {name}: its images have nothing annotated to measure")
    return {METRICS[part].name: values[part] for part in parts}, details


def _share(percent: float) -> float:
    return float(percent) / 100


def _evaluators(name: str, parts: Sequence[str]) -> list[DatasetEvaluator]:
    from detectron2.evaluation import COCOEvaluator, COCOPanopticEvaluator, SemSegEvaluator

    kinds = tuple(kind for part, kind in (("obj_det", "bbox"), ("inst_seg", "segm")) if part in parts)
    evaluators: list[Any] = []
    if kinds:
        evaluators.append(COCOEvaluator(name, kinds, distributed=False, use_fast_impl=False))
    if "sem_seg" in parts:
        evaluators.append(SemSegEvaluator(name, distributed=False))
    if "pan_seg" in parts:
        evaluators.append(COCOPanopticEvaluator(name))
    return evaluators


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let what detectron2 and its libraries log pass unseen, but for errors."""
    loggers = [logging.getLogger(name) for name in ("detectron2", "fvcore", "iopath")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
