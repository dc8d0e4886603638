"""Training of one architecture, and what it finds afterwards."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from aiop_core.contracts import Progress
from aiop_core.errors import LabelError
from aiop_core.sharing import norms
from aiop_core.sharing.chance import own_randomness
from aiop_task_hpe.augment import Change, Strength, cut, heat_maps, normalised
from aiop_task_hpe.options import Settings
from aiop_task_hpe.patches import Patches, PatchStore
from aiop_task_hpe.pck import decode

HeatMaps = Float[Tensor, "n joints h w"]

EVALUATION_BATCH = 64


def fit(
    model: nn.Module, store: PatchStore, settings: Settings, *, seed: int, device: str, progress: Progress
) -> float:
    """Train ``model`` in place and return the mean loss of the last epoch.

    Order, augmentation and whatever the model itself draws (dropout) come from ``seed``;
    the global generator is left as it was. The same seed gives the same weights on the
    CPU with the same number of threads.

    Raises:
        LabelError: if the loss is not finite any more.
    """
    generator = torch.Generator().manual_seed(seed)
    model.to(device).to(memory_format=torch.channels_last).train()
    batch = min(settings.batch, len(store))
    per_epoch = len(store) // batch  # the incomplete last batch would spoil batch-norm statistics
    steps = settings.epochs * per_epoch
    optimiser = make_optimiser(model, settings)
    strength = Strength(settings.flip, settings.scale, settings.rotation, settings.color)
    step, mean_loss = 0, 0.0
    with own_randomness(seed, device):
        for epoch in range(settings.epochs):
            order = torch.randperm(len(store), generator=generator)[: per_epoch * batch].numpy()
            mean_loss = 0.0
            for patches in store.batches(order, batch):
                for group in optimiser.param_groups:
                    group["lr"] = settings.lr * rate(step / steps, settings)
                changed = cut(patches, Change.draw(len(patches), strength, generator), settings.input_size)
                loss = loss_of(model(normalised(changed.images, device)), changed, settings)
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise LabelError(
                        f"the loss became {value} in step {step + 1} of {steps} (epoch {epoch + 1}); "
                        f"lower lr, now {settings.lr:g}, or lengthen warmup, now {settings.warmup:g}"
                    )
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                mean_loss += value / per_epoch
                step += 1
                progress(step, steps, f"loss {value:.4g}")
        if settings.recalibrate:
            recalibrate(model, store, settings, device=device)
    return mean_loss


def make_optimiser(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """That of the settings, over the parameters that take gradients."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if settings.optimiser == "adam":
        return torch.optim.Adam(trained, lr=settings.lr, fused=True)  # a step in half the time, on the CPU too
    return torch.optim.RMSprop(trained, lr=settings.lr)


def rate(share: float, settings: Settings) -> float:
    """The learning rate, relative to its highest, after ``share`` of all steps."""
    if share < settings.warmup:
        return max(share / settings.warmup, 0.05)
    if settings.schedule == "step":
        return 0.1 ** bisect.bisect_right(sorted(settings.lr_steps), share)
    return 0.5 * (1 + math.cos(math.pi * (share - settings.warmup) / (1 - settings.warmup)))


def loss_of(maps: HeatMaps, patches: Patches, settings: Settings) -> Tensor:
    """Mean squared error between a network's maps and the joints' Gaussians, over annotated joints."""
    target = heat_maps(
        patches.joints, size=settings.input_size, stride=settings.output_stride, sigma=settings.sigma
    ).to(maps.device)
    weight = patches.annotated.to(maps.device, torch.float32)
    error = ((maps - target) ** 2).mean(dim=(2, 3))
    return (error * weight).sum() / weight.sum().clamp(min=1)


def recalibrate(model: nn.Module, store: PatchStore, settings: Settings, *, device: str) -> None:
    """Measure batch-norm statistics anew, over ``settings.recalibrate`` batches.

    After few steps the running statistics still remember the first weights.
    """
    seen = np.arange(min(settings.recalibrate * EVALUATION_BATCH, len(store)))
    images = plain_images(store, seen, settings, device=device)
    norms.recalibrate(model, (batch for batch in images if len(batch) > 1))  # one image may be one number a channel


def plain_images(
    store: PatchStore, numbers: np.ndarray[Any, Any], settings: Settings, *, device: str
) -> Iterator[Float[Tensor, "batch 3 h w"]]:
    """Images as networks read them, without augmentation, in batches of ``EVALUATION_BATCH``."""
    for patches in store.batches(numbers, EVALUATION_BATCH):
        yield normalised(cut(patches, Change.none(len(patches)), settings.input_size).images, device)


@dataclass(frozen=True)
class Located:
    """What a model finds in images, beside the truth; all in pixels of its input.

    Attributes:
        found: where it sees the joints.
        joints: where they are.
        annotated: which of them mean anything.
        heads: what PCKh calls the length of the head; NaN where it is not known.
    """

    found: Float[Tensor, "n joints 2"]
    joints: Float[Tensor, "n joints 2"]
    annotated: Bool[Tensor, "n joints"]
    heads: Float[Tensor, " n"]


def find_joints(model: nn.Module, store: PatchStore, settings: Settings, *, device: str) -> Located:
    """Let the model look for the joints of all persons.

    A joint that the network's input does not show still counts: it cannot be found.
    """
    model.to(device).to(memory_format=torch.channels_last).eval()
    flip = list(store.skeleton.flip)
    parts = []
    with torch.no_grad():
        for patches in store.batches(np.arange(len(store)), EVALUATION_BATCH):
            cuts = cut(patches, Change.none(len(patches)), settings.input_size)
            images = normalised(cuts.images, device)
            maps = model(images)
            if settings.flip_test:
                maps = (maps + model(images.flip(-1))[:, flip].flip(-1)) / 2
            found = decode(maps.float().cpu(), stride=settings.output_stride)
            parts.append((found, cuts.joints, patches.annotated, cuts.heads))
    return Located(*(torch.cat(column) for column in zip(*parts, strict=True)))
