"""Label scaling: what a predictor learns instead of the label itself.

Metrics of different tasks have different means and spreads, and larger networks score
better on all of them. The paper standardises labels, and before that may divide out the
part that the network's size explains.

Source: AIO-P (AAAI-23), equations 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from aiop_core.errors import LabelError, OptionError

SCALINGS = ("none", "standardise", "standardise_flops")
"""What ``LabelScaling.kind`` may be."""

_CONSTANT = 1e-12
"""A deviation below this part of the largest label is rounding: the labels are constant."""


def checked_labels(labels: np.ndarray[Any, Any]) -> Float[np.ndarray, " n"]:
    """``labels`` as float64, if a predictor can learn from them.

    Raises:
        LabelError: if there are none, or one is not finite.
    """
    labels = np.asarray(labels, dtype=np.float64)
    if labels.size == 0:
        raise LabelError("there are no labels to learn from; at least 1 is needed")
    bad = np.flatnonzero(~np.isfinite(labels))
    if bad.size:
        raise LabelError(
            f"label {bad[0]} of {labels.size} is {labels[bad[0]]}; labels must be finite, so drop or measure it again"
        )
    return labels


def gflops(macs: np.ndarray[Any, Any]) -> Float[np.ndarray, " n"]:
    """Giga floating-point operations of networks with so many multiply-adds, two for each."""
    return 2e-9 * np.asarray(macs, dtype=np.float64)


@dataclass(frozen=True)
class LabelScaling:
    """A map from labels to training targets and back; its fields are plain JSON values.

    ``standardise`` is (y - mean) / deviation with the population deviation (equation 4).
    ``standardise_flops`` does the same to y / (log10(GFLOPs + 1) + 1) (equation 5).
    Where all (divided) labels are equal, ``deviation`` is 1, so that every target is 0.

    Attributes:
        kind: one of ``SCALINGS``.
        mean: subtracted from what is standardised.
        deviation: then divided by; never 0.
    """

    kind: str = "none"
    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in SCALINGS:
            raise OptionError(f"label scaling '{self.kind}' does not exist; allowed are {', '.join(SCALINGS)}")

    @classmethod
    def fit(cls, kind: str, labels: Float[np.ndarray, " n"], gflops: Float[np.ndarray, " n"]) -> LabelScaling:
        """The scaling of training labels; those of a test set must not be among them.

        Raises:
            OptionError: if ``kind`` is unknown.
            LabelError: if there are no labels, or one is not finite.
        """
        unscaled = cls(kind)
        labels = checked_labels(labels)
        if kind == "none":
            return unscaled
        targets = unscaled.transform(labels, gflops)
        deviation = float(targets.std())
        if deviation <= _CONSTANT * float(np.abs(targets).max()):
            deviation = 1.0
        return cls(kind, float(targets.mean()), deviation)

    def transform(self, labels: Float[np.ndarray, " n"], gflops: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Labels as training targets."""
        targets: np.ndarray[Any, Any] = (labels / self._size_term(gflops) - self.mean) / self.deviation
        return targets

    def inverse(self, targets: Float[np.ndarray, " n"], gflops: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Targets, or predictions of them, as labels."""
        labels: np.ndarray[Any, Any] = (targets * self.deviation + self.mean) * self._size_term(gflops)
        return labels

    def _size_term(self, gflops: Float[np.ndarray, " n"]) -> np.ndarray[Any, Any]:
        return np.log10(gflops + 1) + 1 if self.kind == "standardise_flops" else np.ones(())
