"""``aiop evaluate``: how good a saved predictor is on a target, from none or few of its labels."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.contracts import Adaptable, Labelled, Predictor, Progress
from aiop_core.graph import cost
from aiop_core.graph.model import GraphSet
from aiop_core.options import options_dict
from aiop_core.pipeline.adaptable import is_aligning, load_adaptable, require_adaptable, require_direction
from aiop_core.pipeline.fit import Contender, baselines, fitted, hold_out, predictions, scores_of
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.rounds import ROUNDS, Round, RoundLog
from aiop_core.pipeline.saved import (
    CARD,
    LEARNT,
    PredictorCard,
    check_replaceable,
    load_predictor,
    read_card,
    read_learnt,
    save_predictor,
)
from aiop_core.pipeline.scores import summary_of
from aiop_core.pipeline.sources import Joined, Source, join, learnt_from, not_learnt_from
from aiop_core.pipeline.trust import learn_trust
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry
from aiop_core.records.combine import take
from aiop_core.records.json_file import write_json
from aiop_core.records.splits import holdout
from aiop_core.records.step_folder import make_folder

SCRATCH = "{} from scratch"
"""The name of the predictor that learns the same labels without having been trained before."""

SAVE = ("first", "all", "none")
"""Which predictor is saved: tuned on the labels of the first seed, on all labels, or none."""


@dataclass(frozen=True)
class EvaluatePlan:
    """How to evaluate.

    Attributes:
        folder: the saved predictor.
        out: where results and the tuned predictor go.
        options: an instance of the registration's ``tune_options``; not used without labels.
        sizes: how many labels of the target to learn from; 0 is zero-shot.
        seeds: each draws other labels.
        device: a torch device.
        apart: isomorphic graphs may be on both sides of a split.
        restart: do rounds again that are done.
        save: one of ``SAVE``.
    """

    folder: Path
    out: Path
    options: Any
    sizes: Sequence[int]
    seeds: Sequence[int]
    device: str
    apart: bool = False
    restart: bool = False
    save: str = "first"


@dataclass(frozen=True)
class EvaluateResult:
    """All rounds of an evaluation.

    Attributes:
        card: of the predictor that was evaluated.
        target: what it was evaluated on, without labels that it had learnt from.
        rounds: by number of labels, seed and contender.
        origin: versions, command, seeds.
        saved: where the tuned predictor lies.
    """

    card: PredictorCard
    target: Source
    rounds: list[Round]
    origin: Mapping[str, Any]
    saved: Path | None = None

    def by_contender(self) -> dict[tuple[int, str], list[Round]]:
        """The rounds of each (labels, contender), in their order."""
        grouped: dict[tuple[int, str], list[Round]] = {}
        for item in self.rounds:
            grouped.setdefault((item.train, item.name), []).append(item)
        return grouped

    def to_json(self) -> dict[str, Any]:
        """What ``results.json`` holds and ``--json`` prints."""
        return {
            "predictor": self.card.predictor,
            "target": self.target.to_json(),
            "summary": [
                {"labels": size, "name": name, "seeds": len(rounds), **summary_of([r.scores for r in rounds])}
                for (size, name), rounds in self.by_contender().items()
            ],
            "rounds": [asdict(item) for item in self.rounds],
            "saved": str(self.saved) if self.saved else None,
            "provenance": dict(self.origin),
        }


def evaluate(registry: PluginRegistry, plan: EvaluatePlan, target: Source, view: View) -> EvaluateResult:
    """The zero-shot and few-shot protocol: learn from few labels of the target, predict all others.

    For each seed and size the same labels go to the predictor, to a new one of its kind,
    and to every baseline. Without labels, all of the target is ranked. An aligning predictor
    looks at all of the target's graphs in either case, and at no label but those few.

    Raises:
        OptionError: if labels are to be learnt and the predictor is not adaptable, or
            a predictor would be overwritten that this command did not make.
        LabelError: if labels are to be learnt whose direction is not the predictor's.
        SplitError: if a size leaves nothing to test on.
        StoreError: if the folder holds rounds of other labels or options.
    """
    card, few = read_card(plan.folder), sorted(set(plan.sizes) - {0})
    if few:
        require_adaptable(registry, card.predictor, "be tuned to a target's labels")
        require_direction(card, target.cache.metric, target.name)
    check_replaceable(plan.out, command="evaluate", given=plan.folder)
    known = read_learnt(plan.folder)
    target = not_learnt_from(target, known, view)
    make_folder(plan.out)
    joined = join([target], apart=plan.apart)
    field = [
        Contender(
            card.predictor,
            lambda: load_adaptable(plan.folder, registry)[0],
            learn=_tune_with(plan.options, joined.data.graphs),
        ),
        Contender(SCRATCH.format(card.predictor), partial(registry.create, "predictor", card.predictor, card.options)),
        *baselines(registry, but=card.predictor),
    ]
    identity = {
        "command": "evaluate",
        "labels": joined.digest,
        "metrics": [asdict(target.cache.metric)],
        "predictor": _digest(plan.folder),
        "tune": options_dict(plan.options, runtime=False),
        "baselines": [contender.name for contender in field[2:]],
        "isomorphic graphs": "apart" if plan.apart else "together",
    }
    log = RoundLog(plan.out / ROUNDS, identity, restart=plan.restart)
    rounds = list(_zero_shot(registry, plan, card, joined, target, log)) if 0 in plan.sizes else []
    rounds += hold_out(
        field,
        joined.data,
        groups=joined.groups,
        higher_is_better=target.cache.metric.higher_is_better,
        sizes=few,
        seeds=plan.seeds,
        device=plan.device,
        view=view,
        log=log,
    )
    result = EvaluateResult(card, target, rounds, provenance() | {"seeds": list(plan.seeds)})
    write_json(plan.out / "results.json", result.to_json())
    if few and plan.save != "none":
        result = replace(result, saved=_save(plan, field[0], card, joined, max(few), result, view))
        write_json(plan.out / "results.json", result.to_json())
    return result


def _tune_with(options: Any, graphs: GraphSet) -> Callable[..., Any]:
    """Tunes a predictor that first looks at all of the target's graphs, if it can align; at no further label."""

    def tune(predictor: Adaptable, labels: Labelled, *, seed: int, device: str, progress: Progress) -> None:
        _align(predictor, graphs, options)
        predictor.tune(labels, options, seed=seed, device=device, progress=progress)

    return tune


