"""Fitting: a predictor and the baselines on the same data, judged on what they did not see."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from aiop_core.contracts import BaselineRegistration, Labelled, Predictor, silent
from aiop_core.errors import ContractError
from aiop_core.graph.model import GraphSet
from aiop_core.metrics import Interval, summarise
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry
from aiop_core.records.splits import Split, holdout, k_fold


@dataclass(frozen=True)
class Contender:
    """A predictor in a comparison: how to make a fresh one, and what it asks if a baseline."""

    name: str
    make: Callable[[], Predictor]
    asks: str = ""


@dataclass(frozen=True)
class Comparison:
    """Predictions of every contender for records that it did not learn from.

    Attributes:
        measured: (n,) labels.
        predicted: contender name to (n,) predictions.
        scores: contender name to metric name to (value, low, high).
        seconds: contender name to the time of all fits.
    """

    measured: np.ndarray[Any, Any]
    predicted: Mapping[str, np.ndarray[Any, Any]]
    scores: Mapping[str, Mapping[str, Interval]]
    seconds: Mapping[str, float] = field(default_factory=dict)


def contenders(registry: PluginRegistry, name: str, options: Any) -> list[Contender]:
    """The chosen predictor, then every installed baseline with its default options."""
    chosen = [Contender(name, partial(registry.create, "predictor", name, options), _asks(registry, name))]
    return chosen + [
        Contender(plugin.name, partial(registry.create, "predictor", plugin.name), plugin.registration.asks)
        for plugin in registry.plugins()
        if plugin.kind == "predictor" and plugin.name != name and isinstance(plugin.registration, BaselineRegistration)
    ]


def _asks(registry: PluginRegistry, name: str) -> str:
    registration = registry.get("predictor", name).registration
    return registration.asks if isinstance(registration, BaselineRegistration) else ""


def groups_of(graphs: GraphSet) -> list[str]:
    """One value a graph, equal for isomorphic ones: what splits keep together."""
    return [graph.fingerprint for graph in graphs]


def cross_validate(
    field_of: Sequence[Contender],
    data: Labelled,
    *,
    higher_is_better: bool = True,
    folds: int,
    seed: int,
    device: str,
    view: View,
) -> Comparison:
    """Every record predicted by a fit on the other folds.

    Raises:
        SplitError: if there are fewer different graphs than folds.
    """
    splits = k_fold(groups_of(data.graphs), folds, seed=seed)
    predicted = {c.name: np.full(len(data), np.nan) for c in field_of}
    seconds = dict.fromkeys(predicted, 0.0)
    progress = view.stage("predictors")
    total = len(splits) * len(field_of)
    for i, split in enumerate(splits):
        for j, contender in enumerate(field_of):
            started = time.perf_counter()
            predicted[contender.name][split.test] = _fit_predict(contender, data, split, seed, device)
            seconds[contender.name] += time.perf_counter() - started
            progress(i * len(field_of) + j + 1, total, contender.name)
    scores = {
        name: summarise(data.labels, values, seed=seed, higher_is_better=higher_is_better)
        for name, values in predicted.items()
    }
    return Comparison(data.labels, predicted, scores, seconds)


@dataclass(frozen=True)
class Round:
    """One contender, trained on some labels, judged on all others.

    Attributes:
        train: how many labels were asked for.
        learnt: how many it learnt from; isomorphic graphs stay together.
        seed: of split and fit.
        name: the contender's.
        test: how many labels it was judged on.
        scores: metric name to (value, low, high).
        seconds: of fit and prediction.
    """

    train: int
    learnt: int
    seed: int
    name: str
    test: int
    scores: Mapping[str, Interval]
    seconds: float


def hold_out(
    field_of: Sequence[Contender],
    data: Labelled,
    *,
    higher_is_better: bool = True,
    sizes: Sequence[int],
    seeds: Sequence[int],
    device: str,
    view: View,
) -> list[Round]:
    """For each training size and seed: fit on that many records, test on the rest.

    Raises:
        SplitError: if a size leaves nothing to train or to test on.
    """
    groups = groups_of(data.graphs)
    splits = {(size, seed): holdout(groups, size, seed=seed) for size in sizes for seed in seeds}
    progress = view.stage("predictors")
    rounds = []
    for (size, seed), split in splits.items():
        for contender in field_of:
            started = time.perf_counter()
            predicted = _fit_predict(contender, data, split, seed, device)
            seconds = time.perf_counter() - started
            measured = data.labels[split.test]
            scores = summarise(measured, predicted, seed=seed, higher_is_better=higher_is_better)
            rounds.append(
                Round(size, len(split.train), seed, contender.name, len(split.test), scores, round(seconds, 3))
            )
            progress(len(rounds), len(splits) * len(field_of), f"{contender.name}, {size} labels, seed {seed}")
    return rounds


def _fit_predict(contender: Contender, data: Labelled, split: Split, seed: int, device: str) -> np.ndarray[Any, Any]:
    predictor = contender.make()
    predictor.fit(data.take(split.train), seed=seed, device=device, progress=silent)
    predicted = np.asarray(predictor.predict(data.graphs.take(split.test)), dtype=np.float64)
    if predicted.shape != split.test.shape or not np.isfinite(predicted).all():
        raise ContractError(
            f"predictor '{contender.name}' gave {predicted.shape} values for {len(split.test)} graphs, "
            "or some that are not finite; 'aiop check' tells more"
        )
    return predicted
