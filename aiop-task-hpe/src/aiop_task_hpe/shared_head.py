"""Training of one head for a whole family, and bodies with it.

Source: AIO-P, sections on body swapping and latent sampling, and its code,
``model_src/multitask/{adapt_ofa_head,adapt_sampling_head}.py``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from aiop_core.capabilities import Bodies
from aiop_core.contracts import Backbone, FitReport, Level, Progress
from aiop_core.errors import DataError, LabelError, WeightsError
from aiop_core.options import options_dict
from aiop_core.sharing.bodies import FrozenBodies, shared_widths
from aiop_core.sharing.chance import ORDER, generator_of
from aiop_core.sharing.features import BodyFeatures, SampledBodies, SwappedBodies
from aiop_core.sharing.freezing import frozen
from aiop_core.sharing.head_files import CARD, Training, read_card, read_weights, write_head
from aiop_core.sharing.origin import ELSEWHERE, Origin, bodies_origin, plain, require
from aiop_task_hpe.features import FeatureSource, ImageFeatures, LatentFeatures
from aiop_task_hpe.heads import build_head, draw_weights
from aiop_task_hpe.latents import Latents, calibration_images
from aiop_task_hpe.options import Settings
from aiop_task_hpe.origin import data_origin, split_origin
from aiop_task_hpe.sharing_options import HeadOptions, SharedOptions, head_settings, population_size, tune_settings
from aiop_task_hpe.training import fit, loss_of, make_optimiser, rate

if TYPE_CHECKING:
    from aiop_task_hpe.task import PoseTask

RUNTIME = ("data_dir", "workers", "cache_mb")
"""Settings that cannot change a head."""


def train_head(
    task: PoseTask,
    bodies: Bodies,
    latents: Path | None,
    out: Path,
    options: HeadOptions,
    *,
    seed: int,
    device: str,
    progress: Progress,
) -> FitReport:
    """Train a head into ``out``, from where it stopped; see :class:`~aiop_core.capabilities.Sharing`.

    Everything random follows from the seed and the number of a step, so that a training that
    was killed gives what an uninterrupted one would have given.

    Raises:
        DataError: if latents do not fit, ``out`` holds another head, or there is no room.
        LabelError: if the loss is not finite any more.
        OptionError: if bodies vary in width, no body would learn, or one alone would speak of an image.
    """
    cache = Latents.open(latents) if latents is not None and options.method == "sample" else None
    if cache is not None:
        cache.require(task, bodies)
    settings = replace(
        head_settings(options, task.settings, cached=cache is not None),
        head_widths=shared_widths(task.settings.head_widths, bodies),
    )
    origin = _origin(task, bodies, cache, options, settings, seed)
    if (out / CARD).is_file():
        card = read_card(out)
        require(card["origin"], origin, what=f"head in {out}", advice=ELSEWHERE, error=DataError)
        return FitReport(card["report"])
    source = _source(task, bodies, cache, options, settings, seed=seed, device=device)
    narrow = replace(settings, head_widths=settings.head_widths[-len(source.levels) :])
    head = build_head(source.levels, len(task.skeleton), narrow)
    draw_weights(head, torch.Generator().manual_seed(seed))
    head.to(device).to(memory_format=torch.channels_last).train()
    training = Training(head, make_optimiser(head, settings))
    training.resume(out, origin, device)
    images = int(origin["train_images"])
    _train(training, source, images, settings, out, origin, options.save_every, seed=seed, progress=progress)
    report = {"loss": training.loss, "steps": float(training.step)}
    if cache is not None:
        report["val_loss"] = _validation_loss(head, cache, settings, len(source.levels), seed=seed, device=device)
    card = {"origin": origin, "report": report, **_fitting(task, settings.head_widths, source.levels)}
    write_head(out, head, card)
    return FitReport(report)


def _origin(
    task: PoseTask, bodies: Bodies, cache: Latents | None, options: HeadOptions, settings: Settings, seed: int
) -> Origin:
    """All that decides a head's weights, as plain JSON values."""
    kept = {name: value for name, value in asdict(settings).items() if name not in RUNTIME}
    made_of = {
        **kept,
        **{name: value for name, value in options_dict(options, runtime=False).items() if name not in kept},
        **data_origin(task),
        **bodies_origin(bodies),
        "seed": seed,
        "latents": None if cache is None else [cache.header["spec"], cache.header["population"], cache.views],
    }
    return plain(made_of)


