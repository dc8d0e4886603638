"""How far a saved predictor may be believed: intervals, where they hold, and whether they held."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aiop_core.contracts import Labelled, Metric
from aiop_core.pipeline.calibrate import (
    CONFIDENCE,
    Calibration,
    Fit,
    HeldOut,
    calibrate,
    held_out,
    predict_with_spread,
)
from aiop_core.pipeline.domain import Domain
from aiop_core.pipeline.fit import groups_of
from aiop_core.pipeline.scores import number_text
from aiop_core.pipeline.view import View
from aiop_core.records.splits import holdout

ENOUGH_OF_ALL = 0.6
"""A test part's errors count for the final predictor, too, if the fit that was tested learnt from this part of the
labels: it is nearly as good, and nothing more needs to be fitted."""


@dataclass(frozen=True)
class Coverage:
    """How intervals did on labels that neither predictor nor calibration had seen.

    Attributes:
        confidence: what was asked.
        covered: the share of labels that lie in their interval.
        width: the mean distance between an interval's ends, in the labels' unit.
        learnt: how many labels predictor and calibration had.
        test: how many labels were in the count.
    """

    confidence: float
    covered: float
    width: float
    learnt: int
    test: int

    def text(self, metric: Metric) -> str:
        """In one line."""
        return (
            f"Intervals of {self.confidence:.0%} held {self.covered:.1%} of {self.test} labels that nothing had seen; "
            f"mean width {number_text(self.width, 'mae', metric)}, from {self.learnt} labels"
        )


@dataclass(frozen=True)
class Trust:
    """What a predictor's card says beside its scores.

    Attributes:
        calibration: gives intervals; ``None`` for numbers in no unit, which only rank.
        domain: what the graphs it learnt from were like.
        coverage: of such intervals on a test part; ``None`` where none was left over.
    """

    calibration: Calibration | None
    domain: Domain
    coverage: Coverage | None = None

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Trust:
        """What ``to_json`` gave.

        Raises:
            KeyError, TypeError, ValueError: if it is something else.
        """
        held = table["coverage"]
        if held and held["width"] is None:  # JSON has no infinity
            held = held | {"width": math.inf}
        return cls(
            Calibration.from_json(table["calibration"]) if table["calibration"] is not None else None,
            Domain.from_json(table["domain"]),
            Coverage(**held) if held else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        held = asdict(self.coverage) if self.coverage else None
        scores = self.calibration.to_json() if self.calibration else None
        return {"calibration": scores, "domain": self.domain.to_json(), "coverage": held}


def learn_trust(
    fit: Fit,
    data: Labelled,
    metric: Metric,
    *,
    seed: int,
    view: View,
    train: int | None = None,
    groups: Sequence[Hashable] | None = None,
) -> Trust:
    """Calibrate a predictor that learns from all of ``data``.

    Args:
        fit: makes the predictor from labels.
        data: all that it learns from.
        metric: of the labels.
        seed: of the splits.
        view: where progress is shown.
        train: also learn and calibrate on so many labels alone, and count on the others how
            often intervals hold; the split is that of ``hold_out`` with this size and seed.
        groups: one value a graph, equal for isomorphic ones; found out if ``None``.
    """
    groups = groups_of(data.graphs) if groups is None else groups
    domain = Domain.of(data.graphs)
    if train is None:
        return Trust(calibrate(fit, data, seed=seed, groups=groups, progress=view.stage("intervals")), domain)
    split = holdout(groups, train, seed=seed)
    known, test = data.take(split.train), data.take(split.test)
    own = [groups[i] for i in split.train]
    part = held_out(fit, known, seed=seed, groups=own, progress=view.stage("coverage of intervals"))
    predictor = fit(known)
    predicted, spread = predict_with_spread(predictor, test.graphs)
    low, high = part.calibration().intervals(predicted, spread, metric=metric)
    inside = float(np.mean((low <= test.labels) & (test.labels <= high)))
    covered = Coverage(CONFIDENCE, inside, float(np.mean(high - low)), len(known), len(test))
    if len(known) < ENOUGH_OF_ALL * len(data):
        return Trust(calibrate(fit, data, seed=seed, groups=groups, progress=view.stage("intervals")), domain, covered)
    rest = HeldOut(np.abs(test.labels - predicted), spread, "the test part")
    how = f"{part.how}, and {len(test)} labels by a fit on all of these"
    return Trust(HeldOut.joined([part, rest], how).calibration(), domain, covered)
