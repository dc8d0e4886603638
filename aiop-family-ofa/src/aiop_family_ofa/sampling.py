"""Drawing distinct architectures from a space."""

from __future__ import annotations

import itertools
from typing import TypeVar

import numpy as np

from aiop_core.contracts import Architecture
from aiop_core.errors import SpecError
from aiop_family_ofa.space import Space

A = TypeVar("A", bound=Architecture)

Depths = tuple[int, ...]

STRATA = (range(2), range(2, 4), range(4, 7), range(7, 9), range(9, 11))
"""Blocks beyond the shallowest network's.

Source: AIO-P's code, ``latent_sample/arch_sampler.py``: its bins of the total depth, and its offsets 10, 11 and 0
for MobileNetV3, ProxylessNAS and ResNet, which are the least that the library's ``d`` can sum to.
"""

GOLDEN_RATIO = (5**0.5 - 1) / 2


def sample(space: Space[A], count: int, rng: np.random.Generator, *, by_depth: bool) -> list[A]:
    """``count`` distinct architectures.

    By default every choice is drawn uniformly: each stage's depth, then each active block,
    as the once-for-all library samples sub-networks. With ``by_depth`` the total depths of
    the space get equal shares, as nearly as the number allows, and the stages' depths are
    uniform among those of that total. A larger sample begins with the smaller one.

    Raises:
        SpecError: if the space has fewer, or ``count`` is negative.
    """
    if not 0 <= count <= space.size:
        raise SpecError(
            f"{count} architectures were asked of {space.title}, which has {space.size}; ask for 0 to that many"
        )
    every = list(itertools.product(*space.depths))
    strata = _strata(every, count, rng) if by_depth else [every] * count
    found: dict[A, None] = {}
    for stratum in strata:
        before = len(found)
        while len(found) == before:
            found[space.draw(stratum[rng.integers(len(stratum))], rng)] = None
    return list(found)


def draw(space: Space[A], stratum: int, rng: np.random.Generator) -> A:
    """A random architecture of a stratum, as if all of the space were drawn until one falls into it.

    Raises:
        SpecError: if there is no such stratum.
    """
    if not 0 <= stratum < len(STRATA):
        raise SpecError(
            f"{space.title} has strata 0 to {len(STRATA) - 1} of depth, not {stratum}; draw from one of them"
        )
    return space.draw_deep(STRATA[stratum], rng)


def _strata(every: list[Depths], count: int, rng: np.random.Generator) -> list[list[Depths]]:
    """For each sample, the depths it may have; the first ones are the same for any ``count``.

    The golden ratio's multiples spread evenly however many there are.
    """
    by_total: dict[int, list[Depths]] = {}
    for depths in sorted(every, key=sum):
        by_total.setdefault(sum(depths), []).append(depths)
    strata = list(by_total.values())
    places = (rng.random() + GOLDEN_RATIO * np.arange(count)) % 1
    return [strata[int(place * len(strata))] for place in places]
