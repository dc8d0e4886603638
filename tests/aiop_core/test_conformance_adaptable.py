"""The kit passes the adaptable reference, and each check fails on one that is broken in just that way."""

import json
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from aiop_core.contracts import AdaptableRegistration, silent
from aiop_core.errors import OptionError, PluginError, WeightsError
from aiop_core.options import option
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_core.testing import check_predictor, conformance_tests, reference_adaptable, run_checks
from aiop_core.testing.predictors import example
from aiop_core.testing.reference import hookimpl
from aiop_core.testing.reference_adaptable import AdaptableReference, AdaptOptions, TuneOptions
from aiop_core.testing.transfer import ADAPTABLE_CHECKS


@conformance_tests("predictor", reference_adaptable.aiop_register_predictors()[0], uses={"adapt": {"ridge": 0.1}})
def test_adaptable_reference(check):
    check()


class Aligned(AdaptableReference):
    """Looks at how large the target's graphs are."""

    shift = 0.0

    def align(self, graphs, options):
        self.shift = 0.01 * float(np.log(graphs.sizes).mean())

    def predict(self, graphs):
        return super().predict(graphs) + self.shift


@conformance_tests(
    "predictor",
    AdaptableRegistration("a", "", lambda _: Aligned(), adapt_options=AdaptOptions, tune_options=TuneOptions),
)
def test_an_aligning_predictor(check):
    check()


class MixesScales(AdaptableReference):
    def fit(self, train, **how):
        return super().fit(
            replace(train, labels=np.where(train.sets == 1, -train.labels, train.labels), sets=None), **how
        )


class GivesNanForSets(AdaptableReference):
    def fit(self, train, **how):
        self.several = train.sets is not None
        return super().fit(train, **how)

    def predict(self, graphs):
        return np.full(len(graphs), np.nan) if self.several else super().predict(graphs)


class LearnsTheFirstSetOnly(AdaptableReference):
    def fit(self, train, **how):
        chosen = np.arange(len(train)) if train.sets is None else np.flatnonzero(train.sets == 0)
        return super().fit(train.take(chosen), **how)


class AlignsFromTheGlobalState(Aligned):
    def align(self, graphs, options):
        self.shift = float(torch.rand(()))


class TunesAfterAligningFromTheGlobalState(Aligned):
    def align(self, graphs, options):
        self.scale = float(torch.rand(()))

    def tune(self, target, options, **how):
        return super().tune(replace(target, labels=target.labels + getattr(self, "scale", 0)), options, **how)


class AlignsToNothing(Aligned):
    def align(self, graphs, options):
        self.shift = np.nan


class AlignsInPlace(Aligned):
    def align(self, graphs, options):
        graphs.columns["op"][:] = 0


class AdaptsFromTheGlobalState(AdaptableReference):
    def adapt(self, name, source, options, **how):
        return super().adapt(name, source.take(torch.randperm(len(source))[:6].numpy()), options, **how)


class AdaptsOnTopOfTheLast(AdaptableReference):
    def adapt(self, name, source, options, **how):
        rest = source.labels - self._raw(source.graphs)
        return super().adapt(name, replace(source, labels=rest), options, **how)


class ForgetsNames(AdaptableReference):
    def adapt(self, name, source, options, **how):
        self._weights.pop(name, None)
        return super().adapt(name, source, options, **how)


class RaisesKeyErrors(AdaptableReference):
    def adapt(self, name, source, options, **how):
        try:
            return super().adapt(name, source, options, **how)
        except OptionError:
            raise KeyError(name) from None


class KeepsItsUnit(AdaptableReference):
    def tune(self, target, options, **how):
        report = super().tune(target, options, **how)
        self._line = (1.0, 0.0)
        return report


class TunesFromTheGlobalState(AdaptableReference):
    def tune(self, target, options, **how):
        return super().tune(target.take(torch.randperm(len(target))[:4].numpy()), options, **how)


class ForgetsAdapters(AdaptableReference):
    def save(self, folder):
        super().save(folder)
        path = folder / "adaptable.json"
        data = json.loads(path.read_text())
        path.write_text(json.dumps(data | {"weights": {"base": data["weights"]["base"]}}))


class ForgetsTheTarget(AdaptableReference):
    def save(self, folder):
        super().save(folder)
        path = folder / "adaptable.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"line": [1.0, 0.0]}))


class TunesFromWhatWasFittedHere(AdaptableReference):
    def fit(self, train, **how):
        self.here = True
        return super().fit(train, **how)

    def tune(self, target, options, **how):
        shift = 0.0 if getattr(self, "here", False) else 0.5
        return super().tune(replace(target, labels=target.labels + shift), options, **how)


class TakesAnyTarget(AdaptableReference):
    def tune(self, target, options, **how):
        return super().tune(replace(target, labels=np.nan_to_num(target.labels)), options, **how)


class RaisesOnNan(AdaptableReference):
    def adapt(self, name, source, options, **how):
        if np.isnan(source.labels).any():
            raise FloatingPointError("nan")
        return super().adapt(name, source, options, **how)


class CentresTargetsInPlace(AdaptableReference):
    def tune(self, target, options, **how):
        report = super().tune(target, options, **how)
        np.subtract(target.labels, 1, out=target.labels)
        return report


ALIGNING = "aligning needs no labels and no seed"

