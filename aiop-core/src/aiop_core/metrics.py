"""How good predictions are: error in the label's unit, and agreement of rankings.

Every function takes measured and predicted values of the same n architectures, shape
(..., n), and works along the last axis, so that a bootstrap is one call. A correlation
is not defined where either side is constant; the answer is then nan, never 0, and
screens show ``–``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from aiop_core.errors import LabelError

Values = Float[np.ndarray, "... n"]
Score = Float[np.ndarray, "..."]
Interval = tuple[float, float, float]
"""A score with the lower and upper end of its confidence interval."""

RESAMPLES = 1000
"""How many bootstrap resamples an interval is taken from."""

CONFIDENCE = 0.95
"""How much of the resamples' scores an interval covers."""

_BLOCK = 1 << 19
"""Resampled values held at a time; keeps the bootstrap within a few tens of MB."""


def mae(measured: Values, predicted: Values) -> Score:
    """Mean absolute error, in the labels' unit; 0 is best."""
    return np.asarray(np.abs(measured - predicted).mean(axis=-1))


def spearman(measured: Values, predicted: Values) -> Score:
    """Spearman's rank correlation (SRCC): Pearson's of the ranks, ties sharing their mean rank.

    From -1 to 1, without unit. Source: C. Spearman, The proof and measurement of
    association between two things, 1904.
    """
    return _pearson(_ranks(measured), _ranks(predicted))


def kendall(measured: Values, predicted: Values) -> Score:
    """Kendall's tau-b: (concordant - discordant) pairs over those tied on neither side.

    The denominator is the geometric mean of the pairs not tied in the measured and not
    tied in the predicted values. From -1 to 1, without unit. Source: M. G. Kendall, The
    treatment of ties in ranking problems, 1945.
    """
    shape = np.broadcast_shapes(measured.shape, predicted.shape)
    pairs = zip(*(np.broadcast_to(v, shape).reshape(-1, shape[-1]) for v in (measured, predicted)), strict=True)
    return np.array([_tau_b(m, p) for m, p in pairs]).reshape(shape[:-1])


def ndcg(measured: Values, predicted: Values) -> Score:
    """Normalised discounted cumulative gain of the whole ranking, higher values being better.

    The gain is the measured value scaled to [0, 1] over the given ones; rank r (from 1)
    is discounted by 1 / log2(r + 1), equal predictions share their mean discount. From
    0 to 1 (the perfect ranking), without unit; nan where all measured values are equal.
    Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques,
    2002; ties after McSherry and Najork, 2008.
    """
    low, high = measured.min(axis=-1, keepdims=True), measured.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        gain = (measured - low) / np.where(high > low, high - low, np.nan)
    n = measured.shape[-1]
    discounts = 1 / np.log2(np.arange(2, n + 2))
    below = np.concatenate([[0.0], np.cumsum(discounts)])
    first, last = (_ranks(-predicted, ties).astype(int) for ties in ("min", "max"))
    shared = (below[last] - below[first - 1]) / (last - first + 1)
    ideal = (np.sort(gain, axis=-1)[..., ::-1] * discounts).sum(axis=-1)
    return np.asarray((gain * shared).sum(axis=-1) / ideal)


METRICS: Mapping[str, Callable[[Values, Values], Score]] = {
    "mae": mae,
    "spearman": spearman,
    "kendall": kendall,
    "ndcg": ndcg,
}
"""What ``summarise`` computes, in the order of tables. Lower is better for ``mae`` only."""


def bootstrap(
    metric: Callable[[Values, Values], Score],
    measured: Float[np.ndarray, " n"],
    predicted: Float[np.ndarray, " n"],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a metric, pairs drawn with replacement.

    Resamples on which the metric is not defined are left out; (nan, nan) if all are.
    Source: B. Efron, Bootstrap methods: another look at the jackknife, 1979.
    """
    rng, n = np.random.default_rng(seed), len(measured)
    rows = max(1, _BLOCK // n)
    scores = []
    for start in range(0, resamples, rows):
        chosen = rng.integers(n, size=(min(rows, resamples - start), n))
        scores.append(metric(measured[chosen], predicted[chosen]))
    defined = np.concatenate(scores)
    defined = defined[np.isfinite(defined)]
    if not defined.size:
        return math.nan, math.nan
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def summarise(
    measured: Any, predicted: Any, *, seed: int = 0, resamples: int = RESAMPLES, higher_is_better: bool = True
) -> dict[str, Interval]:
    """Every metric of ``METRICS`` with its bootstrap interval; the best come first for NDCG.

    Raises:
        LabelError: if the two differ in length, are empty, or hold a value that is not finite.
    """
    sides = {name: np.asarray(v, dtype=np.float64) for name, v in (("measured", measured), ("predicted", predicted))}
    y, p = sides.values()
    if y.ndim != 1 or y.shape != p.shape or len(y) == 0:
        raise LabelError(
            f"metrics need as many measured as predicted values, at least one: got shapes {y.shape} and {p.shape}"
        )
    for name, values in sides.items():
        if not np.isfinite(values).all():
            i = int(np.argmin(np.isfinite(values)))
            raise LabelError(f"{name} value {i} is {values[i]}; metrics need finite numbers, drop that record")
    if not higher_is_better:
        y, p = -y, -p
    return {
        name: (float(metric(y, p)), *bootstrap(metric, y, p, seed=seed, resamples=resamples))
        for name, metric in METRICS.items()
    }


def _ranks(values: Values, ties: str = "average") -> Values:
    from scipy.stats import rankdata  # takes longer to import than the rest of the command line

    ranks: Values = rankdata(values, method=ties, axis=-1).astype(np.float64)
    return ranks


def _pearson(a: Values, b: Values) -> Score:
    a = a - a.mean(axis=-1, keepdims=True)
    b = b - b.mean(axis=-1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=-1) / np.where(scale > 0, scale, np.nan))


def _tau_b(measured: Values, predicted: Values) -> float:
    from scipy.stats import kendalltau

    if len(measured) < 2:
        return math.nan
    return float(kendalltau(measured, predicted).statistic)