def _align(predictor: Predictor, graphs: GraphSet, options: Any) -> None:
    if is_aligning(predictor):
        predictor.align(graphs, options)


def _zero_shot(
    registry: PluginRegistry, plan: EvaluatePlan, card: PredictorCard, joined: Joined, target: Source, log: RoundLog
) -> Iterator[Round]:
    """How the predictor ranks the target without its labels, and how size alone does."""
    seed, labels, better = plan.seeds[0], joined.data.labels, target.cache.metric.higher_is_better

    def predicted(graphs: GraphSet) -> np.ndarray[Any, Any]:
        predictor = load_predictor(plan.folder, registry)[0]
        _align(predictor, graphs, plan.options)
        found = predictions(card.predictor, predictor, graphs)
        return found if better == card.metric.higher_is_better else -found

    sign = 1.0 if better else -1.0
    rankings: dict[str, Callable[[GraphSet], np.ndarray[Any, Any]]] = {
        card.predictor: predicted,
        "more MACs": lambda graphs: sign * cost.macs(graphs),
        "more parameters": lambda graphs: sign * cost.params(graphs),
    }
    for name, rank in rankings.items():
        done = log.get(0, seed, name)
        if done is None:
            started = time.perf_counter()
            values = rank(joined.data.graphs)
            seconds = round(time.perf_counter() - started, 3)
            scores = scores_of(labels, values, seed=seed, higher_is_better=better, ranks_only=True)
            done = [Round(0, 0, seed, name, len(labels), scores, seconds)]
            log.append(done)
        yield from done


def _digest(folder: Path) -> str:
    """A hash of the predictor's own files."""
    content = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (CARD, LEARNT)):
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()[:16]


def _save(
    plan: EvaluatePlan,
    contender: Contender,
    card: PredictorCard,
    joined: Joined,
    size: int,
    result: EvaluateResult,
    view: View,
) -> Path:
    """Tune on the first seed's labels, or on all, and save that with what is known about it."""
    seed, target = plan.seeds[0], result.target
    chosen = holdout(joined.groups, size, seed=seed).train if plan.save == "first" else np.arange(len(joined.data))
    labels = joined.data.take(chosen)
    progress = view.stage(f"{contender.name}, {len(labels)} labels")
    predictor = fitted(contender, labels, seed=seed, device=plan.device, progress=progress)
    mine = next(r for r in result.rounds if (r.train, r.seed, r.name) == (size, seed, contender.name))
    tuned = replace(
        card,
        metric=target.cache.metric,
        graphs=dict(target.graphs),
        labels=len(labels),
        scores=mine.scores,
        evaluation=f"Tuned on {mine.learnt} labels of {target.name} and tested on the other {mine.test}, seed {seed}; "
        f"the saved predictor was tuned on {len(labels)}. Intervals: 95 % bootstrap.",
        provenance={**result.origin, "of": dict(card.provenance)},
        trust=learn_trust(
            lambda part: fitted(contender, part, seed=seed, device=plan.device),
            labels,
            target.cache.metric,
            seed=seed,
            view=view,
        ),
        tuned={"name": target.name, "labels": len(labels), "options": options_dict(plan.options)},
    )
    source = replace(target, cache=take(target.cache, chosen))
    prints = [joined.prints[i] for i in chosen.tolist()]
    known = read_learnt(plan.folder)
    folder = plan.out / "predictor"
    save_predictor(folder, predictor, tuned, None if known is None else learnt_from([source], prints, known))
    return folder
