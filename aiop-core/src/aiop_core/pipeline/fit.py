"""Fitting: a predictor and the baselines on the same data, judged on what they did not see."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from aiop_core.contracts import AdaptableRegistration, BaselineRegistration, Labelled, Predictor, Progress, silent
from aiop_core.errors import ContractError, SplitError
from aiop_core.graph.fingerprints import fingerprints
from aiop_core.graph.model import GraphSet
from aiop_core.metrics import RESAMPLES, Interval, summarise
from aiop_core.pipeline.rounds import Round, RoundLog
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry
from aiop_core.records.splits import Split, holdout, k_fold

RESAMPLED = 2_000_000
"""Values drawn for one bootstrap at most: large test sets have narrow intervals, which fewer resamples tell as well."""

UNDEFINED = (math.nan, math.nan, math.nan)


class Learner(Protocol):
    """What judging needs of a predictor."""

    def fit(self, train: Labelled, *, seed: int, device: str, progress: Progress) -> Any:
        """Learn from ``train`` alone."""
        ...

    def predict(self, graphs: GraphSet) -> np.ndarray[Any, Any]:
        """One number for each graph."""
        ...


class Learn(Protocol):
    """How a predictor comes to labels: it is fitted, or tuned."""

    def __call__(self, predictor: Any, labels: Labelled, *, seed: int, device: str, progress: Progress) -> Any:
        """Teach ``predictor`` the ``labels``."""
        ...


def fit(predictor: Predictor, labels: Labelled, *, seed: int, device: str, progress: Progress) -> None:
    """Learn from scratch."""
    predictor.fit(labels, seed=seed, device=device, progress=progress)


@dataclass(frozen=True)
class Contender:
    """A predictor in a comparison.

    Attributes:
        name: in tables and results.
        make: gives a fresh one.
        asks: the question of a baseline.
        joint: it learns several data sets at once, and then only ranks; others learn each
            data set by itself.
        learn: how it comes to labels.
    """

    name: str
    make: Callable[[], Predictor]
    asks: str = ""
    joint: bool = False
    learn: Learn = fit


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
    adaptable = isinstance(registry.get("predictor", name).registration, AdaptableRegistration)
    make = partial(registry.create, "predictor", name, options)
    return [Contender(name, make, _asks(registry, name), joint=adaptable), *baselines(registry, but=name)]


def baselines(registry: PluginRegistry, *, but: str = "") -> list[Contender]:
    """Every installed baseline with its default options, except the predictor named ``but``."""
    return [
        Contender(plugin.name, partial(registry.create, "predictor", plugin.name), plugin.registration.asks)
        for plugin in registry.plugins()
        if plugin.kind == "predictor" and plugin.name != but and isinstance(plugin.registration, BaselineRegistration)
    ]


def _asks(registry: PluginRegistry, name: str) -> str:
    registration = registry.get("predictor", name).registration
    return registration.asks if isinstance(registration, BaselineRegistration) else ""


def fitted(contender: Contender, data: Labelled, *, seed: int, device: str, progress: Progress = silent) -> Predictor:
    """A fresh one that has learnt from ``data``."""
    predictor = contender.make()
    contender.learn(predictor, data, seed=seed, device=device, progress=progress)
    return predictor


def groups_of(graphs: GraphSet) -> list[str]:
    """One value a graph, equal for isomorphic ones: what splits keep together."""
    return fingerprints(graphs)


def scores_of(
    measured: np.ndarray[Any, Any],
    predicted: np.ndarray[Any, Any],
    *,
    seed: int,
    higher_is_better: bool,
    ranks_only: bool = False,
) -> dict[str, Interval]:
    """Every metric with its bootstrap interval; no error where predictions are in no unit."""
    resamples = min(RESAMPLES, max(RESAMPLED // len(measured), 100))
    scores = summarise(measured, predicted, seed=seed, resamples=resamples, higher_is_better=higher_is_better)
    return {**scores, "mae": UNDEFINED} if ranks_only else scores


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
            values, taken = _fit_predict(contender, data, split.train, split.test, seed, device)
            predicted[contender.name][split.test] = values
            seconds[contender.name] += taken
            progress(i * len(field_of) + j + 1, total, contender.name)
    scores = {
        name: summarise(data.labels, values, seed=seed, higher_is_better=higher_is_better)
        for name, values in predicted.items()
    }
    return Comparison(data.labels, predicted, scores, seconds)


def hold_out(
    field_of: Sequence[Contender],
    data: Labelled,
    *,
    groups: Sequence[Hashable] | None = None,
    names: Sequence[str] = ("",),
    higher_is_better: bool = True,
    sizes: Sequence[int],
    seeds: Sequence[int],
    test_all: bool = False,
    device: str,
    view: View,
    log: RoundLog | None = None,
) -> list[Round]:
    """For each training size and seed: fit on that many records, test on the rest.

    Args:
        field_of: who is compared.
        data: of one or several sets; each set has its share on both sides, and is judged by itself.
        groups: one value for each record, see :mod:`~aiop_core.records.splits`; by default
            equal for isomorphic graphs.
        names: of the sets.
        higher_is_better: the direction of all labels.
        sizes: how many labels to learn from, over all sets.
        seeds: of splits and fits.
        test_all: test on every record, those that were learnt from included.
        device: a torch device.
        view: told how far it is.
        log: rounds that are done already, and where to keep new ones.

    Raises:
        SplitError: if a size leaves nothing to train or to test on.
    """
    groups = groups_of(data.graphs) if groups is None else groups
    strata = None if data.sets is None else data.sets.tolist()
    log = RoundLog() if log is None else log
    splits = {(size, seed): holdout(groups, size, seed=seed, strata=strata) for size in sizes for seed in seeds}
    for (size, _), split in splits.items():
        _check_sides(split, data, names, size, test_all)
    fits = [(size, seed, contender) for size, seed in splits for contender in field_of]
    done = sum(log.get(size, seed, contender.name) is not None for size, seed, contender in fits)
    if done:
        view.say(f"{done} of {len(fits)} fits were done before: kept; --restart does them again")
    progress = view.stage("predictors")
    if done < len(fits):
        progress(done, len(fits))
    rounds: list[Round] = []
    for size, seed, contender in fits:
        found = log.get(size, seed, contender.name)
        if found is None:
            split = splits[size, seed]
            found = [
                Round(size, learnt, seed, contender.name, len(tested), scores, round(seconds, 3), number)
                for number, learnt, tested, scores, seconds in _judged(
                    contender, data, len(names), split, higher_is_better, seed, test_all, device
                )
            ]
            log.append(found)
            done += 1
            progress(done, len(fits), f"{contender.name}, {size} labels, seed {seed}")
        rounds += found
    return rounds


def _check_sides(split: Split, data: Labelled, names: Sequence[str], size: int, test_all: bool) -> None:
    """Make sure, before anything is fitted, that each data set has labels on both sides."""
    sets = _sets(data)
    for number, name in enumerate(names):
        sides = (split.train,) if test_all else (split.train, split.test)
        if not all((sets[side] == number).any() for side in sides):
            raise SplitError(f"{size} labels to learn from leave a side of '{name}' empty; choose another --train")


def _sets(data: Labelled) -> np.ndarray[Any, Any]:
    return np.zeros(len(data), dtype=np.int64) if data.sets is None else data.sets


def _judged(
    contender: Contender,
    data: Labelled,
    count: int,
    split: Split,
    higher_is_better: bool,
    seed: int,
    test_all: bool,
    device: str,
) -> Iterator[tuple[int, int, np.ndarray[Any, Any], dict[str, Interval], float]]:
    """For each of ``count`` data sets its number, how many labels were learnt, what was tested, scores and seconds."""
    tested = np.arange(len(data)) if test_all else split.test
    sets = _sets(data)
    several = data.sets is not None
    predicted, seconds = np.empty(len(data)), 0.0
    if not several or contender.joint:
        predicted[tested], seconds = _fit_predict(contender, data, split.train, tested, seed, device)
    for number in range(count):
        learn, judge = (side[sets[side] == number] for side in (split.train, tested))
        if several and not contender.joint:
            alone = Labelled(data.graphs, data.labels)
            predicted[judge], seconds = _fit_predict(contender, alone, learn, judge, seed, device)
        scores = scores_of(
            data.labels[judge],
            predicted[judge],
            seed=seed,
            higher_is_better=higher_is_better,
            ranks_only=several and contender.joint,
        )
        yield number, len(split.train) if contender.joint else len(learn), judge, scores, seconds


def _fit_predict(
    contender: Contender,
    data: Labelled,
    learn: np.ndarray[Any, Any],
    tested: np.ndarray[Any, Any],
    seed: int,
    device: str,
) -> tuple[np.ndarray[Any, Any], float]:
    started = time.perf_counter()
    predictor = fitted(contender, data.take(learn), seed=seed, device=device)
    predicted = predictions(contender.name, predictor, data.graphs.take(tested))
    return predicted, time.perf_counter() - started


def predictions(name: str, predictor: Learner, graphs: GraphSet) -> np.ndarray[Any, Any]:
    """What ``predictor`` says of ``graphs``.

    Raises:
        ContractError: if it is not one finite number a graph.
    """
    predicted = np.asarray(predictor.predict(graphs), dtype=np.float64)
    if predicted.shape != (len(graphs),) or not np.isfinite(predicted).all():
        raise ContractError(
            f"predictor '{name}' gave {predicted.shape} values for {len(graphs)} graphs, "
            "or some that are not finite; 'aiop check' tells more"
        )
    return predicted
