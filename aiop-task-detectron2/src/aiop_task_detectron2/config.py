"""From options to detectron2's config: the paper's values, then a config file, options, and overrides."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from functools import reduce
from importlib.util import find_spec
from operator import getitem
from typing import TYPE_CHECKING, Any

from PIL import Image

from aiop_core.errors import OptionError
from aiop_task_detectron2.evaluation import quiet
from aiop_task_detectron2.fixed_part import heads_of
from aiop_task_detectron2.options import SYNTHETIC, Detectron2Options

if TYPE_CHECKING:
    from detectron2.config import CfgNode

PAPER: Mapping[str, Any] = {
    "VERSION": 2,
    "INPUT.FORMAT": "RGB",
    "INPUT.MIN_SIZE_TRAIN": (640, 672, 704, 736, 768, 800),
    "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 2000,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 1000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 4,
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.SEM_SEG_HEAD.NAME": "SemSegFPNHAdaptedHead",
    "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": 0.5,
    "SOLVER.IMS_PER_BATCH": 16,
    "SOLVER.BASE_LR": 0.02,
    "SOLVER.STEPS": (60000, 80000),
    "SOLVER.MAX_ITER": 90000,
}
"""For real data.

Source: the paper's code, ``tasks/detectron2/COCO_{Detect,PanSeg}_FPN_Adapted_*.yml``; where
that is silent, detectron2's defaults. Another than there are the images' order and scale:
its blue, green, red values of deviation 58 do not fit the published weights of the
families, which want red, green, blue of mean 0 and deviation 1, as given here.
"""

SMALL: Mapping[str, Any] = {
    "MODEL.ANCHOR_GENERATOR.SIZES": [[8], [16], [32], [48], [72]],
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 64,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 200,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 100,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 64,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 32,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 128,
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 1,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 32,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 32,
    "MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT": 64,
    "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH": 0.3,
    "TEST.DETECTIONS_PER_IMAGE": 10,
    "SOLVER.IMS_PER_BATCH": 8,
    "SOLVER.BASE_LR": 0.05,
    "SOLVER.WARMUP_ITERS": 15,
    "SOLVER.LR_SCHEDULER_NAME": "WarmupCosineLR",
    "SOLVER.STEPS": (),
    "SOLVER.MAX_ITER": 70,
    "SOLVER.CLIP_GRADIENTS.ENABLED": True,
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": "norm",
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": 5.0,
}
"""What the drawn images change: a label in half a minute on two cores, chosen by measurement."""

SMALL_CHANNELS = 64
"""Of the feature pyramid on drawn images."""

LEFT: Mapping[str, Any] = {
    "SOLVER.AMP.ENABLED": False,
    "TEST.AUG.ENABLED": False,
    "DATALOADER.SAMPLER_TRAIN": "TrainingSampler",
    "MODEL.LOAD_PROPOSALS": False,
    "MODEL.KEYPOINT_ON": False,
}
"""What the task does not do, and the values that say so; with others a label would not be what was asked for."""

DECIDED: Mapping[str, str] = {
    "MODEL.META_ARCHITECTURE": "--parts",
    "MODEL.MASK_ON": "--parts",
    "MODEL.BACKBONE": "--family and --freeze",
    "MODEL.WEIGHTS": "the family's --weights",
    "MODEL.DEVICE": "--device",
    "MODEL.ROI_HEADS.NUM_CLASSES": "the annotations",
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": "the annotations",
    "DATASETS.TRAIN": "--data",
    "DATASETS.TEST": "--data",
    "OUTPUT_DIR": "--out",
    "SEED": "--seed",
}
"""Keys, or sections, that something else decides."""

ALLOWED: Mapping[str, tuple[Any, ...]] = {
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN",),
    "MODEL.ROI_HEADS.NAME": ("StandardROIHeads",),
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ("ROIAlignV2", "ROIAlign"),
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": ("ROIAlignV2", "ROIAlign"),
    "MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT": (1.0,),
}
"""The values with which a cost can be told, or that detectron2 has not given up."""

LEAST: Mapping[str, int] = {"SOLVER.MAX_ITER": 1, "SOLVER.IMS_PER_BATCH": 1, "DATALOADER.NUM_WORKERS": 0}
"""Numbers that detectron2 does not look at before it needs them."""

SAVE_EVERY = 1000
"""Steps between two checkpoints of a training; detectron2's 5000 are hours of one on few GPUs."""

COLOURS = 3
"""Of an image."""

REAL_SIZE, SMALL_SIZE = 1024, 96
"""Height and width that graphs are traced at; the paper's code has 1024."""


