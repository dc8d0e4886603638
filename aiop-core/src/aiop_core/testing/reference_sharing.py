"""The reference task with a shared head: the smallest :class:`~aiop_core.capabilities.Sharing` task.

Importing it imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from aiop_core.capabilities import Bodies, Population, SharingRegistration
from aiop_core.contracts import Backbone, FitReport, Progress, Registration, Task
from aiop_core.errors import DataError, WeightsError
from aiop_core.hookspecs import hookimpl
from aiop_core.options import option
from aiop_core.testing.reference import ReferenceTask, TaskOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

LATENTS, HEAD = "latents.safetensors", "head.safetensors"

WIDTH = 8
"""Channels that features are zero-padded to: those of the widest reference body."""


@dataclass(frozen=True)
class LatentsOptions:
    """The knob of collecting latents."""

    per_stratum: int = option(3, "bodies of each stratum at a time", minimum=2)


@dataclass(frozen=True)
class HeadOptions:
    """The knobs of training a shared head."""

    method: str = option("sample", "latent sampling or body swapping", choices=("sample", "swap"))
    steps: int = option(20, "steps of training", minimum=1)


@dataclass(frozen=True)
class SharedOptions:
    """The knob of shared labels."""

    epochs: int = option(1, "passes over the training images", minimum=1)


class SharedReferenceTask(ReferenceTask):
    """The reference task, whose classifier may serve all reference bodies."""

    def reads_latents(self, options: HeadOptions) -> bool:
        """Where the method is latent sampling."""
        return options.method == "sample"

    def collect_latents(
        self, bodies: Bodies, out: Path, options: LatentsOptions, *, device: str, progress: Progress
    ) -> None:
        """Mean and deviation of pooled features, (images, ``WIDTH``) each."""
        from aiop_core.testing.reference_modules import images_of, pooled

        population = Population(bodies, options.per_stratum)
        images = images_of(self.options.images, self.input_hw)[0]
        features = []
        for step, image in enumerate(images):
            features.append(np.stack([pooled(body, image[None], WIDTH, device)[0] for body in population.at(step)]))
            progress(step + 1, len(images))
        columns = {"mean": [f.mean(0) for f in features], "deviation": [f.std(0, ddof=1) for f in features]}
        save_file({name: np.stack(rows) for name, rows in columns.items()}, out / LATENTS)

    def train_head(
        self,
        bodies: Bodies,
        latents: Path | None,
        out: Path,
        options: HeadOptions,
        *,
        seed: int,
        device: str,
        progress: Progress,
    ) -> FitReport:
        """A linear layer of four, by Adam on cross-entropy."""
        from aiop_core.testing.reference_modules import images_of, train_classifier

        images, quarters = images_of(self.options.images, self.input_hw)
        if options.method == "swap":
            features = partial(_swapped, bodies, images, device)
        elif latents is not None:
            features = partial(_sampled, load_file(latents / LATENTS), np.random.default_rng(seed))
        else:
            raise DataError("method 'sample' needs latents; collect them with 'aiop latents', or use 'swap'")
        weights, loss = train_classifier(features, quarters, options.steps, progress)
        save_file(weights, out / HEAD)
        return FitReport({"loss": loss})

    def attach(self, backbone: Backbone, head: Path) -> nn.Module:
        """The backbone, its features padded, with the saved layer."""
        from aiop_core.testing.reference_modules import with_classifier

        width = backbone.levels[-1].channels
        if width > WIDTH:
            raise WeightsError(f"the head in {head} serves {WIDTH} channels, the body has {width}; train another")
        try:
            weights = load_file(head / HEAD)
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"{head / HEAD} cannot be read ({error}); train the head again") from None
        return with_classifier(backbone, weights, WIDTH)

    def finetune(self, model: nn.Module, options: SharedOptions, *, seed: int, device: str, progress: Progress) -> None:
        """As ``train``, for fewer passes."""
        from aiop_core.testing.reference_modules import train

        train(model, self.options.images, options.epochs, self.input_hw, seed, device, progress)


def _swapped(bodies: Bodies, images: Tensor, device: str, step: int) -> np.ndarray[Any, Any]:
    """Features of the step's body."""
    from aiop_core.testing.reference_modules import pooled

    return pooled(bodies.body(step), images, WIDTH, device)


def _sampled(latents: Mapping[str, np.ndarray[Any, Any]], rng: np.random.Generator, _: int) -> np.ndarray[Any, Any]:
    """Features as some body may see them."""
    sampled: np.ndarray[Any, Any] = latents["mean"] + rng.normal(size=latents["mean"].shape) * latents["deviation"]
    return sampled


@hookimpl
def aiop_register_tasks() -> Sequence[Registration[Task]]:
    """The reference task with a shared head."""
    return [
        SharingRegistration(
            "reference_shared",
            "Find a square in noise, with a head for all bodies, for tests.",
            SharedReferenceTask,
            TaskOptions,
            latents_options=LatentsOptions,
            head_options=HeadOptions,
            shared_options=SharedOptions,
        )
    ]
