"""``aiop train``: a predictor from labels that exist, and how good it is with how many of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from aiop_core.contracts import Family, Metric
from aiop_core.errors import OptionError
from aiop_core.options import options_dict, suggest
from aiop_core.pipeline.collect import collect
from aiop_core.pipeline.fit import Round, contenders, hold_out
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.saved import PredictorCard, save_predictor
from aiop_core.pipeline.scores import write_json
from aiop_core.pipeline.table import table_cache
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry, Selection
from aiop_core.records.cache import GraphCache
from aiop_core.records.store import LabelStore

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
    """

    out: Path
    predictor: Selection
    sizes: Sequence[int] | None
    seeds: Sequence[int]
    device: str


@dataclass(frozen=True)
class TrainResult:
    """All rounds of a training."""

    cache: GraphCache
    rounds: list[Round]
    origin: Mapping[str, Any]

    def by_contender(self) -> dict[tuple[int, str], list[Round]]:
        """The rounds of each (labels, contender), in their order."""
        grouped: dict[tuple[int, str], list[Round]] = {}
        for item in self.rounds:
            grouped.setdefault((item.train, item.name), []).append(item)
        return grouped

    def to_json(self) -> dict[str, Any]:
        """What ``results.json`` holds and ``--json`` prints."""
        return {
            "metric": asdict(self.cache.metric),
            "labels": len(self.cache),
            "rounds": [asdict(r) for r in self.rounds],
            "provenance": dict(self.origin),
        }


def train(
    registry: PluginRegistry, plan: TrainPlan, cache: GraphCache, graphs: Mapping[str, Any], view: View
) -> TrainResult:
    """Judge the predictor and all baselines, then save the predictor fitted on everything.

    Raises:
        SplitError: if a size leaves nothing to learn from or to test on.
    """
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"--out {plan.out} cannot be made: {error.strerror}; name another folder") from None
    field = contenders(registry, plan.predictor.name, plan.predictor.options)
    sizes = plan.sizes or [round(DEFAULT_TRAIN_FRACTION * len(cache))]
    data = cache.labelled
    rounds = hold_out(
        field,
        data,
        higher_is_better=cache.metric.higher_is_better,
        sizes=sizes,
        seeds=plan.seeds,
        device=plan.device,
        view=view,
    )
    origin = provenance() | {"seeds": list(plan.seeds)}
    result = TrainResult(cache, rounds, origin)
    cache = replace(cache, provenance={**cache.provenance, "graphs": dict(graphs)})
    cache.save(plan.out / "graphs.safetensors")
    write_json(plan.out / "results.json", result.to_json())
    predictor = field[0].make()
    progress = view.stage(f"{plan.predictor.name}, all {len(cache)} labels")
    predictor.fit(data, seed=plan.seeds[0], device=plan.device, progress=progress)
    largest = [r for r in rounds if r.name == plan.predictor.name and r.train == max(sizes)]
    card = PredictorCard(
        plan.predictor.name,
        options_dict(plan.predictor.options),
        cache.metric,
        dict(graphs),
        len(cache),
        largest[0].scores,
        f"Trained on {largest[0].learnt} labels and tested on the other {largest[0].test}, seed {largest[0].seed}; "
        f"the saved predictor learnt from all {len(cache)}. Intervals: 95 % bootstrap.",
        origin,
    )
    save_predictor(plan.out / "predictor", predictor, card)
    return result


def table_labels(
    registry: PluginRegistry,
    family: Selection,
    path: Path,
    *,
    label: str,
    unit: str,
    spec_columns: Sequence[str],
    input_hw: tuple[int, int] | None,
    view: View,
) -> tuple[GraphCache, dict[str, Any]]:
    """A table's labels with graphs of the family's networks, and what these are made of."""
    space: Family[Any] = registry.make(family)
    hw = input_hw or space.input_hw
    graphs = {"family": family.to_json(), "input_hw": list(hw)}
    cache = table_cache(
        path,
        family_name=family.name,
        family=space,
        label=label,
        spec_columns=spec_columns,
        unit=unit,
        input_hw=hw,
        provenance=provenance() | {"table": path.name},
        view=view,
    )
    return cache, graphs


def run_labels(folder: Path, metric: str | None) -> tuple[GraphCache, dict[str, Any]]:
    """The labels of a run folder for one metric, and what its graphs are made of.

    Raises:
        OptionError: if the run has several metrics and none is named, or not that one.
    """
    store = LabelStore(folder)
    metrics = {table["name"]: Metric(**table) for table in store.identity["metrics"]}
    if metric is None and len(metrics) > 1:
        raise OptionError(f"{folder} has labels of several metrics; name one with --metric: {', '.join(metrics)}")
    if metric is not None and metric not in metrics:
        raise OptionError(f"{folder} has no labels of '{metric}'; {suggest(metric, metrics)}")
    cache = collect(store, metrics[metric or next(iter(metrics))], provenance())
    return cache, {"family": store.identity["family"], "task": store.identity["task"]}
