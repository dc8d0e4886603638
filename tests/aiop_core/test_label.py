"""A label follows from the run's seed and the architecture, and from nothing else."""

import torch

from aiop_core.pipeline.label import Labeller
from aiop_core.pipeline.view import Quiet
from aiop_core.records.record import Record
from aiop_core.testing.reference import ReferenceFamily, ReferenceTask, TaskOptions


class Untrained(ReferenceTask):
    """Keeps the model as it was made."""

    def train(self, model, *, seed, device, progress):
        self.first = torch.cat([p.detach().flatten() for p in model.parameters()])


def first_weights(seed: int, *, drawn_before: int = 0) -> torch.Tensor:
    family, task = ReferenceFamily(), Untrained(TaskOptions(images=8))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        torch.rand(drawn_before)
        Labeller("reference", family, "reference", task, seed, "cpu").label(family.parse("d1-w4-k3"), Quiet())
    return task.first


def test_first_weights_follow_from_the_seed() -> None:
    assert torch.equal(first_weights(1), first_weights(1))
    assert not torch.equal(first_weights(1), first_weights(2))


def test_what_was_drawn_before_does_not_matter_and_the_global_state_stays() -> None:
    assert torch.equal(first_weights(1), first_weights(1, drawn_before=7))
    family, task = ReferenceFamily(), Untrained(TaskOptions(images=8))
    before = torch.get_rng_state()
    Labeller("reference", family, "reference", task, 1, "cpu").label(family.parse("d1-w4-k3"), Quiet())
    assert torch.equal(torch.get_rng_state(), before)


class Detailed(Untrained):
    """Measures two things besides its metric, of which one is not defined."""

    def evaluate_in_detail(self, model, *, device):
        return {"quarter_accuracy": 0.25}, {"quarter_accuracy/upper left": 0.5, "of none": float("nan")}


def test_what_is_measured_beside_the_metrics_is_kept_and_no_score() -> None:
    family, task = ReferenceFamily(), Detailed(TaskOptions(images=8))
    record = Labeller("reference", family, "reference", task, 1, "cpu").label(family.parse("d1-w4-k3"), Quiet())
    assert record.labels == {"quarter_accuracy": 0.25}
    assert record.details == {"quarter_accuracy/upper left": 0.5}
    assert record.scores == {}
    assert Record.from_json(record.to_json()).details == record.details