def settings_of(options: Detectron2Options) -> CfgNode:
    """The whole config that the options ask for, all but the numbers of classes, which the data say.

    Raises:
        OptionError: if a key does not exist, a value is of another type or asks for what the task does not do, the
            config file is not one, or there are no parts.
    """
    from detectron2.config import get_cfg

    cfg = get_cfg()
    cfg.merge_from_list(_pairs(PAPER))
    drawn = options.data == SYNTHETIC
    size = input_size(options)
    if drawn:
        cfg.merge_from_list(_pairs(SMALL))
        cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = (size,), size
        cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = size, size
    cfg.DATALOADER.NUM_WORKERS = (0 if drawn else 4) if options.workers is None else options.workers
    cfg.SOLVER.CHECKPOINT_PERIOD = SAVE_EVERY
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = not semantic(options.parts)  # as the paper's two files have it
    if options.config_file is not None:
        _merge_file(cfg, options)
    chosen = {
        "SOLVER.MAX_ITER": options.iterations,
        "SOLVER.IMS_PER_BATCH": options.batch,
        "SOLVER.BASE_LR": options.lr,
        "SOLVER.CHECKPOINT_PERIOD": options.save_every,
    }
    cfg.merge_from_list(_pairs({key: value for key, value in chosen.items() if value is not None}))
    _merge_overrides(cfg, options.overrides)
    cfg.MODEL.MASK_ON = "mask" in heads_of(options.parts)
    for key, value in LEFT.items():
        if (asked := _value(cfg, key)) != value:
            raise OptionError(f"{key} is {asked!r}, which this task does not do; leave it {value!r}")
    if boxes(options.parts):
        require_known_heads(cfg)
    _require_trainable(cfg)
    return cfg


def deciding(cfg: CfgNode) -> str:
    """What of a config can change a label, as text."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATALOADER.NUM_WORKERS = cfg.SOLVER.CHECKPOINT_PERIOD = 0
    return str(cfg.dump())


def input_size(options: Detectron2Options) -> int:
    """Height and width that graphs are traced at, pixels."""
    return options.input_size or (SMALL_SIZE if options.data == SYNTHETIC else REAL_SIZE)


def boxes(parts: Sequence[str]) -> bool:
    """Whether things are found."""
    return "rpn" in heads_of(parts)


def semantic(parts: Sequence[str]) -> bool:
    """Whether each pixel gets a class."""
    return "semantic" in heads_of(parts)


def require_known_heads(cfg: CfgNode) -> None:
    """Make sure that boxes are found by heads of the kinds that can be counted here.

    Raises:
        OptionError: naming the key of the config.
    """
    for key, allowed in ALLOWED.items():
        if (value := _value(cfg, key)) not in allowed:
            raise OptionError(f"{key} is {value!r}, but this task knows {' and '.join(map(repr, allowed))} only")


def _require_colours(cfg: CfgNode) -> None:
    """Make sure that images are read in three colours, as bodies take them."""
    from detectron2.data.detection_utils import convert_PIL_to_numpy

    for key in ("MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD"):
        if len(value := _value(cfg, key)) != COLOURS:
            raise OptionError(f"{key} is {value!r}; give {COLOURS} numbers, one a colour")
    try:
        colours = convert_PIL_to_numpy(Image.new("RGB", (1, 1)), cfg.INPUT.FORMAT).shape[-1]
    except (KeyError, ValueError):
        colours = 0
    if colours != COLOURS:
        raise OptionError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT!r}; give RGB, BGR or YUV-BT.601")


def _require_trainable(cfg: CfgNode) -> None:
    """Make sure of what would end a training before its first step, or in it."""
    from detectron2.solver import build_lr_scheduler
    from torch import nn, optim

    _require_colours(cfg)
    for key, least in LEAST.items():
        if (given := _value(cfg, key)) < least:
            raise OptionError(f"{key} is {given}; give at least {least}")
    if cfg.INPUT.CROP.ENABLED and find_spec("shapely") is None:
        raise OptionError("INPUT.CROP cuts outlines with shapely, which is not installed: pip install shapely")
    try:
        with quiet():
            build_lr_scheduler(cfg, optim.SGD([nn.Parameter()], lr=cfg.SOLVER.BASE_LR))
    except (AssertionError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise OptionError(f"detectron2 cannot plan the learning rate: {reason}; change SOLVER") from error


def _value(cfg: CfgNode, key: str) -> Any:
    return reduce(getitem, key.split("."), cfg)


def _pairs(values: Mapping[str, Any]) -> list[Any]:
    return [entry for pair in values.items() for entry in pair]


def _merge_file(cfg: CfgNode, options: Detectron2Options) -> None:
    """Merge the config file, with its bases."""
    import yaml

    try:
        with quiet():
            cfg.merge_from_file(str(options.config_file), allow_unsafe=False)
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"config_file {options.config_file} cannot be read: {error}") from error
    except (KeyError, ValueError, TypeError, AssertionError, AttributeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise OptionError(
            f"config_file {options.config_file} is no config of detectron2's this version reads: {reason}"
        ) from error


def _merge_overrides(cfg: CfgNode, text: str) -> None:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise OptionError(f"overrides '{text}' cannot be split into words: {error}") from error
    if len(words) % 2:
        raise OptionError(f"overrides '{text}' are {len(words)} words; give pairs of KEY VALUE")
    for key, value in zip(words[::2], words[1::2], strict=True):
        known = _keys(cfg)
        if key not in known:
            near = difflib.get_close_matches(key.upper(), known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise OptionError(f"overrides: detectron2's config has no key {key}{hint}")
        decided = next((by for part, by in DECIDED.items() if f"{key}.".startswith(f"{part}.")), None)
        if decided is not None:
            raise OptionError(f"overrides: {key} has no effect here, as it follows from {decided}; leave it out")
        try:
            cfg.merge_from_list([key, value])
        except (ValueError, AssertionError) as error:
            raise OptionError(f"overrides: {value} is no value of {key}: {error}") from error


def _keys(node: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Of all leaves, with dots."""
    found: list[str] = []
    for name, value in node.items():
        found += _keys(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [prefix + name]
    return found
