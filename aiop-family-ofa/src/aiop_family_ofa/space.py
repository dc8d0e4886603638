"""What the three search spaces have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from aiop_core.contracts import Architecture

if TYPE_CHECKING:
    import numpy as np

    from aiop_family_ofa.checkpoints import Checkpoint
    from aiop_family_ofa.plans import NetworkPlan
    from aiop_family_ofa.shrinking import Elastic, Phase

A = TypeVar("A", bound=Architecture)


class Space(Protocol[A]):
    """All sub-networks of one supernet; needs no torch."""

    @property
    def title(self) -> str:
        """The family, and its width where it has several: how messages name the space."""
        ...

    @property
    def checkpoint(self) -> Checkpoint:
        """The published weights."""
        ...

    @property
    def checkpoint_names(self) -> Mapping[str, str]:
        """Beginnings of weight names there, and what they are here."""
        ...

    @property
    def depths(self) -> tuple[tuple[int, ...], ...]:
        """How many blocks each stage may have."""
        ...

    @property
    def size(self) -> int:
        """How many architectures there are."""
        ...

    @property
    def largest(self) -> A:
        """The supernet itself."""
        ...

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Progressive shrinking, from the largest network alone to all of them."""
        ...

    def smallest(self, elastic: Elastic) -> A:
        """The least of every choice that is open."""
        ...

    def draw(self, depths: Sequence[int], rng: np.random.Generator, elastic: Elastic = ...) -> A:
        """A random architecture of these depths; all that is open is equally likely."""
        ...

    def draw_deep(self, blocks: range, rng: np.random.Generator) -> A:
        """A random architecture with so many blocks more than the shallowest, all such equally likely by depths.

        The residual convolution of a ResNet's stem counts as two blocks, as in the library.
        """
        ...

    def parse(self, text: str) -> A:
        """The architecture that a text describes."""
        ...

    def plan(self, architecture: A) -> NetworkPlan:
        """The network of an architecture."""
        ...
