"""Intervals for what any predictor says, calibrated on labels that were held out.

Conformal prediction: the errors on networks that a fit did not see, ordered, say how far
to go to either side of a prediction. If the network that is asked for could as well have
been one of those labelled (exchangeability), the interval holds its label with at least
the asked confidence, whatever the predictor; nothing is said of other networks.

Source: G. Shafer and V. Vovk, A tutorial on conformal prediction, JMLR 2008; errors in
units of the predictor's own spread: H. Papadopoulos et al., Inductive confidence machines
for regression, ECML 2002; folds: V. Vovk, Cross-conformal predictors, 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeGuard

import numpy as np
from jaxtyping import Float

from aiop_core.contracts import Labelled, Metric, Progress, Uncertain, silent
from aiop_core.errors import ContractError, OptionError
from aiop_core.graph.model import GraphSet
from aiop_core.pipeline.fit import Learner, groups_of, predictions
from aiop_core.records.splits import Split, holdout, k_fold

CONFIDENCE = 0.9
"""Asked for where nobody says how much."""

ENOUGH_FOR_A_HOLDOUT = 500
"""Labels from which on one held-out part is enough, and the model is fitted once instead of ``FOLDS`` times."""

HOLDOUT_SHARE, HOLDOUT_MOST = 0.2, 1000
"""Of the labels that part is; more than so many scores make no interval better."""

FOLDS = 5
"""With fewer labels every one gives a score, from a fit on the other folds."""

DAMPING = 2.0
"""Median spreads that are added to each. A spread of a few members is itself uncertain, and one that is small by
luck would make all intervals wide. In simulations with 3 to 10 members 2 was within a few percent of the narrowest
intervals where the spread tells something, and made them a fifth wider where it tells nothing; 0 tripled them."""

_ROUNDING = 1e-9
"""(n + 1) × confidence may come out this much too large, as 0.07 × 100 does."""

Fit = Callable[[Labelled], Learner]
"""Makes a predictor from labels: trains a fresh one, or tunes a pretrained one."""


def fitting(make: Callable[[], Learner], *, seed: int, device: str) -> Fit:
    """Makes a predictor from labels by training a fresh one."""

    def fit(data: Labelled) -> Learner:
        predictor = make()
        predictor.fit(data, seed=seed, device=device, progress=silent)
        return predictor

    return fit


def is_uncertain(predictor: Learner) -> TypeGuard[Uncertain]:
    """Whether a predictor says where it knows less."""
    return callable(getattr(predictor, "spread", None))


def predict_with_spread(
    predictor: Learner, graphs: GraphSet
) -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " g"]]:
    """Predictions, and the predictor's spread of each; 0 where it knows none.

    Raises:
        ContractError: if the predictor gives something else than a finite number, and a
            positive one of spread, for each graph.
    """
    predicted = predictions(type(predictor).__name__, predictor, graphs)
    if not is_uncertain(predictor):
        return predicted, np.zeros(len(graphs))
    spread = np.asarray(predictor.spread(graphs), dtype=np.float64)
    if spread.shape != (len(graphs),) or not (np.isfinite(spread) & (spread > 0)).all():
        raise ContractError(
            f"'spread' of {type(predictor).__name__} gave {spread.shape} values for {len(graphs)} graphs, "
            "or some that are not positive; 'aiop check' tells more"
        )
    return predicted, spread


def check_confidence(confidence: float) -> None:
    """Refuse what is no confidence.

    Raises:
        OptionError: if it is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise OptionError(f"confidence is {confidence:g}; it must lie between 0 and 1, both excluded, such as 0.9")


