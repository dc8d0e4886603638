"""What a shared head learns from: draws from many bodies at once, or the features of one body after the other.

Source: AIO-P, sections on body swapping and latent sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from aiop_core.capabilities import Population
from aiop_core.contracts import Level
from aiop_core.errors import OptionError
from aiop_core.sharing.bodies import FrozenBodies, PaddedBody, require_several
from aiop_core.sharing.chance import ZETA, generator_of, own_randomness
from aiop_core.sharing.freezing import thaw
from aiop_core.sharing.moments import Moments, sample


class BodyFeatures(Protocol):
    """Features of a batch of images.

    Attributes:
        levels: of the features.
    """

    levels: tuple[Level, ...]

    def at(self, step: int, images: Tensor) -> list[Tensor]:
        """The levels that the head sees in ``step``, finest first; the same for the same step."""
        ...

    def learn(self) -> None:
        """Called after each step's backward pass, for bodies that are trained too."""
        ...

    def resumable(self, step: int) -> bool:
        """Whether nothing but the step number is needed to go on from ``step``."""
        ...


class SampledBodies:
    """Drawn as z = μ + ζ∘σ, of a population that sees the batch; one of it is exchanged after each step.

    Args:
        bodies: of the family.
        per_stratum: bodies of each stratum at a time.
        count: how many levels, the coarsest ones; all if ``None``.
        seed: of ζ.
        device: where the images will be.

    Raises:
        OptionError: if that is one body at a time.
    """

    def __init__(
        self, bodies: FrozenBodies, per_stratum: int, *, count: int | None = None, seed: int, device: str
    ) -> None:
        self.levels = bodies.levels[-(count or len(bodies.levels)) :]
        self._population = Population(bodies, require_several(per_stratum, bodies))
        self._seed, self._device = seed, device

    def at(self, step: int, images: Tensor) -> list[Tensor]:
        """Fresh draws, as of some body."""
        moments = Moments(len(images))
        with torch.no_grad():
            for body in self._population.at(step):
                moments.add([x.float() for x in body(images)[-len(self.levels) :]])
            generator = generator_of(self._seed, ZETA, step, self._device)
            return [sample(mean, deviation, generator) for mean, deviation in zip(*moments.read(), strict=True)]

    def learn(self) -> None:
        """No body is trained."""

    def resumable(self, step: int) -> bool:
        """At every step."""
        return True


class SwappedBodies:
    """Those of one body for ``swap`` steps, then of the next one.

    Args:
        bodies: of the family.
        swap: steps for each body.
        freeze: ``None`` leaves bodies as they are; else they learn too, but for what the
            first so many levels need.
        make_optimiser: for each body that learns, from it.
        count: how many levels, the coarsest ones; all if ``None``.
        seed: of dropout and the like in bodies that learn.
        device: where the images will be.

    Attributes:
        body: of the last step.

    Raises:
        OptionError: if ``freeze`` leaves nothing to learn.
    """

    def __init__(
        self,
        bodies: FrozenBodies,
        swap: int,
        freeze: int | None,
        make_optimiser: Callable[[nn.Module], torch.optim.Optimizer],
        *,
        count: int | None = None,
        seed: int,
        device: str,
    ) -> None:
        if freeze is not None and freeze >= len(bodies.levels):
            raise OptionError(
                f"freeze is {freeze}, but bodies have {len(bodies.levels)} levels, so that nothing would learn; give "
                "fewer, or none to train no body"
            )
        self.levels = bodies.levels[-(count or len(bodies.levels)) :]
        self._bodies, self._swap, self._freeze, self._make = bodies, swap, freeze, make_optimiser
        self._seed, self._device = seed, device
        self._number = -1
        self.body: PaddedBody | None = None
        self._optimiser: torch.optim.Optimizer | None = None

    def at(self, step: int, images: Tensor) -> list[Tensor]:
        """Of body ``step // swap``."""
        body = self._body(step // self._swap, images)
        if self._freeze is None:
            with torch.no_grad():
                features = body(images)
        else:
            with own_randomness(self._seed + step, self._device):
                features = body(images)
        return [x.float() for x in features[-len(self.levels) :]]

    def _body(self, number: int, images: Tensor) -> PaddedBody:
        if self.body is None or number != self._number:
            self._number, self.body = number, self._bodies.body(number)
            if self._freeze is not None:
                thaw(self.body, self._freeze, images[:2])
                self._optimiser = self._make(self.body)
        return self.body

    def learn(self) -> None:
        """A step of the body, if it is trained."""
        if self._optimiser is not None:
            self._optimiser.step()
            self._optimiser.zero_grad(set_to_none=True)

    def resumable(self, step: int) -> bool:
        """A trained body is not kept: only where the next one begins."""
        return self._freeze is None or step % self._swap == 0
