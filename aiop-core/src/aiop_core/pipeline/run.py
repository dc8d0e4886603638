"""``aiop run``: sample, label, collect, fit, report; what a killed run finished stays finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiop_core.contracts import Architecture, Executor, Family, Metric, Task
from aiop_core.errors import OptionError, SplitError
from aiop_core.metrics import Interval
from aiop_core.options import options_dict, suggest
from aiop_core.pipeline.calibrate import fitting
from aiop_core.pipeline.collect import collect
from aiop_core.pipeline.fit import Comparison, Contender, contenders, cross_validate, groups_of
from aiop_core.pipeline.label import Labeller, LabelSummary, SharedHead, label_architectures
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.report import ReportRow, RunReport, write_report
from aiop_core.pipeline.saved import PredictorCard, save_predictor
from aiop_core.pipeline.scoring import profiler_source
from aiop_core.pipeline.shared_head import (
    SharePlan,
    decided,
    fingerprints,
    head_identity,
    sharing_task,
    train_head_with_latents,
)
from aiop_core.pipeline.trust import learn_trust
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry, Selection
from aiop_core.records.cache import GraphCache
from aiop_core.records.json_file import write_json
from aiop_core.records.store import HEADER, LabelStore

MIN_LABELS = 4
"""Fewer labels than this tell nothing about a predictor."""


@dataclass(frozen=True)
class LabelPlan:
    """What to label: everything that ``aiop label`` needs.

    Attributes:
        out: the run folder.
        family: the search space, with its options.
        task: what to train for, with its options.
        count: how many architectures to sample.
        start: leave out the first ones of the sample.
        seed: of the sample and of every training.
        device: a torch device.
        profilers: names.
        executor: a name, or in this process.
        head: the folder of a shared head, for shared labels; else labels are individual.
        shared: how the shared head is fine-tuned, as the task's registration says.
    """

    out: Path
    family: Selection
    task: Selection
    count: int
    start: int
    seed: int
    device: str
    profilers: tuple[str, ...] = ()
    executor: str | None = None
    head: Path | None = None
    shared: Any = None

    @property
    def identity(self) -> dict[str, Any]:
        """What the options decide of a label; a run folder holds labels of one identity."""
        return {
            "family": self.family.to_json(runtime=False),
            "task": self.task.to_json(runtime=False),
            "seed": self.seed,
        }

    def config(self) -> dict[str, Any]:
        """As a config file of ``aiop label``."""
        return {
            "family": self.family.to_json(),
            "task": self.task.to_json(),
            "count": self.count,
            "start": self.start,
            "seed": self.seed,
            "profiler": list(self.profilers),
            **({"executor": self.executor} if self.executor else {}),
            **({"mode": "shared", "head": str(self.head), "shared": options_dict(self.shared)} if self.head else {}),
        }


@dataclass(frozen=True)
class LabelledRun:
    """What the labelling half of a run leaves."""

    family: Family[Any]
    task: Task
    store: LabelStore
    summary: LabelSummary


def sample(family: Family[Any], plan: LabelPlan) -> list[Architecture]:
    """The plan's slice of the family's seeded sample."""
    architectures: list[Architecture] = family.sample(plan.start + plan.count, seed=plan.seed)
    return architectures[plan.start :]


def label(
    registry: PluginRegistry, plan: LabelPlan, view: View, config: Mapping[str, Any] | None = None
) -> LabelledRun:
    """Sample and label; architectures that the folder has already are skipped.

    Args:
        registry: of what is installed.
        plan: what to label.
        view: told how far it is.
        config: of the command, for ``options.json``; that of ``aiop label`` by default.

    Raises:
        StoreError: if the folder holds labels made with other options.
    """
    family: Family[Any] = registry.make(plan.family)
    task: Task = registry.make(plan.task)
    executor: Executor | None = registry.create("executor", plan.executor) if plan.executor else None
    profilers = {name: registry.create("profiler", name) for name in plan.profilers}
    sources = {name: profiler_source(registry, Selection("profiler", name, None)) for name in plan.profilers}
    prints = fingerprints(family, task)
    identity, trainer, origin = plan.identity | {"task": decided(plan.task, task)} | prints, None, {}
    if plan.head is not None:
        trainer = SharedHead(sharing_task(registry, plan.task), plan.head, plan.shared)
        identity["head"] = head_identity(plan.head, plan.family, prints)
        identity["shared"] = options_dict(plan.shared, runtime=False)
        origin = {"shared_head": identity["head"]}
    store = LabelStore(plan.out, identity | {"metrics": [_identity(metric) for metric in task.metrics]})
    write_json(plan.out / "options.json", config or plan.config())
    if hasattr(task, "resolved"):
        write_json(plan.out / "resolved.json", task.resolved())
    labeller = Labeller(
        plan.family.name, family, plan.task.name, task, plan.seed, plan.device, profilers, sources, trainer, origin
    )
    summary = label_architectures(labeller, sample(family, plan), store, view, executor)
    return LabelledRun(family, task, store, summary)


def _identity(metric: Metric) -> dict[str, Any]:
    """What decides a metric's values; its description may be reworded."""
    return {"name": metric.name, "unit": metric.unit, "higher_is_better": metric.higher_is_better}


