"""The smallest predictor that is adaptable and uncertain, beside those of the reference plugin.

It is a plugin of its own, so that the reference plugin has one predictor. Importing it
imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.contracts import AdaptableRegistration, FitReport, Labelled, Predictor, Progress, Registration
from aiop_core.errors import LabelError, OptionError, WeightsError
from aiop_core.graph.model import GraphSet
from aiop_core.hookspecs import hookimpl
from aiop_core.options import option, suggest
from aiop_core.testing.reference import ReferencePredictor

FILE = "adaptable.json"
BASE = "base"
"""What ``fit`` learnt is called beside what ``adapt`` learnt."""


@dataclass(frozen=True)
class AdaptOptions:
    """How a further data set is learnt."""

    ridge: float = option(1e-6, "penalty of large weights", minimum=0)


@dataclass(frozen=True)
class TuneOptions:
    """How the predictor comes to a target."""

    what: str = option("line", "what the labels decide: a line, or only its offset", choices=("line", "offset"))
    adapters: tuple[str, ...] = option((), "whose predictions are averaged; all by default")


class AdaptableReference:
    """Least squares on the logarithms of sizes, once for each data set; a line brings their mean to the target."""

    def __init__(self) -> None:
        self._weights: dict[str, np.ndarray[Any, Any]] = {}
        self._chosen: tuple[str, ...] = ()
        self._line = (1.0, 0.0)

    def fit(self, train: Labelled, *, seed: int, device: str, progress: Progress) -> FitReport:
        """Solve once; labels of several data sets are standardised set by set."""
        labels = _finite(train.labels)
        sets = np.zeros(len(labels), dtype=np.int64) if train.sets is None else train.sets
        targets, scale, offset = np.empty(len(labels)), 1.0, 0.0
        for number in np.unique(sets):
            chosen = sets == number
            targets[chosen], scale, offset = _standardised(labels[chosen])
        self._weights, self._chosen = {BASE: _solve(train.graphs, targets, 1e-6)}, ()
        self._line = (scale, offset) if train.sets is None else (1.0, 0.0)
        progress(1, 1)
        return FitReport()

    def adapt(
        self, name: str, source: Labelled, options: AdaptOptions, *, seed: int, device: str, progress: Progress
    ) -> FitReport:
        """Solve for this data set beside the others."""
        self._fitted()
        if name in self._weights:
            raise OptionError(f"'{name}' is learnt already; taken are: {', '.join(self._weights)}")
        targets, _, _ = _standardised(_finite(source.labels))
        self._weights[name] = _solve(source.graphs, targets, options.ridge)
        self._chosen, self._line = (), (1.0, 0.0)
        progress(1, 1)
        return FitReport()

    def tune(self, target: Labelled, options: TuneOptions, *, seed: int, device: str, progress: Progress) -> FitReport:
        """Fit the line."""
        self._fitted()
        labels = _finite(target.labels)
        for name in options.adapters:
            if name not in self._weights:
                raise OptionError(f"option 'tune.adapters' names '{name}'; {suggest(name, self._weights)}")
        self._chosen = options.adapters
        raw = self._raw(target.graphs)
        slope = float(np.std(labels))
        if options.what == "line" and np.ptp(raw) > 0:
            slope = float(np.polyfit(raw, labels, 1)[0])
        self._line = (slope, float(labels.mean() - slope * raw.mean()))
        progress(1, 1)
        return FitReport()

    def predict(self, graphs: GraphSet) -> np.ndarray[Any, Any]:
        """The line through the mean of what the chosen data sets say."""
        slope, offset = self._line
        return slope * self._raw(graphs) + offset

    def spread(self, graphs: GraphSet) -> np.ndarray[Any, Any]:
        """How far the data sets differ; a little more, so that it is never 0."""
        found = np.stack([ReferencePredictor.features(graphs) @ weights for weights in self._fitted().values()])
        spread: np.ndarray[Any, Any] = found.std(axis=0) + 0.01
        return spread

    def save(self, folder: Path) -> None:
        """One JSON file."""
        weights = {name: values.tolist() for name, values in self._fitted().items()}
        (folder / FILE).write_text(json.dumps({"weights": weights, "chosen": self._chosen, "line": self._line}))

    def load(self, folder: Path) -> None:
        """Read that file back."""
        try:
            data = json.loads((folder / FILE).read_text())
            self._weights = {name: np.array(values) for name, values in data["weights"].items()}
            self._chosen, self._line = tuple(data["chosen"]), (data["line"][0], data["line"][1])
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise WeightsError(f"'{folder / FILE}' cannot be read ({error}); give a folder that 'save' wrote") from None

    def _fitted(self) -> dict[str, np.ndarray[Any, Any]]:
        if not self._weights:
            raise WeightsError("the adaptable reference is not fitted yet; call fit or load")
        return self._weights

    def _raw(self, graphs: GraphSet) -> np.ndarray[Any, Any]:
        known, features = self._fitted(), ReferencePredictor.features(graphs)
        raw: np.ndarray[Any, Any] = np.mean([features @ known[name] for name in self._chosen or known], axis=0)
        return raw


def _finite(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if not len(labels) or not np.isfinite(labels).all():
        raise LabelError("labels are missing or hold a value that is not finite; drop those records")
    return labels


def _standardised(labels: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], float, float]:
    scale, offset = float(labels.std()) or 1.0, float(labels.mean())
    return (labels - offset) / scale, scale, offset


def _solve(graphs: GraphSet, targets: np.ndarray[Any, Any], ridge: float) -> np.ndarray[Any, Any]:
    features = ReferencePredictor.features(graphs)
    gram = features.T @ features + (ridge + 1e-9) * np.eye(features.shape[1])
    weights: np.ndarray[Any, Any] = np.linalg.solve(gram, features.T @ targets)
    return weights


@hookimpl
def aiop_register_predictors() -> Sequence[Registration[Predictor]]:
    """The adaptable reference."""
    summary = "Least squares on sizes for several data sets, for tests."
    return [
        AdaptableRegistration(
            "adaptable",
            summary,
            lambda _: AdaptableReference(),
            adapt_options=AdaptOptions,
            tune_options=TuneOptions,
        )
    ]
