"""The kit passes the reference plugin, and each of its checks fails on a plugin broken in just that way."""

import json
import pickle
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from aiop_core.contracts import FitReport, Level, Metric, Registration
from aiop_core.errors import ContractError, LabelError, SpecError
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.trace import trace
from aiop_core.options import option
from aiop_core.testing import (
    Check,
    check_family,
    check_predictor,
    check_task,
    conformance_tests,
    reference,
    run_checks,
)
from aiop_core.testing.families import FAMILY_CHECKS
from aiop_core.testing.predictors import PREDICTOR_CHECKS
from aiop_core.testing.reference import Chain, ReferenceFamily, ReferencePredictor, ReferenceTask, TaskOptions
from aiop_core.testing.reference_modules import reference_backbone
from aiop_core.testing.tasks import TASK_CHECKS

FAMILY = reference.aiop_register_families()[0]
TASK = reference.aiop_register_tasks()[0]
PREDICTOR = reference.aiop_register_predictors()[0]


@conformance_tests("family", FAMILY)
def test_reference_family(check):
    check()


@conformance_tests("task", TASK, {"images": 16, "epochs": "1"})
def test_reference_task(check):
    check()


@conformance_tests("predictor", PREDICTOR)
def test_reference_predictor(check):
    check()


# --- Families, each with one broken promise -------------------------------------------


class RepeatsItself(ReferenceFamily):
    def sample(self, count, *, seed):
        return super().sample(1, seed=seed) * count


class GivesTooFew(ReferenceFamily):
    def sample(self, count, *, seed):
        return super().sample(count, seed=seed)[:2]


class IgnoresTheSeed(ReferenceFamily):
    def sample(self, count, *, seed):
        return super().sample(count, seed=0)


class SamplesFromTheGlobalState(ReferenceFamily):
    def sample(self, count, *, seed):
        return super().sample(count, seed=int(torch.randint(1000, ())))


class SeedsNumpy(ReferenceFamily):
    def sample(self, count, *, seed):
        np.random.seed(seed)
        return super().sample(count, seed=seed)


class ParsesAnotherArchitecture(ReferenceFamily):
    def parse(self, spec):
        return replace(super().parse(spec), width=8)


@dataclass(frozen=True, eq=False)
class ChainById(Chain):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class ComparesById(ReferenceFamily):
    def all(self):
        return [ChainById(c.depth, c.width, c.kernel) for c in super().all()]

    def parse(self, spec):
        found = ReferenceFamily().parse(spec)
        return ChainById(found.depth, found.width, found.kernel)


class TakesAnySpec(ReferenceFamily):
    def parse(self, spec):
        try:
            return super().parse(spec)
        except SpecError:
            return self.all()[0]


class RaisesTheWrongError(ReferenceFamily):
    def parse(self, spec):
        depth, width, kernel = (int(part[1:]) for part in spec.split("-"))
        return Chain(depth, width, kernel)


class DeclaresAnotherWidth(ReferenceFamily):
    def backbone(self, architecture):
        body = super().backbone(architecture)
        body.levels = tuple(Level(level.channels + 1, level.stride) for level in body.levels)
        return body


class ListsTheCoarsestFirst(ReferenceFamily):
    def backbone(self, architecture):
        body = super().backbone(architecture)
        body.levels = body.levels[::-1]
        return body