def metric_named(task: Task, name: str | None) -> Metric:
    """The task's metric of that name, its main one by default.

    Raises:
        OptionError: if the task does not measure it.
    """
    metrics = {metric.name: metric for metric in task.metrics}
    if name is not None and name not in metrics:
        raise OptionError(f"the task does not measure '{name}'; {suggest(name, metrics)}")
    return metrics[name] if name else task.metrics[0]


@dataclass(frozen=True)
class RunPlan:
    """Everything that ``aiop run`` needs.

    Attributes:
        labels: what to label.
        predictor: what learns from the labels, with its options.
        metric: what to predict; the task's main one if ``None``.
        folds: of the cross-validation.
        sharing: latents and a shared head that are made first, if the labels need one and none is given.
    """

    labels: LabelPlan
    predictor: Selection
    metric: str | None
    folds: int
    sharing: tuple[SharePlan, SharePlan] | None = None

    def config(self) -> dict[str, Any]:
        """As a config file of ``aiop run``."""
        config = self.labels.config() | {"predictor": self.predictor.to_json(), "folds": self.folds}
        del config["start"]
        if "mode" in config:
            config["labels"] = config.pop("mode")
        if self.metric:
            config["metric"] = self.metric
        if self.sharing:
            latents, head = self.sharing
            config |= {"latents": options_dict(latents.options), "head": options_dict(head.options)}
        return config


@dataclass(frozen=True)
class RunResult:
    """What a run ends with: the labels, how each predictor did on them, and where things lie.

    Attributes:
        out: the run folder.
        cache: the labels and graphs that predictors learnt from.
        comparison: how each predictor did.
        summary: what was labelled in this run.
        evaluation: how predictions were judged, as a sentence.
        measured: mean, lowest and highest label of each of the task's metrics.
    """

    out: Path
    cache: GraphCache
    comparison: Comparison
    summary: LabelSummary
    evaluation: str
    measured: Mapping[Metric, Interval]


