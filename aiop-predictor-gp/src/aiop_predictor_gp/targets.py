"""What a process learns instead of the label, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import norm, rankdata


@dataclass(frozen=True)
class Target:
    """A rising map between labels and numbers of about mean 0 and deviation 1.

    Attributes:
        labels: (k,) rising labels; two of them span a straight map.
        scores: (k,) the number for each.
    """

    labels: Float[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]

    @classmethod
    def raw(cls, labels: Float[np.ndarray, " n"]) -> Target:
        """Standardised labels."""
        mean, deviation = labels.mean(), labels.std()
        deviation = deviation if deviation > 1e-12 * max(float(np.abs(labels).max()), 1e-300) else 1.0
        return cls(np.array([mean - deviation, mean + deviation]), np.array([-1.0, 1.0]))

    @classmethod
    def rank(cls, labels: Float[np.ndarray, " n"]) -> Target:
        """Normal scores: equal steps of rank, so that a few bad networks do not outweigh the rest."""
        known, first = np.unique(labels, return_index=True)
        if len(known) < 2:
            return cls.raw(labels)
        return cls(known, norm.ppf((rankdata(labels) - 0.5) / len(labels))[first])

    def transform(self, labels: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Labels as scores."""
        return _interpolate(labels, self.labels, self.scores)

    def inverse(self, scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Scores as labels."""
        return _interpolate(scores, self.scores, self.labels)


def _interpolate(
    x: Float[np.ndarray, " n"], knots: Float[np.ndarray, " k"], values: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " n"]:
    """Between the knots on straight lines; beyond them on the line through the whole, from the last knot on."""
    slope = (values[-1] - values[0]) / (knots[-1] - knots[0])
    beyond: np.ndarray[Any, Any] = slope * (np.minimum(x - knots[0], 0) + np.maximum(x - knots[-1], 0))
    beyond += np.interp(x, knots, values)
    return beyond