class RoundsDown(ReferenceFamily):
    def backbone(self, architecture):
        body = super().backbone(architecture)
        forward = body.forward
        body.forward = lambda images: forward(images[..., : images.shape[-2] // 32 * 32, : images.shape[-1] // 32 * 32])
        return body


class GivesFeatureMaps(ReferenceFamily):
    def network(self, architecture):
        return nn.Sequential(nn.Conv2d(3, 4, 3))


class GivesNan(ReferenceFamily):
    def network(self, architecture):
        network = super().network(architecture)
        nn.init.constant_(network.classifier.bias, torch.nan)
        return network


class ForgetsTheActivations(ReferenceFamily):
    def graph(self, architecture, input_hw):
        builder = GraphBuilder()
        node = builder.input(input_hw)
        for position in range(5 * architecture.depth):
            stride = 2 if position % architecture.depth == 0 else 1
            node = builder.batch_norm(builder.conv(node, architecture.width, architecture.kernel, stride=stride))
        builder.output(builder.linear(builder.mean(node), 10))
        return builder.build()


class KnowsOneSizeOnly(ReferenceFamily):
    def graph(self, architecture, input_hw):
        return super().graph(architecture, self.input_hw)


class LosesParameters(ReferenceFamily):
    def graph(self, architecture, input_hw):
        graph = super().graph(architecture, input_hw)
        return replace(graph, params=graph.params // 2)


BROKEN_FAMILIES = [
    (RepeatsItself, "sampling gives as many distinct architectures as asked", "gave one architecture twice"),
    (GivesTooFew, "sampling gives as many distinct architectures as asked", "gave 2 architectures"),
    (IgnoresTheSeed, "sampling is seeded", "eight seeds all gave"),
    (SamplesFromTheGlobalState, "sampling is seeded", "and the next time"),
    (SamplesFromTheGlobalState, "sampling touches no global random state", "random state of torch"),
    (SeedsNumpy, "sampling touches no global random state", "random state of numpy"),
    (ParsesAnotherArchitecture, "specs round trip", "has the spec"),
    (ComparesById, "specs round trip", "compare and hash by spec"),
    (TakesAnySpec, "malformed specs are refused", "instead of raising SpecError"),
    (RaisesTheWrongError, "malformed specs are refused", "raised ValueError instead of SpecError"),
    (DeclaresAnotherWidth, "backbone levels are as declared", r"declared is \(2, \d, "),
    (ListsTheCoarsestFirst, "backbone levels are as declared", "list the finest first"),
    (RoundsDown, "backbone levels are as declared", r"level 0 of a \(95, 65\) input"),
    (GivesFeatureMaps, "network gives one row of class scores", r"expected \(1, classes\)"),
    (GivesNan, "network gives one row of class scores", "not finite"),
    (ForgetsTheActivations, "graph equals the traced network", "more in the traced graph: ReLU"),
    (KnowsOneSizeOnly, "graph equals the traced network", r"at \(96, 128\): 1 more in the composed graph: Input"),
    (LosesParameters, "graph counts every parameter", r"counts \d+ parameters, the module has"),
]


# --- Tasks ----------------------------------------------------------------------------


class Small(ReferenceTask):
    def __init__(self):
        super().__init__(TaskOptions(images=16, epochs=1))


class MeasuresNothing(Small):
    metrics = ()


class MeasuresTwiceTheSame(Small):
    metrics = (Metric("accuracy"), Metric("accuracy"))


class HasNoData(Small):
    def prepare(self):
        raise FileNotFoundError("joints.mat")


class CopiesTheBackbone(Small):
    def model(self, backbone):
        return super().model(reference_backbone())


class GivesNoModule(Small):
    def model(self, backbone):
        return lambda images: images


class NamesTheGraphOtherwise(Small):
    def graphs(self, model):
        return {"accuracy": next(iter(super().graphs(model).values()))}


class TracesAtAnotherSize(Small):
    def graphs(self, model):
        return {self.metrics[0].name: trace(model, (3, 64, 64))}


class TracesAnotherModel(Small):
    def graphs(self, model):
        return super().graphs(nn.Conv2d(3, 400, 9))


class ForgetsAMetric(Small):
    metrics = (*ReferenceTask.metrics, Metric("loss", unit="nats"))

    def graphs(self, model):
        graph = next(iter(super().graphs(model).values()))
        return {metric.name: graph for metric in self.metrics}


class GivesPercent(Small):
    def evaluate(self, model, *, device):
        return {name: 100 * value + 2 for name, value in super().evaluate(model, device=device).items()}


class EvaluatesToNan(Small):
    def evaluate(self, model, *, device):
        return {self.metrics[0].name: float("nan")}


class UpdatesStatistics(Small):
    def evaluate(self, model, *, device):
        model.train()
        model(torch.ones(4, 3, 32, 32))
        return super().evaluate(model, device=device)


class EvaluatesOnRandomImages(Small):
    def evaluate(self, model, *, device):
        return {self.metrics[0].name: float(torch.rand(()))}


class TrainsFromTheGlobalState(Small):
    def train(self, model, *, seed, device, progress):
        super().train(model, seed=int(torch.randint(1000, ())), device=device, progress=progress)


class DoesNotTrain(Small):
    def train(self, model, *, seed, device, progress):
        progress(1, 1)


BROKEN_TASKS = [
    (MeasuresNothing, "metrics have unique names", "metrics is empty"),
    (MeasuresTwiceTheSame, "metrics have unique names", "each needs its own"),
    (HasNoData, "data are prepared", "FileNotFoundError: joints.mat"),
    (CopiesTheBackbone, "model holds the backbone", "the model lacks the backbone's"),
    (GivesNoModule, "model holds the backbone", "expected a torch.nn.Module"),
    (NamesTheGraphOtherwise, "graphs belong to the metrics", r"keys \['accuracy'\]"),
    (TracesAtAnotherSize, "graphs belong to the metrics", r"starts from \(64, 64\), input_hw is \(32, 32\)"),
    (TracesAnotherModel, "graphs belong to the metrics", r"counts \d+ parameters, the model has"),
    (ForgetsAMetric, "evaluation gives exactly the metrics", r"evaluate gave \['quarter_accuracy'\]"),
    (GivesPercent, "evaluation gives exactly the metrics", "a fraction lies between 0 and 1"),
    (EvaluatesToNan, "evaluation gives exactly the metrics", "metrics must be finite"),
    (UpdatesStatistics, "evaluation repeats and leaves the model alone", "is the model in evaluation mode"),
    (EvaluatesOnRandomImages, "evaluation repeats and leaves the model alone", "and then"),
    (TrainsFromTheGlobalState, "training is seeded and changes the weights", "two trainings with seed 7 differ"),
    (DoesNotTrain, "training is seeded and changes the weights", "left every weight as it was"),
]


# --- Predictors -----------------------------------------------------------------------


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


class Claims(ReferencePredictor):
    asks = "Size matters."


BROKEN_PREDICTORS = [
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
    (Claims, "a baseline asks a question", "write it as a question"),
]


# --- Each check can fail --------------------------------------------------------------


def _id(value):
    return value.__name__ if isinstance(value, type) else "x"


def outcome(results, name):
    return next(result for result in results if result.name == name)


@pytest.mark.parametrize(("broken", "name", "message"), BROKEN_FAMILIES, ids=_id)
def test_broken_family_fails_its_check(broken, name, message):
    failed(check_family(broken()), name, message)


@pytest.mark.parametrize(("broken", "name", "message"), BROKEN_TASKS, ids=_id)
def test_broken_task_fails_its_check(broken, name, message):
    failed(check_task(broken(), reference_backbone), name, message)


@pytest.mark.parametrize(("broken", "name", "message"), BROKEN_PREDICTORS, ids=_id)
def test_broken_predictor_fails_its_check(broken, name, message):
    failed(check_predictor(broken), name, message)


def failed(results, name, message):
    result = outcome(results, name)
    assert not result.passed
    assert re.search(message, result.message), result.message
    assert "\n" not in result.message


def test_every_check_has_a_plugin_that_fails_it():
    proved = {name for rows in (BROKEN_FAMILIES, BROKEN_TASKS, BROKEN_PREDICTORS) for _, name, _ in rows}
    checks = {f.__name__.replace("_", " ") for f in (*FAMILY_CHECKS, *TASK_CHECKS, *PREDICTOR_CHECKS)}
    assert checks == proved


# --- Registrations --------------------------------------------------------------------


@dataclass(frozen=True)
class Undocumented:
    width: int = 3


@dataclass(frozen=True)
class WithoutDefault:
    width: int


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Undocumented, "option 'width' has no help"),
        (WithoutDefault, "option 'width' of WithoutDefault needs a default"),
    ],
)
def test_options_without_help_or_default_fail(options, message):
    results = run_checks("profiler", Registration("toy", "A toy.", lambda o: object(), options))
    failed(results, "options have defaults and help", message)


