"""How well labels of a shared head agree with individual ones, for each way to train the head.

Source: AIO-P, Table 1: mean PCK and Spearman's correlation with individual labels, for body
swapping and latent sampling.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from aiop_core.contracts import Metric
from aiop_core.errors import LabelError
from aiop_core.metrics import CONFIDENCE, RESAMPLES, Interval, spearman, summarise
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.run import LabelPlan, label, metric_named
from aiop_core.pipeline.shared_head import SharePlan, train_head_with_latents
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry
from aiop_core.records.json_file import write_json
from aiop_core.records.step_folder import make_folder

INDIVIDUAL = "individual"

MIN_BODIES = 3
"""Fewer bodies than this have no correlation worth the name."""


@dataclass(frozen=True)
class Agreement:
    """The labels of the same bodies, made in several ways.

    Attributes:
        metric: what they are of.
        labels: by way, ``individual`` first: one for each body.
        specs: of the bodies.
        scores: by way to train the head: correlations with individual labels, and their intervals.
        gains: by pair of ways: how much higher the first one's Spearman is, with a paired bootstrap interval.
    """

    metric: Metric
    labels: Mapping[str, Float[np.ndarray, " n"]]
    specs: list[str]
    scores: Mapping[str, Mapping[str, Interval]]
    gains: Mapping[tuple[str, str], Interval]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "metric": self.metric.name,
            "specs": self.specs,
            "labels": {way: values.tolist() for way, values in self.labels.items()},
            "scores": {way: dict(scores) for way, scores in self.scores.items()},
            "spearman gains": {f"{first} over {other}": gain for (first, other), gain in self.gains.items()},
        }


def agreement(
    registry: PluginRegistry,
    plan: LabelPlan,
    latents: Any,
    heads: Mapping[str, Any],
    metric_name: str | None,
    view: View,
    config: Mapping[str, Any],
) -> Agreement:
    """Label the same bodies individually and with each shared head, and compare.

    Everything lies in folders of ``plan.out`` and is made once; a killed comparison goes on.

    Args:
        registry: of what is installed.
        plan: of the individual labels; its options of shared labels go for all heads.
        latents: options of collecting latents.
        heads: options of training a head, by the name of the way.
        metric_name: of the task; its main one if ``None``.
        view: told how far it is.
        config: of the command, for ``options.json``.

    Raises:
        LabelError: if fewer than ``MIN_BODIES`` bodies have all labels.
    """
    metric = metric_named(registry.make(plan.task), metric_name)
    if plan.count < MIN_BODIES:
        raise _too_few(plan.count)
    make_folder(plan.out)
    write_json(plan.out / "options.json", config)
    share = SharePlan(plan.out / "latents", plan.family, plan.task, latents, plan.seed, plan.device)
    found = {INDIVIDUAL: _labels(registry, replace(plan, out=plan.out / INDIVIDUAL, head=None), metric, view)}
    for way, options in heads.items():
        head = replace(share, out=plan.out / f"head-{way}", options=options)
        train_head_with_latents(registry, share, head, view)
        found[way] = _labels(registry, replace(plan, out=plan.out / f"shared-{way}", head=head.out), metric, view)
    specs = [spec for spec in found[INDIVIDUAL] if all(spec in labels for labels in found.values())]
    if len(specs) < MIN_BODIES:
        raise _too_few(len(specs))
    labels = {way: np.array([values[spec] for spec in specs]) for way, values in found.items()}
    truth = labels[INDIVIDUAL]
    scores = {way: summarise(truth, labels[way], seed=plan.seed) for way in heads}
    gains = {(a, b): _gain(truth, labels[a], labels[b], plan.seed) for a, b in itertools.permutations(heads, 2)}
    result = Agreement(metric, labels, specs, scores, gains)
    write_json(plan.out / "results.json", result.to_json() | {"provenance": provenance() | {"seed": plan.seed}})
    return result


def _too_few(count: int) -> LabelError:
    return LabelError(f"{count} bodies are too few to compare; label at least {MIN_BODIES} (--count)")


def _labels(registry: PluginRegistry, plan: LabelPlan, metric: Metric, view: View) -> dict[str, float]:
    """Each body's label, by its spec."""
    done = label(registry, plan, view)
    view.say(f"{plan.out.name}: {done.summary}")
    return {record.spec: record.labels[metric.name] for record in done.store}


def _gain(
    truth: Float[np.ndarray, " n"], first: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"], seed: int
) -> Interval:
    """How much better ``first`` ranks than ``other``; both are judged on the same resampled bodies."""
    chosen = np.random.default_rng(seed).integers(len(truth), size=(RESAMPLES, len(truth)))
    gains = spearman(truth[chosen], first[chosen]) - spearman(truth[chosen], other[chosen])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(gains, [tail, 1 - tail])
    return float(spearman(truth, first) - spearman(truth, other)), float(low), float(high)
