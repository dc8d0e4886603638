"""``aiop adapt``: a saved predictor learns a further data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.contracts import Metric
from aiop_core.errors import OptionError
from aiop_core.metrics import Interval
from aiop_core.options import options_dict
from aiop_core.pipeline.adaptable import load_adaptable, require_direction
from aiop_core.pipeline.domain import Domain
from aiop_core.pipeline.fit import UNDEFINED, predictions, scores_of
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.saved import PredictorCard, check_free, read_learnt, save_predictor
from aiop_core.pipeline.scores import SHOWN
from aiop_core.pipeline.sources import Joined, Source, join, learnt_from
from aiop_core.pipeline.trust import Trust
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry
from aiop_core.records.splits import holdout

HELD_OUT = 0.2
"""The part of the labels on which is judged what was learnt from the others."""


@dataclass(frozen=True)
class AdaptPlan:
    """How to adapt.

    Attributes:
        folder: the saved predictor.
        name: how users refer to what is learnt here.
        out: where the adapted predictor goes.
        options: an instance of the registration's ``adapt_options``.
        seed: of split and training.
        device: a torch device.
        apart: isomorphic graphs may be on both sides of the split.
        force: overwrite a predictor that is there.
    """

    folder: Path
    name: str
    out: Path
    options: Any
    seed: int
    device: str
    apart: bool = False
    force: bool = False


@dataclass(frozen=True)
class AdaptResult:
    """How well held-out labels are ranked before and after.

    Attributes:
        card: of the adapted predictor.
        metric: of the labels that were learnt.
        learnt: labels that the judged adapter learnt from.
        tested: labels that it was judged on; 0 if the predictor had seen all of them before.
        before: scores of the predictor as it was; nothing where ``tested`` is 0.
        after: scores with what was learnt.
    """

    card: PredictorCard
    metric: Metric
    learnt: int
    tested: int
    before: Mapping[str, Interval]
    after: Mapping[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "metric": asdict(self.metric),
            "learnt": self.learnt,
            "tested": self.tested,
            "before": dict(self.before),
            "after": dict(self.after),
            "adapters": [dict(adapter) for adapter in self.card.adapters],
        }


def adapt(registry: PluginRegistry, plan: AdaptPlan, source: Source, view: View) -> AdaptResult:
    """Judge what the predictor learns from a part of the labels, then let it learn all of them, and save it.

    Raises:
        OptionError: if the predictor is not adaptable, or the name or the folder is taken.
        LabelError: if the direction of the labels is not the predictor's.
    """
    predictor, card = load_adaptable(plan.folder, registry)
    check_free(plan.out, force=plan.force)
    names = [adapter["name"] for adapter in card.adapters]
    if plan.name in names or not plan.name.strip():
        taken = f"; taken are: {', '.join(names)}" if names else ""
        raise OptionError(f"--as '{plan.name}' cannot name what is learnt; choose another name{taken}")
    metric = source.cache.metric
    require_direction(card, metric, source.name)
    joined, known = join([source], apart=plan.apart), read_learnt(plan.folder)
    learnt, tested, before, after = _judge(registry, plan, joined, (known or {}).get(metric.name, []), metric, view)
    progress = view.stage(f"{plan.name}, all {len(joined.data)} labels")
    predictor.adapt(plan.name, joined.data, plan.options, seed=plan.seed, device=plan.device, progress=progress)
    evaluation = (
        f"How '{plan.name}' ranks {tested} held-out labels of {source.name}, learnt from {learnt}, seed {plan.seed}; "
        f"the saved predictor learnt from all {len(joined.data)}. Intervals: 95 % bootstrap."
    )
    adapter = {
        "name": plan.name,
        "metric": asdict(metric),
        "source": source.name,
        "labels": len(joined.data),
        "options": options_dict(plan.options),
        "before": before,
        "after": after,
    }
    domain = Domain.of(joined.data.graphs)
    card = replace(
        card,
        metric=Metric(card.metric.name, "score", card.metric.higher_is_better, card.metric.description),
        scores=after or dict.fromkeys(SHOWN, UNDEFINED),
        evaluation=evaluation,
        provenance=provenance() | {"seed": plan.seed, "of": dict(card.provenance)},
        trust=Trust(None, domain | card.trust.domain if card.trust else domain),
        adapters=[*card.adapters, adapter],
        tuned=None,
    )
    save_predictor(plan.out, predictor, card, None if known is None else learnt_from([source], joined.prints, known))
    return AdaptResult(card, metric, learnt, tested, before, after)


def _judge(
    registry: PluginRegistry, plan: AdaptPlan, joined: Joined, seen: list[str], metric: Metric, view: View
) -> tuple[int, int, dict[str, Interval], dict[str, Interval]]:
    """How many labels were learnt and tested, and the scores before and after."""
    split = holdout(joined.groups, 1 - HELD_OUT, seed=plan.seed)
    test = split.test[~np.isin(np.asarray(joined.prints)[split.test], seen)]
    if not len(test):
        view.say("every held-out label was learnt before, so what is learnt now cannot be judged")
        return len(split.train), 0, {}, {}
    found, graphs = [], joined.data.graphs.take(test)
    predictor, card = load_adaptable(plan.folder, registry)
    progress = view.stage(f"{plan.name}, {len(split.train)} labels")
    for learn in (False, True):
        if learn:
            part = joined.data.take(split.train)
            predictor.adapt(plan.name, part, plan.options, seed=plan.seed, device=plan.device, progress=progress)
        predicted = predictions(card.predictor, predictor, graphs)
        better = metric.higher_is_better
        found.append(
            scores_of(joined.data.labels[test], predicted, seed=plan.seed, higher_is_better=better, ranks_only=True)
        )
    return len(split.train), len(test), found[0], found[1]
