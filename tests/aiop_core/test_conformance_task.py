"""The kit passes the reference task, and each check fails on one that is broken in just that way."""

import re

import pytest
import torch
from torch import nn

from aiop_core.contracts import Metric
from aiop_core.graph.trace import trace
from aiop_core.testing import check_task, conformance_tests, reference
from aiop_core.testing.reference import ReferenceTask, TaskOptions
from aiop_core.testing.reference_modules import reference_backbone
from aiop_core.testing.tasks import TASK_CHECKS


@conformance_tests("task", reference.aiop_register_tasks()[0], {"images": 16, "epochs": "1"})
def test_reference_task(check):
    check()


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


BROKEN = [
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


@pytest.mark.parametrize(("broken", "name", "message"), BROKEN, ids=lambda v: v.__name__ if isinstance(v, type) else "")
def test_broken_task_fails_its_check(broken, name, message):
    result = next(result for result in check_task(broken(), reference_backbone) if result.name == name)
    assert not result.passed
    assert re.search(message, result.message), result.message
    assert "\n" not in result.message


def test_every_check_of_a_task_has_one_that_fails_it():
    assert {f.__name__.replace("_", " ") for f in TASK_CHECKS} == {name for _, name, _ in BROKEN}
