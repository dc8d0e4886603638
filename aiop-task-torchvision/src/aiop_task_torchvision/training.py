"""Training of one architecture."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from aiop_core.contracts import Progress
from aiop_core.errors import LabelError
from aiop_core.sharing.chance import own_randomness
from aiop_task_torchvision.data import CocoImages, Sample, View, batches, in_batches
from aiop_task_torchvision.model import Segmenter
from aiop_task_torchvision.options import Settings

WARMUP_START = 1e-3
"""What share of the learning rate warm-up starts from. Source: torchvision, references/detection."""

MOMENTUM = 0.9


def fit(
    model: Segmenter, images: CocoImages, settings: Settings, *, seed: int, device: str, progress: Progress
) -> None:
    """Train ``model`` in place.

    Order, mirroring, and what torchvision draws (anchors and boxes that the losses see, dropout)
    come from ``seed``; the global generator is left as it was. The same seed gives the same
    weights on the CPU with the same number of threads.

    Raises:
        LabelError: if the loss is not finite any more, or the device's memory does not suffice.
    """
    generator = torch.Generator().manual_seed(seed)
    batch = min(settings.batch, len(images))
    per_epoch = len(images) // batch  # the incomplete last batch would spoil batch-norm statistics
    steps = settings.epochs * per_epoch
    warmup = min(settings.warmup, per_epoch - 1)
    model.to(device).to(memory_format=torch.channels_last).train()  # half the time on the CPU
    optimiser = make_optimiser(model, settings)
    step = 0
    with own_randomness(seed, device), enough_memory(device, settings):
        for epoch in range(settings.epochs):
            order = torch.randperm(len(images), generator=generator)[: per_epoch * batch].tolist()
            mirrored = (torch.rand(len(order), generator=generator) < settings.flip).tolist()
            views = [View(index, flip) for index, flip in zip(order, mirrored, strict=True)]
            for samples in batches(images, in_batches(views, batch), settings.workers):
                for group in optimiser.param_groups:
                    group["lr"] = settings.lr * rate(step, steps, warmup, settings)
                pixels, targets = on_device(samples, device)
                losses = model(pixels, targets)
                loss = torch.stack([*losses.values()]).sum()
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise LabelError(
                        f"the loss became {value} in step {step + 1} of {steps} (epoch {epoch + 1}); "
                        f"lower lr, now {settings.lr:g}, or lengthen warmup, now {settings.warmup}"
                    )
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                step += 1
                progress(step, steps, f"loss {value:.4g}")


def make_optimiser(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """That of the settings, over the parameters that take gradients."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(trained, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    return torch.optim.SGD(trained, lr=settings.lr, momentum=MOMENTUM, weight_decay=settings.weight_decay)


def rate(step: int, steps: int, warmup: int, settings: Settings) -> float:
    """The learning rate of a step, counted from 0, relative to its highest."""
    rise = WARMUP_START + (1 - WARMUP_START) * step / warmup if step < warmup else 1.0
    if settings.schedule == "step":
        return rise * 0.1 ** bisect.bisect_right(sorted(settings.lr_steps), step / steps)
    return rise * 0.5 * (1 + math.cos(math.pi * step / steps))


def on_device(samples: list[Sample], device: str) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """The images and the targets of a batch."""
    pixels = [image.to(device) for image, _ in samples]
    return pixels, [{name: value.to(device) for name, value in target.items()} for _, target in samples]


@contextmanager
def enough_memory(device: str, settings: Settings) -> Iterator[None]:
    """Say what to do when an accelerator's memory does not suffice.

    Raises:
        LabelError: in place of torch's error.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise LabelError(
            f"{device} has too little memory for batch {settings.batch} at min_size {settings.min_size}; "
            "give a smaller batch, and lr in proportion, or a smaller min_size"
        ) from error