def test_creating_that_seeds_torch_fails():
    results = run_checks("profiler", Registration("toy", "A toy.", lambda o: torch.manual_seed(0)))
    failed(results, "creating touches no global random state", "create changed the global random state of torch")


def test_creating_that_raises_fails_and_so_does_everything_else():
    def create(options):
        raise OSError("no such\ndisk")

    results = run_checks("family", Registration("toy", "A toy.", create))
    assert [r.name for r in results if r.passed] == ["options have defaults and help"]
    failed(results, "specs round trip", "OSError: no such disk")


@dataclass(frozen=True)
class Seen:
    width: int = option(1, "width multiplier")


@pytest.mark.parametrize(("given", "width"), [(None, 1), ({"width": "7"}, 7), (Seen(5), 5)])
def test_options_may_be_defaults_values_or_an_instance(given, width):
    seen = []
    run_checks("profiler", Registration("toy", "A toy.", seen.append, Seen), given)
    assert {options.width for options in seen} == {width}


# --- Expected failures ----------------------------------------------------------------

COPIES = Registration("copies", "A toy.", lambda _: CopiesTheBackbone())


def test_an_expected_failure_with_a_reason_passes():
    name = "model holds the backbone"
    results = run_checks("task", COPIES, expected_failures={name: "the toy copies it on purpose"})
    assert all(result.passed for result in results)


def test_an_expected_failure_that_passes_fails():
    results = run_checks("task", TASK, {"images": 16}, expected_failures={"data are prepared": "no disk"})
    failed(results, "data are prepared", r"passes, though it is expected to fail \(no disk\)")


def test_an_expected_failure_needs_a_reason():
    with pytest.raises(ContractError, match="expected failure 'specs round trip' needs a reason"):
        run_checks("family", FAMILY, expected_failures={"specs round trip": " "})


def test_an_expected_failure_must_name_a_check():
    with pytest.raises(ContractError, match="'specs round trips' is no check; did you mean 'specs round trip'"):
        run_checks("family", FAMILY, expected_failures={"specs round trips": "?"})


def test_checks_show_what_they_raise():
    assert Check("x", lambda: None).result().passed
    with pytest.raises(ZeroDivisionError):
        Check("x", lambda: 1 / 0)()
    assert Check("x", lambda: 1 / 0).result().message == "ZeroDivisionError: division by zero"


def test_reference_family_refuses_to_give_more_than_it_has():
    with pytest.raises(SpecError, match="13 distinct architectures asked, the reference family has 12"):
        ReferenceFamily().sample(13, seed=0)


def test_reference_predictor_reports_its_fit():
    from aiop_core.contracts import silent
    from aiop_core.testing.predictors import example

    report = ReferencePredictor().fit(example(), seed=0, device="cpu", progress=silent)
    assert isinstance(report, FitReport)
    assert 0 < report.values["mae"] < 0.05
