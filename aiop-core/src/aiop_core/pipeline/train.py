"""``aiop train``: a predictor from labels that exist, and how good it is with how many of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from aiop_core.contracts import Metric
from aiop_core.options import options_dict
from aiop_core.pipeline.adaptable import require_adaptable
from aiop_core.pipeline.domain import Domain
from aiop_core.pipeline.fit import Contender, contenders, fitted, hold_out
from aiop_core.pipeline.model_graphs import not_computed
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.rounds import ROUNDS, Round, RoundLog
from aiop_core.pipeline.saved import PredictorCard, check_replaceable, save_predictor
from aiop_core.pipeline.scores import summary_of
from aiop_core.pipeline.sources import Joined, Source, join, learnt_from
from aiop_core.pipeline.trust import Coverage, Trust, learn_trust
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry, Selection
from aiop_core.records.json_file import write_json
from aiop_core.records.splits import holdout
from aiop_core.records.step_folder import make_folder

DEFAULT_TRAIN_FRACTION = 0.8


@dataclass(frozen=True)
class TrainPlan:
    """How to train and judge.

    Attributes:
        out: where results and predictor go.
        predictor: with its options.
        sizes: how many labels to learn from, each tested on the rest; 80 % if ``None``.
        seeds: of splits and fits.
        device: a torch device.
        apart: isomorphic graphs may be on both sides of a split, as in some published tables.
        test_all: test on all labels, those that were learnt from included, likewise.
        restart: do rounds again that are done.
        save: also fit on all labels, and save that predictor.
    """

    out: Path
    predictor: Selection
    sizes: Sequence[int] | None
    seeds: Sequence[int]
    device: str
    apart: bool = False
    test_all: bool = False
    restart: bool = False
    save: bool = True


@dataclass(frozen=True)
class TrainResult:
    """All rounds of a training."""

    sources: Sequence[Source]
    rounds: list[Round]
    origin: Mapping[str, Any]
    coverage: Coverage | None = None

    @property
    def labels(self) -> int:
        """How many there are in all sources."""
        return sum(len(source.cache) for source in self.sources)

    def by_contender(self) -> dict[tuple[int, str, str], list[Round]]:
        """The rounds of each (labels, source, contender); what is compared stands together."""
        grouped: dict[tuple[int, str, str], list[Round]] = {}
        for item in sorted(self.rounds, key=lambda r: (r.train, r.source)):
            grouped.setdefault((item.train, self.name_of(item), item.name), []).append(item)
        return grouped

    def name_of(self, item: Round) -> str:
        """The source of a round; empty where there is only one."""
        return self.sources[item.source].name if len(self.sources) > 1 else ""

    def to_json(self) -> dict[str, Any]:
        """What ``results.json`` holds and ``--json`` prints."""
        return {
            "metric": asdict(metric_of(self.sources)),
            "labels": self.labels,
            "sources": [source.to_json() for source in self.sources],
            "summary": [
                {"labels": size, "source": source, "name": name, "seeds": len(rounds)}
                | summary_of([r.scores for r in rounds])
                for (size, source, name), rounds in self.by_contender().items()
            ],
            "rounds": [asdict(r) | {"source": self.name_of(r)} for r in self.rounds],
            "coverage": asdict(self.coverage) if self.coverage else None,
            "provenance": dict(self.origin),
        }


def metric_of(sources: Sequence[Source]) -> Metric:
    """What a predictor of these sources says: the one's metric, or a score by the name of the first that ranks."""
    metric = sources[0].cache.metric
    if len(sources) == 1:
        return metric
    return Metric(metric.name, "score", metric.higher_is_better, "ranks architectures; in no metric's unit")


def check_plan(registry: PluginRegistry, plan: TrainPlan, metric: Metric, labels: int) -> None:
    """Refuse at once what ``train`` would refuse after the graphs of one source are made.

    Args:
        registry: of what is installed.
        plan: what is to be done.
        metric: of the labels.
        labels: how many there are at most, before those of equal networks are averaged.

    Raises:
        SplitError: if a size leaves nothing to learn from or to test on.
        OptionError: as ``train``.
        StoreError: if the folder holds rounds of other options.
    """
    for size in _sizes(plan, labels):
        holdout(range(labels), size, seed=0)
    check_replaceable(plan.out, command="train")
    make_folder(plan.out)
    log = plan.out / ROUNDS
    if log.is_file() and not plan.restart:
        field = contenders(registry, plan.predictor.name, plan.predictor.options)
        RoundLog(log, _identity(plan, field, [metric], _digest_in(log)))


def _sizes(plan: TrainPlan, labels: int) -> Sequence[int]:
    return plan.sizes or [min(round(DEFAULT_TRAIN_FRACTION * labels), labels - 1)]


