"""Every knob of latents, shared heads and shared labels. ``None`` means *as the data set wants it*."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aiop_core.options import option
from aiop_task_hpe.options import Settings

_CODE = "paper's code"
_README = "README of the paper's code"


@dataclass(frozen=True)
class LatentsOptions:
    """Options of ``aiop latents`` for ``hpe2d``."""

    per_stratum: int | None = option(
        None, "bodies of each stratum that speak of one image; real data 5, synthetic 2", minimum=1, source=_CODE
    )
    hold: int | None = option(
        None, "images before the oldest body makes room for another; real data 1, synthetic 8", minimum=1, source=_CODE
    )
    levels: str | None = option(
        None,
        "feature levels to keep: the coarsest (p5) or all; by default what the head reads",
        choices=("coarsest", "all"),
    )
    mirrored: bool = option(False, "also of each image's mirror image, which head training then uses for half of them")
    dtype: str = option("float16", "numbers in the files", choices=("float16", "float32"))


@dataclass(frozen=True)
class HeadOptions:
    """Options of ``aiop head`` for ``hpe2d``; what they leave open is the task's."""

    method: str = option(
        "sample",
        "sample: features drawn from mean and deviation of many bodies; swap: those of one body, then of the next",
        choices=("sample", "swap"),
        source="paper: latent sampling",
    )
    swap: int = option(10, "method swap: batches before the next body", minimum=1, source=_CODE)
    freeze: int | None = option(
        None,
        "method swap: train the bodies too, but for what the first so many levels need; none trains no body",
        minimum=0,
    )
    per_stratum: int | None = option(
        None,
        "method sample without latents: bodies of each stratum that speak of one batch; real data 5, synthetic 2",
        minimum=1,
    )
    epochs: int | None = option(None, "passes over the training images", minimum=1)
    batch: int | None = option(None, "images per step", minimum=2)
    lr: float | None = option(None, "highest learning rate", minimum=1e-9)
    schedule: str = option("cosine", "learning rate over time", choices=("cosine", "step"), source=_README)
    warmup: float | None = option(None, "share of all steps over which the learning rate rises", minimum=0, maximum=0.9)
    save_every: float = option(60.0, "seconds between two checkpoints of the training", minimum=0, runtime=True)


@dataclass(frozen=True)
class SharedOptions:
    """Options of ``aiop label --mode shared`` for ``hpe2d``: how a body is fine-tuned below the shared head."""

    epochs: int | None = option(None, "passes over the training images; by default 10, of synthetic ones 1", minimum=1)
    batch: int | None = option(None, "images per step; by default the task's", minimum=2)
    lr: float | None = option(
        None, "highest learning rate, by default the task's; a tenth of it suits bodies of a supernet", minimum=1e-9
    )
    schedule: str = option("cosine", "learning rate over time", choices=("cosine", "step"), source=_README)
    freeze_body: bool = option(False, "leave the body's weights as they are; its batch-norm statistics still follow")


PER_STRATUM = 5
"""Bodies of each stratum (the paper's cache is named ``_n5``)."""

CACHED_EPOCHS, IMAGE_EPOCHS, TUNE_EPOCHS = 5000, 140, 10
"""Epochs on real data: of a head on latents and of the fine-tuning (README of the paper's
code); of a head on images as many as an individual label has, a choice of ours."""

BATCH = 256
"""Of head training on real data (README of the paper's code)."""

SYNTHETIC_PER_STRATUM, SYNTHETIC_HOLD = 2, 8
SYNTHETIC_CACHED_EPOCHS, SYNTHETIC_IMAGE_EPOCHS, SYNTHETIC_TUNE_EPOCHS = 20, 4, 1
SYNTHETIC_BATCH, SYNTHETIC_LR, SYNTHETIC_WARMUP = 32, 1e-2, 0.05
"""For the synthetic set: latents in about a minute on two cores, a head from them in half of one."""


def population_size(per_stratum: int | None, settings: Settings) -> int:
    """How many bodies of each stratum speak of an image."""
    return per_stratum or (SYNTHETIC_PER_STRATUM if settings.data == "synthetic" else PER_STRATUM)


def head_settings(options: HeadOptions, settings: Settings, *, cached: bool) -> Settings:
    """The task's settings with those of head training in place of those of one architecture's.

    Args:
        options: of head training.
        settings: of the task.
        cached: whether features come from latents, which makes epochs cheap.
    """
    drawn = settings.data == "synthetic"
    if cached:
        epochs = SYNTHETIC_CACHED_EPOCHS if drawn else CACHED_EPOCHS
    else:
        epochs = SYNTHETIC_IMAGE_EPOCHS if drawn else IMAGE_EPOCHS
    return replace(
        settings,
        epochs=options.epochs or epochs,
        batch=options.batch or (SYNTHETIC_BATCH if drawn else BATCH),
        lr=options.lr or (SYNTHETIC_LR if drawn else settings.lr),
        schedule=options.schedule,
        warmup=options.warmup if options.warmup is not None else (SYNTHETIC_WARMUP if drawn else settings.warmup),
    )


def tune_settings(options: SharedOptions, settings: Settings) -> Settings:
    """The task's settings with those of a fine-tuning in place of those of a training."""
    return replace(
        settings,
        epochs=options.epochs or (SYNTHETIC_TUNE_EPOCHS if settings.data == "synthetic" else TUNE_EPOCHS),
        batch=options.batch or settings.batch,
        lr=options.lr or settings.lr,
        schedule=options.schedule,
    )
