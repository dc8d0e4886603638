"""How much of a space is open to training: once-for-all's progressive shrinking.

Source: Cai et al., "Once for All", ICLR 2020, section 3.3, and the library's ``train_ofa_net.py``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Elastic:
    """How many of the largest choices there are, of each kind; all of them by default."""

    depths: int = 3
    kernels: int = 3
    ratios: int = 3
    widths: int = 3


ALL = Elastic()


@dataclass(frozen=True)
class Phase:
    """A part of a training.

    Attributes:
        name: what becomes elastic in it.
        weight: its length, relative to the other phases'.
        elastic: what is open.
    """

    name: str
    weight: int
    elastic: Elastic


def phase_at(phases: tuple[Phase, ...], share: float) -> Phase:
    """The phase that a training is in when ``share`` of it, from 0 to below 1, is behind."""
    left = share * sum(phase.weight for phase in phases)
    for phase in phases[:-1]:
        if left < phase.weight:
            return phase
        left -= phase.weight
    return phases[-1]