def _identity(plan: TrainPlan, field: Sequence[Contender], metrics: Sequence[Metric], digest: str) -> dict[str, Any]:
    """What decides the rounds besides sizes and seeds; ``digest`` is that of the labels."""
    return {
        "command": "train",
        "labels": digest,
        "metrics": [asdict(metric) for metric in metrics],
        "predictor": plan.predictor.to_json(runtime=False),
        "baselines": [contender.name for contender in field[1:]],
        "isomorphic graphs": "apart" if plan.apart else "together",
        "test": "all" if plan.test_all else "rest",
    }


def _digest_in(log: Path) -> str:
    """The digest of the labels that a log's rounds are of; empty if it is damaged, as reading it tells."""
    try:
        with log.open(encoding="utf-8") as file:
            return str(json.loads(file.readline())["identity"]["labels"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def train(registry: PluginRegistry, plan: TrainPlan, sources: Sequence[Source], view: View) -> TrainResult:
    """Judge the predictor and all baselines, then save the predictor fitted on everything.

    Several sources need a predictor that learns from several: it learns all of them at once
    and is judged on each by the ranking alone; baselines learn each source by itself.

    Raises:
        SplitError: if a size leaves nothing to learn from or to test on.
        OptionError: if the predictor cannot learn from several sources, or a predictor would be
            overwritten that this command did not make.
        StoreError: if the folder holds rounds of other labels or options.
    """
    if len(sources) > 1:
        require_adaptable(registry, plan.predictor.name, "learn from several sources")
    check_replaceable(plan.out, command="train")
    make_folder(plan.out)
    field = contenders(registry, plan.predictor.name, plan.predictor.options)
    joined = join(sources, apart=plan.apart, view=view)
    sizes = _sizes(plan, len(joined.data))
    metrics = [source.cache.metric for source in sources]
    if plan.save and (unknown := not_computed(registry, joined.data.graphs.scores)):
        view.say(
            f"no installed profiler computes {', '.join(unknown)}: 'aiop predict' takes it as unknown "
            "where a model does not store it, as one of a graph cache does"
        )
    rounds = hold_out(
        field,
        joined.data,
        groups=joined.groups,
        names=[source.name for source in sources],
        higher_is_better=metric_of(sources).higher_is_better,
        sizes=sizes,
        seeds=plan.seeds,
        test_all=plan.test_all,
        device=plan.device,
        view=view,
        log=RoundLog(plan.out / ROUNDS, _identity(plan, field, metrics, joined.digest), restart=plan.restart),
    )
    result = TrainResult(sources, rounds, provenance() | {"seeds": list(plan.seeds)})
    if len(sources) == 1:
        cache = sources[0].cache
        cache = replace(cache, provenance={**cache.provenance, "graphs": dict(sources[0].graphs)})
        cache.save(plan.out / "graphs.safetensors")
    write_json(plan.out / "results.json", result.to_json())
    if plan.save:
        result = _save(plan, field[0], joined, max(sizes), result, view)
        write_json(plan.out / "results.json", result.to_json())
    return result


def _save(
    plan: TrainPlan, contender: Contender, joined: Joined, size: int, result: TrainResult, view: View
) -> TrainResult:
    """Fit on all labels, and save that with what is known about it."""
    seed, metric, sources = plan.seeds[0], metric_of(result.sources), result.sources
    progress = view.stage(f"{contender.name}, all {result.labels} labels")
    predictor = fitted(contender, joined.data, seed=seed, device=plan.device, progress=progress)
    trust = Trust(None, Domain.of(joined.data.graphs))
    if len(sources) == 1:
        trust = learn_trust(
            lambda labels: fitted(contender, labels, seed=seed, device=plan.device),
            joined.data,
            metric,
            seed=seed,
            view=view,
            train=size,
        )
    mine = [r for r in result.rounds if r.name == contender.name and (r.train, r.seed) == (size, seed)]
    tested = "all" if plan.test_all else "the other"
    evaluation = f"Trained on {mine[0].learnt} labels and tested on {tested} {sum(r.test for r in mine)}, seed {seed}; "
    if len(sources) > 1:
        evaluation += f"scores are those on {result.name_of(mine[0])}; "
    card = PredictorCard(
        contender.name,
        options_dict(plan.predictor.options),
        metric,
        _shared_graphs(sources),
        result.labels,
        mine[0].scores,
        f"{evaluation}the saved predictor learnt from all {result.labels}. Intervals: 95 % bootstrap.",
        result.origin,
        trust,
        [{**s.to_json(), "scores": r.scores} for s, r in zip(sources, mine, strict=True)],
    )
    save_predictor(plan.out / "predictor", predictor, card, learnt_from(sources, joined.prints))
    return replace(result, coverage=trust.coverage)


def _shared_graphs(sources: Sequence[Source]) -> dict[str, Any]:
    """What the graphs of all sources are made of, where they agree."""
    first, *others = (dict(source.graphs) for source in sources)
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
