"""What a shared head is trained on: features from latents, or of bodies that see images."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from aiop_core.contracts import Level
from aiop_core.sharing.chance import CHANGES, ZETA, generator_of
from aiop_core.sharing.features import BodyFeatures
from aiop_core.sharing.moments import sample
from aiop_task_hpe.augment import Change, Strength, cut, normalised
from aiop_task_hpe.latents import Latents
from aiop_task_hpe.options import Settings
from aiop_task_hpe.patches import Patches, PatchStore


class FeatureSource(Protocol):
    """Gives a head its features.

    Attributes:
        levels: of the features.
    """

    levels: tuple[Level, ...]

    def batches(self, order: np.ndarray[Any, Any], batch: int, step: int) -> Iterator[tuple[list[Tensor], Patches]]:
        """Features and joints of the images in ``order``; ``step`` is the number of the first batch."""
        ...

    def learn(self) -> None:
        """Called after each batch's backward pass, for bodies that are trained too."""
        ...

    def resumable(self, step: int) -> bool:
        """Whether nothing but the step number is needed to go on from ``step``."""
        ...


class LatentFeatures:
    """Drawn from latents: z = μ + ζ∘σ with a fresh ζ every time.

    Mirror images are used with the chance ``settings.flip``, if there are some.
    """

    def __init__(
        self,
        latents: Latents,
        count: int,
        settings: Settings,
        *,
        seed: int,
        device: str,
        split: str = "train",
    ) -> None:
        self._split = split
        self.levels = latents.levels[-count:]
        self._latents, self._count, self._flip = latents, count, settings.flip if latents.views == 2 else 0.0
        self._seed, self._device = seed, device

    def batches(self, order: np.ndarray[Any, Any], batch: int, step: int) -> Iterator[tuple[list[Tensor], Patches]]:
        """The next batch is read while the last one is used."""
        pieces = [order[first : first + batch] for first in range(0, len(order), batch)]
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self._read, step, pieces[0])
            for number, piece in enumerate(pieces[1:], step + 1):
                ready, coming = coming, ahead.submit(self._read, number, piece)
                yield self._draw(number - 1, *ready.result())
            yield self._draw(step + len(pieces) - 1, *coming.result())

    def _read(self, step: int, indices: np.ndarray[Any, Any]) -> tuple[list[tuple[Tensor, Tensor]], Patches]:
        chance = np.random.default_rng((self._seed, CHANGES, step)).random(len(indices))
        return self._latents.read(self._split, indices, (chance < self._flip).astype(np.int64), levels=self._count)

    def _draw(self, step: int, pairs: list[tuple[Tensor, Tensor]], patches: Patches) -> tuple[list[Tensor], Patches]:
        generator = generator_of(self._seed, ZETA, step, self._device)
        return [sample(m.to(self._device), d.to(self._device), generator) for m, d in pairs], patches

    def learn(self) -> None:
        """There are no bodies."""

    def resumable(self, step: int) -> bool:
        """At every step."""
        return True


class ImageFeatures:
    """Of bodies that see augmented images.

    Args:
        features: of the bodies.
        store: holds the images.
        settings: say how images are changed.
        seed: of the changes.
        device: a torch device.
    """

    def __init__(
        self, features: BodyFeatures, store: PatchStore, settings: Settings, *, seed: int, device: str
    ) -> None:
        self.levels = features.levels
        self._features, self._store, self._settings = features, store, settings
        self._seed, self._device = seed, device

    def batches(self, order: np.ndarray[Any, Any], batch: int, step: int) -> Iterator[tuple[list[Tensor], Patches]]:
        """Each batch meets the bodies of its step."""
        s = self._settings
        strength = Strength(s.flip, s.scale, s.rotation, s.color)
        for number, patches in enumerate(self._store.batches(order, batch), step):
            change = Change.draw(len(patches), strength, generator_of(self._seed, CHANGES, number))
            changed = cut(patches, change, s.input_size)
            yield self._features.at(number, normalised(changed.images, self._device)), changed

    def learn(self) -> None:
        """A step of the body, if it is trained."""
        self._features.learn()

    def resumable(self, step: int) -> bool:
        """Where the bodies are."""
        return self._features.resumable(step)
