"""Labelling: train and measure each architecture, and keep what came out of it for good."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aiop_core.capabilities import Detailed, Sharing
from aiop_core.contracts import Architecture, Backbone, Executor, Family, InProcess, Profiler, Progress, Task
from aiop_core.errors import AiopError, ContractError, DataError, LabelError, StoreError, WeightsError
from aiop_core.graph.cost import cost
from aiop_core.pipeline.initialisation import architecture_seed, initialisation
from aiop_core.pipeline.prepare import prepare
from aiop_core.pipeline.provenance import versions
from aiop_core.pipeline.view import View
from aiop_core.records.record import Record
from aiop_core.records.store import LabelStore

if TYPE_CHECKING:
    from torch import nn


class Trainer(Protocol):
    """How a body comes to be measured; a task is one itself, for individual labels."""

    def model(self, backbone: Backbone) -> nn.Module:
        """The backbone with a head."""
        ...

    def train(self, model: nn.Module, *, seed: int, device: str, progress: Progress) -> None:
        """Train ``model`` in place."""
        ...


@dataclass(frozen=True)
class SharedHead:
    """The trainer of shared labels: a head that is trained already, and fine-tuned for short on each body.

    Attributes:
        task: that trained it.
        folder: where it lies.
        options: how it is fine-tuned.
    """

    task: Sharing
    folder: Path
    options: Any

    def model(self, backbone: Backbone) -> nn.Module:
        """The backbone with the shared head."""
        return self.task.attach(backbone, self.folder)

    def train(self, model: nn.Module, *, seed: int, device: str, progress: Progress) -> None:
        """Fine-tune ``model`` in place."""
        self.task.finetune(model, self.options, seed=seed, device=device, progress=progress)


@dataclass(frozen=True)
class Labeller:
    """Makes the record of one architecture: train, measure, count.

    Attributes:
        family_name: as registered.
        family: the search space.
        task_name: as registered.
        task: what to train for.
        seed: of the run; each architecture gets its own seed from it and its spec, so that
            a label depends neither on the order nor on what else is labelled.
        device: a torch device.
        profilers: by name; what they say is stored beside the labels.
        score_sources: for each of them its version and options.
        trainer: makes and trains the model; the task itself by default.
        origin: stands in each record's provenance.
    """

    family_name: str
    family: Family[Any]
    task_name: str
    task: Task
    seed: int
    device: str
    profilers: Mapping[str, Profiler] = field(default_factory=dict)
    score_sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trainer: Trainer | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)

    def label(self, architecture: Architecture, view: View) -> Record:
        """Train and measure one architecture.

        Raises:
            LabelError: if a measured value is not finite or outside its unit.
            ContractError: if the task does not measure exactly its metrics.
        """
        started = time.perf_counter()
        seed = architecture_seed(self.seed, architecture.spec)
        trainer: Trainer = self.trainer or self.task
        with initialisation(seed):
            model = trainer.model(self.family.backbone(architecture))
        graphs = dict(self.task.graphs(model))
        scores = {
            f"{name}/{key}": float(value)
            for name, profiler in self.profilers.items()
            for key, value in profiler.profile(model, (3, *self.task.input_hw)).items()
        }
        trainer.train(model, seed=seed, device=self.device, progress=view.stage(architecture.spec))
        found, details = self._measured(model)
        labels = {name: float(value) for name, value in found.items()}
        self._check(architecture, labels, graphs)
        return Record(
            self.family_name,
            architecture.spec,
            self.task_name,
            labels,
            graphs,
            {name: cost(graph) for name, graph in graphs.items()},
            scores,
            {"seed": seed, "seconds": round(time.perf_counter() - started, 3), "device": self.device}
            | versions()
            | dict(self.origin),
            self.score_sources,
            details={name: float(value) for name, value in details.items() if math.isfinite(value)},
        )

    def _measured(self, model: nn.Module) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """The metrics, and what the task measures beside them."""
        task: Any = self.task
        if not hasattr(task, "evaluate_in_detail"):
            return self.task.evaluate(model, device=self.device), {}
        detailed: Detailed = task
        found: Any = detailed.evaluate_in_detail(model, device=self.device)
        if not (isinstance(found, tuple) and [isinstance(part, Mapping) for part in found] == [True, True]):
            raise ContractError(f"'evaluate_in_detail' of the task '{self.task_name}' gave no pair of mappings")
        metrics, details = found
        return metrics, details

    def _check(self, architecture: Architecture, labels: Mapping[str, float], graphs: Mapping[str, Any]) -> None:
        names = [metric.name for metric in self.task.metrics]
        for what, found in (("evaluate", labels), ("graphs", graphs)):
            if sorted(found) != sorted(names):
                raise ContractError(
                    f"'{what}' of the task '{self.task_name}' gives {sorted(found)}, its metrics are {sorted(names)}"
                )
        for metric in self.task.metrics:
            value = labels[metric.name]
            if not math.isfinite(value):
                raise LabelError(f"{metric.name} of {architecture.spec} is {value}; it was not stored")
            if metric.unit == "fraction" and not 0 <= value <= 1:
                raise LabelError(f"{metric.name} of {architecture.spec} is {value}, not a fraction from 0 to 1")


@dataclass
class LabelSummary:
    """What a labelling step did, by spec."""

    labelled: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{len(self.labelled)} labelled"]
        parts += [f"{len(self.skipped)} were labelled before and skipped"] if self.skipped else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        return ", ".join(parts)


def label_architectures(
    labeller: Labeller,
    architectures: Sequence[Architecture],
    store: LabelStore,
    view: View,
    executor: Executor | None = None,
) -> LabelSummary:
    """Label what the store does not have yet; each finished one is stored at once.

    An architecture that another process is labelling is left to it, and waited for at the
    end. One that gives no valid label is reported and left out; the same command tries
    it again.

    Raises:
        StoreError: if a record cannot be written.
        DataError: if the task's data are not there.
        LabelError: if every architecture that was left failed.
    """
    summary = LabelSummary(skipped=[a.spec for a in architectures if a.spec in store])
    pending = [a for a in architectures if a.spec not in store]
    if summary.skipped:
        view.say(f"{len(summary.skipped)} of {len(architectures)} architectures are labelled already: skipped")
    if not pending:
        return summary
    prepare(labeller.task, view)
    progress = view.stage("architectures")
    progress(len(summary.skipped), len(architectures))

    def attempt(architecture: Architecture, *, wait: bool = False) -> tuple[Architecture, str]:
        with store.claim(architecture.spec, wait=wait) as free:
            if not free:
                return architecture, "done" if architecture.spec in store else "elsewhere"
            try:
                store.append(labeller.label(architecture, view))
            except (StoreError, DataError, WeightsError, ContractError):
                raise
            except (AiopError, RuntimeError) as error:  # torch raises RuntimeError, for want of memory too
                return architecture, f"failed: {str(error).strip().splitlines()[0]}"
        return architecture, "labelled"

    runner = executor or InProcess()
    elsewhere: list[Architecture] = []
    for job, todo in ((attempt, pending), (partial(attempt, wait=True), elsewhere)):
        for architecture, outcome in runner.map(job, todo):
            if outcome == "elsewhere":
                elsewhere.append(architecture)
                continue
            if outcome == "labelled":
                summary.labelled.append(architecture.spec)
            elif outcome == "done":
                summary.skipped.append(architecture.spec)
            else:
                summary.failed[architecture.spec] = outcome.removeprefix("failed: ")
                view.say(f"no label for {architecture.spec}: {summary.failed[architecture.spec]}")
            finished = len(summary.labelled) + len(summary.skipped) + len(summary.failed)
            progress(finished, len(architectures))
    if len(summary.failed) == len(pending):
        raise LabelError(f"no architecture could be labelled; the first: {next(iter(summary.failed.values()))}")
    return summary
