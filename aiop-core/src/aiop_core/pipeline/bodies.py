"""A family's bodies without end, each following from its number."""

from __future__ import annotations

from typing import Any

from aiop_core.contracts import Architecture, Backbone, Family, Level
from aiop_core.pipeline.initialisation import architecture_seed, initialisation


class DrawnBodies:
    """The :class:`~aiop_core.capabilities.Bodies` of a family, drawn from its strata in turn where it has some.

    Args:
        name: the family's registered name.
        family: the search space.
        seed: of the draws, and of random weights.
    """

    def __init__(self, name: str, family: Family[Any], *, seed: int) -> None:
        self.family = name
        self._space: Any = family
        self._seed = seed
        self._stratified = hasattr(family, "draw") and hasattr(family, "strata")
        self.strata: int = getattr(family, "strata", 1) if self._stratified else 1
        self.widest: tuple[Level, ...] | None = getattr(family, "widest", None)

    def spec(self, number: int) -> str:
        """The canonical text of body ``number``, counted from 0."""
        return self._architecture(number).spec

    def body(self, number: int) -> Backbone:
        """Body ``number`` with its weights, a new module each time."""
        architecture = self._architecture(number)
        with initialisation(architecture_seed(self._seed, architecture.spec)):
            body: Backbone = self._space.backbone(architecture)
        return body

    def _architecture(self, number: int) -> Architecture:
        seed = architecture_seed(self._seed, f"body {number}")
        drawn: Architecture = (
            self._space.draw(number % self.strata, seed=seed)
            if self._stratified
            else self._space.sample(1, seed=seed)[0]
        )
        return drawn