BROKEN = [
    (MixesScales, "fitting takes labels of several sets", "scale each set by itself"),
    (GivesNanForSets, "fitting takes labels of several sets", "something else than one finite number a graph"),
    (LearnsTheFirstSetOnly, "fitting learns every set", r"does not rank the second \(correlation -"),
    (AlignsFromTheGlobalState, ALIGNING, "two alignments to the same graphs predict differently"),
    (TunesAfterAligningFromTheGlobalState, ALIGNING, "two tunings with seed 7 after align predict differently"),
    (AlignsToNothing, ALIGNING, "something else than one finite number"),
    (AlignsInPlace, ALIGNING, "align changed the graphs"),
    (AdaptsFromTheGlobalState, "adapting is seeded", "two adaptations with seed 7 predict differently"),
    (AdaptsOnTopOfTheLast, "adapting keeps what was known", "depends on their order"),
    (ForgetsNames, "names of data sets are used once", "learnt two data sets by one name"),
    (RaisesKeyErrors, "names of data sets are used once", "raised KeyError for a used name instead of OptionError"),
    (KeepsItsUnit, "tuning speaks in the unit of the target", "tuned to labels between 14 and 19, predictions reach"),
    (TunesFromTheGlobalState, "tuning is seeded", "two tunings with seed 7 predict differently"),
    (ForgetsAdapters, "saving and loading keeps what was adapted", "predicts otherwise when loaded"),
    (ForgetsTheTarget, "saving and loading keeps what was adapted", "a tuned predictor predicts otherwise"),
    (TunesFromWhatWasFittedHere, "saving and loading keeps what was adapted", "is tuned otherwise when loaded"),
    (TakesAnyTarget, "further labels that are not finite are refused", "tune took a label that is nan"),
    (RaisesOnNan, "further labels that are not finite are refused", "adapt raised FloatingPointError for a label nan"),
    (CentresTargetsInPlace, "adapting and tuning leave their inputs alone", "tune changed the labels"),
]


def results(broken):
    registration = AdaptableRegistration(
        "broken", "", lambda _: broken(), adapt_options=AdaptOptions, tune_options=TuneOptions
    )
    return run_checks("predictor", registration)


@pytest.mark.parametrize(("broken", "name", "message"), BROKEN, ids=lambda v: v.__name__ if isinstance(v, type) else "")
def test_broken_adaptable_fails_its_check(broken, name, message):
    result = next(result for result in results(broken) if result.name == name)
    assert not result.passed
    assert re.search(message, result.message), result.message
    assert "\n" not in result.message


def test_every_check_of_an_adaptable_has_one_that_fails_it():
    assert {f.__name__.replace("_", " ") for f in ADAPTABLE_CHECKS} == {name for _, name, _ in BROKEN}


class NegativeSpread(AdaptableReference):
    def spread(self, graphs):
        return -super().spread(graphs)


class SpreadOverTheBatch(AdaptableReference):
    def spread(self, graphs):
        return super().spread(graphs) * len(graphs)


class OneSpread(AdaptableReference):
    def spread(self, graphs):
        return 0.5


class SpreadOfThisProcess(AdaptableReference):
    def load(self, folder):
        super().load(folder)
        self.factor = 2.0

    def spread(self, graphs):
        return super().spread(graphs) * getattr(self, "factor", 1.0)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (NegativeSpread, "not finite and positive"),
        (SpreadOverTheBatch, "the first graph alone has another spread"),
        (OneSpread, "spread gave float of shape"),
        (SpreadOfThisProcess, "a loaded predictor has another spread"),
    ],
)
def test_a_bad_spread_is_found(broken, message):
    name = "a spread is one positive number a graph"
    result = next(result for result in check_predictor(broken) if result.name == name)
    assert not result.passed
    assert re.search(message, result.message), result.message


def registered(**options):
    class Plugin:
        @staticmethod
        @hookimpl
        def aiop_register_predictors():
            return [AdaptableRegistration("a", "", lambda _: AdaptableReference(), **options)]

    return PluginRegistry([PluginSource("p", "aiop-p", "0", lambda: Plugin)], strict=True)


def test_options_of_uses_are_checked_when_they_are_registered():
    with pytest.raises(PluginError, match="must be a frozen dataclass"):
        registered(tune_options=dict)
    with pytest.raises(PluginError, match="must be a frozen dataclass"):
        registered(adapt_options=dict)
    assert registered(adapt_options=AdaptOptions, tune_options=TuneOptions).names("predictor") == ["a"]


def test_options_of_uses_need_help():
    @dataclass(frozen=True)
    class Silent:
        lr: float = option(0.1, "")

    registration = AdaptableRegistration("a", "", lambda _: AdaptableReference(), tune_options=Silent)
    first = run_checks("predictor", registration)[0]
    assert "option 'lr' has no help" in first.message


def test_the_adaptable_reference_says_what_is_wrong(tmp_path):
    with pytest.raises(WeightsError, match="not fitted yet; call fit or load"):
        AdaptableReference().predict(example().graphs)
    predictor, how = AdaptableReference(), {"seed": 0, "device": "cpu", "progress": silent}
    predictor.fit(example(), **how)
    with pytest.raises(OptionError, match=r"option 'tune.adapters' names 'sceen'; .*allowed are: base"):
        predictor.tune(example(), TuneOptions(adapters=("sceen",)), **how)
    (tmp_path / "adaptable.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"cannot be read .*; give a folder that 'save' wrote"):
        predictor.load(tmp_path)
    offset = AdaptableReference()
    offset.fit(example(), **how)
    offset.tune(example(), TuneOptions(what="offset"), **how)
    assert abs(offset.predict(example().graphs).mean() - example().labels.mean()) < 1e-9
