"""Every knob of the task. ``None`` means *as the data set wants it*; :func:`resolve` says what that is."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from aiop_core.errors import OptionError
from aiop_core.options import option

PARTS = ("obj_det", "inst_seg", "sem_seg")

_RECIPE = "torchvision, references/detection"
_MODEL = "torchvision's fasterrcnn_resnet50_fpn and maskrcnn_resnet50_fpn"


@dataclass(frozen=True)
class TorchvisionOptions:
    """Options of ``torchvision``."""

    data: str = option("synthetic", "data set", choices=("synthetic", "coco"))
    data_dir: Path | None = option(
        None, "coco: folder that holds coco/, or is it; by default what DETECTRON2_DATASETS names", runtime=True
    )
    cache_dir: Path | None = option(
        None, "where drawn images are kept; by default $AIOP_CACHE, else ~/.cache/aiop", runtime=True
    )
    parts: tuple[str, ...] = option(PARTS, "what one network learns together, each with its metric", choices=PARTS)
    train_images: int = option(320, "synthetic: images to train on", minimum=2)
    val_images: int = option(160, "synthetic: images to measure on", minimum=1)
    image_size: int = option(96, "synthetic: height and width of an image, pixels", minimum=64)
    data_seed: int = option(0, "synthetic: another seed is another world of images", minimum=0)
    empty: str = option(
        "drop",
        "training images without a box: drop them, or keep them as background",
        choices=("drop", "keep"),
        source=_RECIPE,
    )
    min_size: int | None = option(None, "images are scaled until their shorter side is this, pixels", minimum=32)
    max_size: int | None = option(None, "and their longer side at most this, pixels", minimum=32)
    channels: int | None = option(None, "channels of the pyramid", minimum=4)
    anchor_scale: float | None = option(
        None, "side of a level's anchors in strides of the level", minimum=1, source=_MODEL
    )
    box_width: int | None = option(None, "width of the box head's two layers", minimum=4)
    mask_width: int | None = option(None, "channels of the mask head's layers", minimum=4)
    mask_depth: int | None = option(None, "convolutions of the mask head", minimum=1)
    sampled_anchors: int | None = option(None, "anchors an image that the proposals' loss sees", minimum=2)
    sampled_boxes: int | None = option(None, "proposals an image that the box head's loss sees", minimum=2)
    train_proposals: int | None = option(None, "proposals an image in training", minimum=1)
    proposals: int | None = option(None, "proposals an image in measuring, and in the graphs", minimum=1)
    detections: int | None = option(None, "most objects that are found in an image; masks in the graphs", minimum=1)
    epochs: int | None = option(None, "passes over the training images", minimum=1)
    batch: int | None = option(None, "images a step", minimum=2)
    optimiser: str | None = option(None, "sgd with momentum 0.9, or adamw", choices=("sgd", "adamw"))
    lr: float | None = option(None, "highest learning rate", minimum=1e-9)
    weight_decay: float = option(1e-4, "weight decay", minimum=0, source=_RECIPE)
    schedule: str | None = option(
        None, "learning rate over time: cosine, or a tenth at each of lr_steps", choices=("cosine", "step")
    )
    lr_steps: tuple[float, ...] = option(
        (16 / 26, 22 / 26),
        "schedule step: where it falls, as shares of all epochs",
        minimum=0,
        maximum=1,
        source=_RECIPE,
    )
    warmup: int | None = option(None, "steps over which the learning rate rises", minimum=0)
    flip: float = option(0.5, "chance of mirroring a training image", minimum=0, maximum=1, source=_RECIPE)
    workers: int | None = option(None, "processes that read images; real data 4, synthetic 0", minimum=0, runtime=True)
    cache_mb: int = option(1024, "keep decoded images in memory up to this size, MB", minimum=0, runtime=True)

    def __post_init__(self) -> None:
        if not self.parts or len(set(self.parts)) < len(self.parts):
            raise OptionError(f"parts is '{','.join(self.parts)}'; name one or more of {', '.join(PARTS)}, each once")


_REAL = TorchvisionOptions(
    min_size=800,
    max_size=1333,
    channels=256,
    anchor_scale=8.0,
    box_width=1024,
    mask_width=256,
    mask_depth=4,
    sampled_anchors=256,
    sampled_boxes=512,
    train_proposals=2000,
    proposals=1000,
    detections=100,
    epochs=26,
    batch=16,
    optimiser="sgd",
    lr=0.02,
    schedule="step",
    warmup=1000,
    workers=4,
)

_SYNTHETIC = TorchvisionOptions(
    channels=48,
    anchor_scale=4.0,
    box_width=128,
    mask_width=32,
    mask_depth=2,
    sampled_anchors=128,
    sampled_boxes=32,
    train_proposals=100,
    proposals=100,
    detections=30,
    epochs=3,
    batch=8,
    optimiser="adamw",
    lr=1.5e-3,
    schedule="cosine",
    warmup=20,
    workers=0,
)

_DEFAULTS = {"coco": _REAL, "synthetic": _SYNTHETIC}
"""What ``None`` means for each data set.

Source: for COCO torchvision's ``references/detection`` (26 epochs, two images on each of
eight GPUs at 0.02, tenths at epochs 16 and 22, weight decay 1e-4, warm-up of 1,000 steps)
and the defaults of its Faster and Mask R-CNN. The synthetic values were chosen by
measurement, see the README.
"""


@dataclass(frozen=True, kw_only=True)
class Settings(TorchvisionOptions):
    """:class:`TorchvisionOptions` with every ``None`` resolved, but those of folders."""

    min_size: int
    max_size: int
    channels: int
    anchor_scale: float
    box_width: int
    mask_width: int
    mask_depth: int
    sampled_anchors: int
    sampled_boxes: int
    train_proposals: int
    proposals: int
    detections: int
    epochs: int
    batch: int
    optimiser: str
    lr: float
    schedule: str
    warmup: int
    workers: int

    @property
    def boxed(self) -> bool:
        """Whether there is a detector."""
        return "obj_det" in self.parts or "inst_seg" in self.parts

    @property
    def semantic(self) -> bool:
        """Whether there is a semantic head."""
        return "sem_seg" in self.parts


def resolve(options: TorchvisionOptions) -> Settings:
    """The values that will be used.

    Raises:
        OptionError: if the options contradict each other.
    """
    defaults = _DEFAULTS[options.data]
    if options.data == "synthetic":
        defaults = replace(defaults, min_size=options.image_size, max_size=options.image_size)
    given = {f.name: getattr(options, f.name) for f in fields(options)}
    settings = Settings(**{name: getattr(defaults, name) if v is None else v for name, v in given.items()})
    if settings.max_size < settings.min_size:
        raise OptionError(
            f"max_size {settings.max_size} is less than min_size {settings.min_size}; "
            "give a longer side that is not shorter than the shorter one"
        )
    return settings