def run(registry: PluginRegistry, whole: RunPlan, view: View) -> RunResult:
    """The whole run, from architectures to a saved predictor and a report.

    Every architecture is predicted once by predictors that did not learn from it
    (cross-validation); the saved predictor then learns from all.

    Raises:
        SplitError: if there are fewer labels than ``MIN_LABELS``.
    """
    plan, predictor = whole.labels, whole.predictor
    metric = metric_named(registry.make(plan.task), whole.metric)  # before anything is trained
    if plan.count < MIN_LABELS and not (plan.out / HEADER).exists():
        raise _too_few(plan.count)
    config = replace(whole, metric=metric.name).config()
    if whole.sharing:
        train_head_with_latents(registry, *whole.sharing, view)
    done = label(registry, plan, view, config)
    view.say(f"labels: {done.summary}")
    origin = provenance() | {"seed": plan.seed}
    graphs = {"family": plan.family.to_json(), "task": plan.task.to_json()}
    cache = collect(done.store, metric, origin | {"graphs": graphs})
    cache.save(plan.out / "graphs.safetensors")
    if len(cache) < MIN_LABELS:
        raise _too_few(len(cache))
    field = contenders(registry, predictor.name, predictor.options)
    folds = min(whole.folds, len(set(groups_of(cache.graphs))))
    comparison = cross_validate(
        field,
        cache.labelled,
        higher_is_better=metric.higher_is_better,
        folds=folds,
        seed=plan.seed,
        device=plan.device,
        view=view,
    )
    evaluation = (
        f"Every prediction is for an architecture that its predictor had not seen: {folds}-fold cross-validation "
        f"over {len(cache)} labels, isomorphic graphs in one fold. Intervals: 95 % bootstrap. A predictor that "
        "only knows the mean ranks below 0, as the mean that it is told for each fold lacks that fold's labels."
    )
    learner = field[0].make()
    learner.fit(
        cache.labelled, seed=plan.seed, device=plan.device, progress=view.stage(f"{predictor.name}, all labels")
    )
    fit = fitting(field[0].make, seed=plan.seed, device=plan.device)
    card = PredictorCard(
        predictor.name,
        options_dict(predictor.options),
        metric,
        graphs,
        len(cache),
        comparison.scores[predictor.name],
        evaluation,
        origin,
        learn_trust(fit, cache.labelled, metric, seed=plan.seed, view=view),
    )
    save_predictor(plan.out / "predictor", learner, card, {metric.name: groups_of(cache.graphs)})
    labels = {record.spec: record.labels for record in done.store}
    others = [other for other in done.task.metrics if other.name != metric.name]
    _write(plan, config, cache, comparison, field, evaluation, origin, labels, others)
    measured = {m: _spread([values[m.name] for values in labels.values()]) for m in (metric, *others)}
    return RunResult(plan.out, cache, comparison, done.summary, evaluation, measured)


def _spread(values: Sequence[float]) -> Interval:
    """Mean, lowest and highest."""
    return sum(values) / len(values), min(values), max(values)


def _too_few(count: int) -> SplitError:
    return SplitError(f"{count} labels are too few to judge a predictor; label at least {MIN_LABELS} (--count)")


def _write(
    plan: LabelPlan,
    config: Mapping[str, Any],
    cache: GraphCache,
    comparison: Comparison,
    field: list[Contender],
    evaluation: str,
    origin: Mapping[str, Any],
    labels: Mapping[str, Mapping[str, float]],
    others: Sequence[Metric],
) -> None:
    """``results.json`` and ``report.html`` of the run folder."""
    metric = cache.metric
    results = {
        "metric": metric.name,
        "labels": len(cache),
        "evaluation": evaluation,
        "scores": comparison.scores,
        "fit_seconds": comparison.seconds,
        "provenance": origin,
    }
    write_json(plan.out / "results.json", results)
    rows = [
        ReportRow(
            cache.specs[i],
            float(cache.labels[i]),
            int(cache.macs[i]),
            int(cache.params[i]),
            {name: float(values[i]) for name, values in comparison.predicted.items()},
            {other.name: labels[cache.specs[i]][other.name] for other in others},
        )
        for i in range(len(cache))
    ]
    report = RunReport(
        title=f"{plan.task.name} × {plan.family.name}",
        task=plan.task.name,
        family=plan.family.name,
        metric=metric,
        rows=rows,
        scores=comparison.scores,
        asks={c.name: c.asks for c in field},
        evaluation=evaluation,
        provenance={**origin, "options": config},
        others=others,
    )
    write_report(plan.out / "report.html", report)
