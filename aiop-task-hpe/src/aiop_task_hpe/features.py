"""What a shared head is trained on: features from latents, from many bodies at once, or from one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from aiop_core.capabilities import Population
from aiop_core.contracts import Level
from aiop_core.errors import OptionError
from aiop_task_hpe.augment import Change, Strength, cut, normalised
from aiop_task_hpe.frozen_bodies import FrozenBodies, PaddedBody
from aiop_task_hpe.latents import Latents, sample
from aiop_task_hpe.moments import Moments
from aiop_task_hpe.options import Settings
from aiop_task_hpe.patches import Patches, PatchStore
from aiop_task_hpe.training import make_optimiser, own_randomness

ZETA, CHANGES, ORDER = range(3)
"""Streams of chance: one number of a training has an own generator in each."""


def generator_of(seed: int, stream: int, number: int, device: str = "cpu") -> torch.Generator:
    """A generator that follows from numbers alone, so that a training can go on from any step."""
    state = np.random.SeedSequence((seed, stream, number)).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0]) >> 1)


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
    """What both sources share that run bodies: augmented images."""

    def __init__(
        self, bodies: FrozenBodies, store: PatchStore, count: int, settings: Settings, *, seed: int, device: str
    ) -> None:
        self.levels = bodies.levels[-count:]
        self.count = count
        self.seed = seed
        self.device = device
        self._store, self._settings = store, settings

    def images(self, order: np.ndarray[Any, Any], batch: int, step: int) -> Iterator[tuple[int, Tensor, Patches]]:
        """Step number, what networks read, and the joints in it."""
        s = self._settings
        strength = Strength(s.flip, s.scale, s.rotation, s.color)
        for number, patches in enumerate(self._store.batches(order, batch), step):
            change = Change.draw(len(patches), strength, generator_of(self.seed, CHANGES, number))
            changed = cut(patches, change, s.input_size)
            yield number, normalised(changed.images, self.device), changed


class PopulationFeatures:
    """Drawn as from latents, but of bodies that see the batch itself; one of them is exchanged after each batch."""

    def __init__(self, images: ImageFeatures, bodies: FrozenBodies, per_stratum: int) -> None:
        self.levels = images.levels
        self._images = images
        self._population = Population(bodies, per_stratum)

    def batches(self, order: np.ndarray[Any, Any], batch: int, step: int) -> Iterator[tuple[list[Tensor], Patches]]:
        """Each batch meets the population of its step."""
        source = self._images
        for number, images, patches in source.images(order, batch, step):
            moments = Moments(len(images))
            with torch.no_grad():
                for body in self._population.at(number):
                    moments.add([x.float() for x in body(images)[-source.count :]])
                generator = generator_of(source.seed, ZETA, number, source.device)
                features = [sample(m, d, generator) for m, d in zip(*moments.read(), strict=True)]
            yield features, patches

    def learn(self) -> None:
        """No body is trained."""

    def resumable(self, step: int) -> bool:
        """At every step."""
        return True


class SwappedFeatures:
    """Those of one body for ``swap`` batches, then of the next one.

    Args:
        images: augmented.
        bodies: of the family.
        swap: batches for each body.
        freeze: ``None`` leaves bodies as they are; else they learn too, but for what the
            first so many levels need.
        settings: of the training; a trained body has an optimiser of its own at its ``lr``.

    Raises:
        OptionError: if ``freeze`` leaves nothing to learn.
    """

    def __init__(
        self, images: ImageFeatures, bodies: FrozenBodies, swap: int, freeze: int | None, settings: Settings
    ) -> None:
        self.levels = images.levels
        self._images, self._bodies = images, bodies
        self._swap, self._freeze, self._settings = swap, freeze, settings
        if freeze is not None and freeze >= len(bodies.levels):
            raise OptionError(
                f"freeze is {freeze}, but bodies have {len(bodies.levels)} levels, so that nothing would learn; give "
                "fewer, or none to train no body"
            )
        self._number = -1
        self._body: PaddedBody | None = None
        self._optimiser: torch.optim.Optimizer | None = None

    def batches(self, order: np.ndarray[Any, Any], batch: int, step: int) -> Iterator[tuple[list[Tensor], Patches]]:
        """Batch ``n`` goes through body ``n // swap``."""
        source = self._images
        for number, images, patches in source.images(order, batch, step):
            body = self._at(number // self._swap, images)
            if self._freeze is None:
                with torch.no_grad():
                    features = body(images)
            else:
                with own_randomness(source.seed + number, source.device):
                    features = body(images)
            yield [x.float() for x in features[-source.count :]], patches

    def _at(self, number: int, images: Tensor) -> PaddedBody:
        if self._body is None or number != self._number:
            self._number, self._body = number, self._bodies.body(number)
            if self._freeze is not None:
                thaw(self._body, self._freeze, images[:2])
                self._optimiser = make_optimiser(self._body, self._settings)
        return self._body

    def learn(self) -> None:
        """A step of the body, if it is trained."""
        if self._optimiser is not None:
            self._optimiser.step()
            self._optimiser.zero_grad(set_to_none=True)

    def resumable(self, step: int) -> bool:
        """A trained body is not kept: only where the next one begins."""
        return self._freeze is None or step % self._swap == 0


def thaw(body: nn.Module, freeze: int, images: Tensor) -> None:
    """Let a body's parameters take gradients, but for those that its first ``freeze`` levels need."""
    body.train().requires_grad_(requires_grad=True)
    if not freeze:
        return
    parameters = list(body.parameters())
    body.eval()  # the look below must not move batch-norm statistics
    levels: Sequence[Tensor] = body(images)
    needed = torch.autograd.grad(levels[freeze - 1].sum(), parameters, allow_unused=True)
    body.train()
    for parameter, gradient in zip(parameters, needed, strict=True):
        parameter.requires_grad = gradient is None
