"""The kit passes the reference predictor, and each check fails on one that is broken in just that way."""

import json
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from aiop_core.contracts import BaselineRegistration, silent
from aiop_core.errors import LabelError, WeightsError
from aiop_core.testing import check_predictor, conformance_tests, reference, run_checks
from aiop_core.testing.predictors import PREDICTOR_CHECKS, example
from aiop_core.testing.reference import ReferencePredictor


@conformance_tests("predictor", reference.aiop_register_predictors()[0])
def test_reference_predictor(check):
    check()


class GivesAColumn(ReferencePredictor):
    def predict(self, graphs):
        return super().predict(graphs)[:, None]


class PredictsNan(ReferencePredictor):
    def predict(self, graphs):
        return np.full(len(graphs), np.nan)


class ForgetsToScaleBack(ReferencePredictor):
    def predict(self, graphs):
        return 1000 * super().predict(graphs)


class FitsFromTheGlobalState(ReferencePredictor):
    def fit(self, train, *, seed, device, progress):
        chosen = torch.randperm(len(train))[:6].numpy()
        return super().fit(train.take(chosen), seed=seed, device=device, progress=progress)


class NormalisesOverTheBatch(ReferencePredictor):
    def predict(self, graphs):
        found = super().predict(graphs)
        return found - found.mean() + 0.6


class ForgetsTheOrder(ReferencePredictor):
    def predict(self, graphs):
        return np.sort(super().predict(graphs))


class SavesTooLittle(ReferencePredictor):
    def save(self, folder):
        (folder / "least_squares.json").write_text(json.dumps([0.5, 0, 0, 0]))


class SavesAPickle(ReferencePredictor):
    def save(self, folder):
        super().save(folder)
        (folder / "weights.bin").write_bytes(pickle.dumps([1.0]))


class SavesATorchFile(ReferencePredictor):
    def save(self, folder):
        super().save(folder)
        torch.save(torch.zeros(1), folder / "weights.bin")


class SavesNothing(ReferencePredictor):
    def save(self, folder):
        pass


class LoadsNothing(ReferencePredictor):
    def load(self, folder):
        self._weights = np.zeros(4)


class RaisesOnLoad(ReferencePredictor):
    def load(self, folder):
        (folder / "least_squares.json").read_text()


class TakesAnyLabel(ReferencePredictor):
    def fit(self, train, *, seed, device, progress):
        labels = np.nan_to_num(train.labels, posinf=1.0)
        return super().fit(replace(train, labels=labels), seed=seed, device=device, progress=progress)


class RaisesOnNan(ReferencePredictor):
    def fit(self, train, *, seed, device, progress):
        try:
            return super().fit(train, seed=seed, device=device, progress=progress)
        except LabelError:
            raise FloatingPointError("nan") from None


class CentresLabelsInPlace(ReferencePredictor):
    def fit(self, train, *, seed, device, progress):
        report = super().fit(train, seed=seed, device=device, progress=progress)
        train.labels.flags.writeable and np.subtract(train.labels, 0.1, out=train.labels)
        return report


class ChangesGraphs(ReferencePredictor):
    def predict(self, graphs):
        found = super().predict(graphs)
        if graphs.columns["bias"].flags.writeable:
            graphs.columns["bias"][:] = True
        return found


class SpreadsNothing(ReferencePredictor):
    def spread(self, graphs):
        return np.zeros(len(graphs))


BROKEN = [
    (GivesAColumn, "predictions are one finite number a graph", r"shape \(12, 1\) for 12 graphs"),
    (PredictsNan, "predictions are one finite number a graph", "not finite"),
    (ForgetsToScaleBack, "predictions are one finite number a graph", "undo the scaling of labels"),
    (FitsFromTheGlobalState, "fitting is seeded", "two fits with seed 7 predict differently"),
    (NormalisesOverTheBatch, "predictions do not depend on the other graphs", "the first graph alone"),
    (ForgetsTheOrder, "predictions do not depend on the other graphs", "change with the graphs' order"),
    (SavesTooLittle, "saving and loading keeps predictions", "a loaded predictor predicts otherwise"),
    (SavesAPickle, "saving writes no pickles", "save wrote 'weights.bin', a pickle"),
    (SavesATorchFile, "saving writes no pickles", "save wrote 'weights.bin', a pickle"),
    (SavesNothing, "saving writes no pickles", "save wrote no file"),
    (LoadsNothing, "loading from an empty folder is refused", "load took an empty folder"),
    (RaisesOnLoad, "loading from an empty folder is refused", "FileNotFoundError instead of WeightsError"),
    (TakesAnyLabel, "labels that are not finite are refused", "fit took a label that is nan"),
    (RaisesOnNan, "labels that are not finite are refused", "raised FloatingPointError for a label nan"),
    (CentresLabelsInPlace, "fitting leaves its inputs alone", "changed the labels"),
    (ChangesGraphs, "fitting leaves its inputs alone", "changed the graphs"),
    (SpreadsNothing, "a spread is one positive number a graph", "not finite and positive"),
]


@pytest.mark.parametrize(("broken", "name", "message"), BROKEN, ids=lambda v: v.__name__ if isinstance(v, type) else "")
def test_broken_predictor_fails_its_check(broken, name, message):
    result = next(result for result in check_predictor(broken) if result.name == name)
    assert not result.passed
    assert re.search(message, result.message), result.message
    assert "\n" not in result.message


def test_every_check_of_a_predictor_has_one_that_fails_it():
    assert {f.__name__.replace("_", " ") for f in PREDICTOR_CHECKS} == {name for _, name, _ in BROKEN}


def test_reference_predictor_reports_its_fit():
    report = ReferencePredictor().fit(example(), seed=0, device="cpu", progress=silent)
    assert 0 < report.values["mae"] < 0.05


def test_reference_predictor_refuses_to_predict_before_it_is_fitted():
    with pytest.raises(WeightsError, match="not fitted yet; call fit or load"):
        ReferencePredictor().predict(example().graphs)


def test_a_baseline_asks_a_question():
    def asked(asks):
        registration = BaselineRegistration("b", "", lambda _: ReferencePredictor(), asks=asks)
        return next(r for r in run_checks("predictor", registration) if r.name == "a baseline asks a question")

    assert asked("does size alone tell?").passed
    assert "asks is 'Size matters.'; write what a reader learns from it as a question" in asked("Size matters.").message