@dataclass(frozen=True)
class Calibration:
    """What the held-out errors of a predictor were; gives intervals of any confidence.

    Attributes:
        scores: absolute errors on labels that were not learnt from, each divided by its
            prediction's spread plus ``base``; ascending.
        base: in the labels' unit; 1 for a predictor that knows no spread.
        how: how the errors were made, in words.
    """

    scores: Sequence[float]
    base: float
    how: str

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Calibration:
        """What ``to_json`` gave.

        Raises:
            TypeError: if keys are missing or unknown.
            ValueError: if the scores are not ascending numbers, or the base is not a positive one.
        """
        found = cls(**table)
        if not 0 < found.base < math.inf:
            raise ValueError(f"calibration base {found.base} is not a finite positive number")
        scores = np.asarray(found.scores, dtype=np.float64)
        if not np.isfinite(scores).all() or (np.diff(scores) < 0).any():
            raise ValueError("calibration scores are not ascending numbers")
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; six figures of a score are enough."""
        return asdict(self) | {"scores": [float(f"{score:.6g}") for score in self.scores]}

    @property
    def most(self) -> float:
        """The largest confidence at which intervals are bounded; 0 without scores."""
        return len(self.scores) / (len(self.scores) + 1)

    def width(self, confidence: float) -> float:
        """How many spreads plus base an interval goes to either side; infinite beyond ``most``.

        The ⌈(n + 1) · confidence⌉-th smallest of n scores.
        """
        check_confidence(confidence)
        rank = max(math.ceil((len(self.scores) + 1) * confidence - _ROUNDING), 1)
        return float(self.scores[rank - 1]) if rank <= len(self.scores) else math.inf

    def intervals(
        self,
        predicted: Float[np.ndarray, " g"],
        spread: Float[np.ndarray, " g"],
        *,
        confidence: float = CONFIDENCE,
        metric: Metric | None = None,
    ) -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " g"]]:
        """The lower and upper end for each prediction; those of a fraction stay within [0, 1]."""
        reach = self.width(confidence) * (spread + self.base)
        low, high = predicted - reach, predicted + reach
        if metric is not None and metric.unit == "fraction":
            low, high = low.clip(0, 1), high.clip(0, 1)
        return low, high

    def warning(self, confidence: float) -> str:
        """Why intervals of this confidence are unbounded, and what to do; empty if they are not."""
        if math.isfinite(self.width(confidence)):
            return ""
        if not self.scores:
            return "Intervals are unbounded: no label was left to calibrate them on; train with more labels."
        most = math.floor(1000 * self.most) / 1000
        return (
            f"Intervals are unbounded: --confidence {confidence:g} needs "
            f"{math.ceil(confidence / (1 - confidence) - _ROUNDING)} held-out labels, and there are "
            f"{len(self.scores)}, which tell at most {most:g}; ask for that, or train with more labels."
        )


@dataclass(frozen=True)
class HeldOut:
    """How wrong predictors were about labels that they had not seen.

    Attributes:
        errors: absolute, in the labels' unit.
        spread: of each prediction; 0 where the predictor knows none.
        how: how the labels were held out, in words.
    """

    errors: Float[np.ndarray, " n"]
    spread: Float[np.ndarray, " n"]
    how: str

    @classmethod
    def joined(cls, parts: Sequence[HeldOut], how: str) -> HeldOut:
        """Those of several predictors."""
        if not parts:
            return cls(np.zeros(0), np.zeros(0), how)
        return cls(np.concatenate([p.errors for p in parts]), np.concatenate([p.spread for p in parts]), how)

    def calibration(self) -> Calibration:
        """Intervals from these errors."""
        base = DAMPING * float(np.median(self.spread)) if self.spread.any() else 1.0
        return Calibration(np.sort(self.errors / (self.spread + base)).tolist(), base, self.how)


def calibrate(
    fit: Fit,
    data: Labelled,
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    progress: Progress = silent,
) -> Calibration:
    """The intervals that follow from the errors of predictors on labels held out from them, see ``held_out``."""
    return held_out(fit, data, seed=seed, groups=groups, progress=progress).calibration()


def held_out(
    fit: Fit,
    data: Labelled,
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    progress: Progress = silent,
) -> HeldOut:
    """The errors of predictors that ``fit`` makes from parts of the labels, on the other parts.

    From ``ENOUGH_FOR_A_HOLDOUT`` labels on, one fit is asked about a fifth of the labels that
    it did not see (split conformal). With fewer, ``FOLDS`` fits are each asked about the fold
    that they did not see (cross-conformal). Isomorphic graphs are never on both sides. The
    intervals are then used with a predictor that learnt from all labels, which is usually
    better than those that were asked, so that they are rather too wide than too narrow.

    Args:
        fit: makes a predictor from labels.
        data: the labels that may be learnt from.
        seed: of the splits.
        groups: one value a graph, equal for isomorphic ones; found out if ``None``.
        progress: told which fit is done.
    """
    splits = _splits(groups_of(data.graphs) if groups is None else groups, seed)
    parts = []
    for done, split in enumerate(splits, start=1):
        predicted, spread = predict_with_spread(fit(data.take(split.train)), data.graphs.take(split.test))
        parts.append(HeldOut(np.abs(data.labels[split.test] - predicted), spread, "one part"))
        progress(done, len(splits))
    return HeldOut.joined(parts, _words(splits, len(data)))


def _splits(groups: Sequence[Hashable], seed: int) -> list[Split]:
    different = len(set(groups))
    if different < 2:
        return []
    if len(groups) < ENOUGH_FOR_A_HOLDOUT:
        return k_fold(groups, min(FOLDS, different), seed=seed)
    return [holdout(groups, len(groups) - min(round(HOLDOUT_SHARE * len(groups)), HOLDOUT_MOST), seed=seed)]


def _words(splits: Sequence[Split], labels: int) -> str:
    if not splits:
        return f"none: {labels} labels of one architecture"
    if len(splits) == 1:
        return f"split-conformal: {len(splits[0].test)} of {labels} labels held out"
    return f"cross-conformal: {len(splits)} folds of {labels} labels"