def _source(
    task: PoseTask,
    bodies: Bodies,
    cache: Latents | None,
    options: HeadOptions,
    settings: Settings,
    *,
    seed: int,
    device: str,
) -> FeatureSource:
    count = 1 if settings.head == "deconv" else len(bodies.body(0).levels)
    if cache is not None:
        return LatentFeatures(cache, count, settings, seed=seed, device=device)
    ready = FrozenBodies(bodies, settings.head_widths, device, calibration_images(task, device))
    features: BodyFeatures
    if options.method == "swap":
        learning = partial(make_optimiser, settings=settings)
        features = SwappedBodies(ready, options.swap, options.freeze, learning, count=count, seed=seed, device=device)
    else:
        size = population_size(options.per_stratum, settings)
        features = SampledBodies(ready, size, count=count, seed=seed, device=device)
    return ImageFeatures(features, task.stores[0], settings, seed=seed, device=device)


def _fitting(task: PoseTask, widths: Sequence[int], levels: Sequence[Level]) -> dict[str, Any]:
    """What a model and its task must have that take the head; levels are those that it reads."""
    s = task.settings
    return {
        "head": s.head,
        "joints": list(task.skeleton.names),
        "filters": s.filters,
        "output_stride": s.output_stride,
        "input_size": s.input_size,
        "widths": list(widths)[-len(levels) :],
        "levels": [[level.channels, level.stride] for level in levels],
        **split_origin(task),
    }


def _train(
    training: Training,
    source: FeatureSource,
    images: int,
    settings: Settings,
    out: Path,
    origin: Origin,
    save_every: float,
    *,
    seed: int,
    progress: Progress,
) -> None:
    batch = min(settings.batch, images)
    per_epoch = images // batch  # the incomplete last batch would spoil batch-norm statistics
    steps, saved = settings.epochs * per_epoch, time.monotonic()
    head, optimiser = training.head, training.optimiser
    while training.step < steps:
        epoch, first = divmod(training.step, per_epoch)
        order = torch.randperm(images, generator=generator_of(seed, ORDER, epoch))[: per_epoch * batch].numpy()
        for features, patches in source.batches(order[first * batch :], batch, training.step):
            for group in optimiser.param_groups:
                group["lr"] = settings.lr * rate(training.step / steps, settings)
            loss = loss_of(head(features), patches, settings)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise LabelError(
                    f"the shared head's loss became {value} in step {training.step + 1} of {steps}; lower lr, now "
                    f"{settings.lr:g}, or lengthen warmup, now {settings.warmup:g}"
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            source.learn()
            done = training.step % per_epoch
            training.loss = (training.loss * done + value) / (done + 1)
            training.step += 1
            if time.monotonic() - saved >= save_every and source.resumable(training.step):
                training.save(out, origin)
                saved = time.monotonic()
            progress(training.step, steps, f"loss {value:.4g}")


def _validation_loss(
    head: nn.Module, cache: Latents, settings: Settings, levels: int, *, seed: int, device: str
) -> float:
    """Mean loss on the validation images' latents, each drawn once; the head is in evaluation mode afterwards."""
    source = LatentFeatures(cache, levels, replace(settings, flip=0.0), seed=seed, device=device, split="val")
    images = int(cache.header["val_images"])
    total = 0.0
    head.eval()
    with torch.no_grad():
        for features, patches in source.batches(np.arange(images), settings.batch, 0):
            total += float(loss_of(head(features), patches, settings)) * len(patches)
    return total / images


def attach(task: PoseTask, backbone: Backbone, folder: Path) -> nn.Module:
    """The backbone with the head of a folder; the weights of both stay as they are.

    Raises:
        WeightsError: if the head is damaged, made for other bodies or other options of the task, or trained on
            other data, which may be those that the task measures on.
    """
    card = read_card(folder)
    count = 1 if task.settings.head == "deconv" else len(backbone.levels)
    own, padded = [level.channels for level in backbone.levels], card.get("widths", [])
    widths = task.settings.head_widths or ((*own[: len(own) - len(padded)], *padded) if padded else ())
    levels = [Level(width, level.stride) for width, level in zip(widths or own, backbone.levels, strict=False)][-count:]
    advice = "use the options that the head was trained with and a body of its family, or train another head"
    require(card, _fitting(task, widths, levels), what=f"head in {folder}", advice=advice, error=WeightsError)
    model = task.model(backbone, head_widths=widths)
    read_weights(folder, model.get_submodule("head"))
    return model


def finetune(
    task: PoseTask, model: nn.Module, options: SharedOptions, *, seed: int, device: str, progress: Progress
) -> None:
    """Train what ``attach`` made in place, without drawing the head anew.

    Raises:
        LabelError: if the loss is not finite any more.
    """
    settings = tune_settings(options, task.settings)
    with frozen(model.get_submodule("backbone"), really=options.freeze_body):
        fit(model, task.stores[0], settings, seed=seed, device=device, progress=progress)
