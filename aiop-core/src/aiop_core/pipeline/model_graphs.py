"""From what users write to what a saved predictor reads: graphs of its kind, with scores beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aiop_core.contracts import Profiler
from aiop_core.errors import ContractError, ModelError
from aiop_core.graph.model import GraphSet
from aiop_core.pipeline.initialisation import architecture_seed, initialisation
from aiop_core.pipeline.models import ModelReader, NamedGraph
from aiop_core.pipeline.saved import PredictorCard
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry


def reader_of(given: ModelReader, card: PredictorCard) -> ModelReader:
    """Reads models into the kind of graphs that the predictor learnt from, where the user says nothing else."""

    def make(kind: str) -> Any:
        table: Mapping[str, Any] | None = card.graphs.get(kind)
        return None if table is None else _create(given.registry, kind, table)

    hw, shape = card.graphs.get("input_hw"), card.graphs.get("input_shape")
    own_family = given.family is None
    return replace(
        given,
        family=make("family") if own_family else given.family,
        family_name=card.graphs.get("family", {}).get("name") if own_family else given.family_name,
        task=given.task or make("task"),
        metric=card.metric.name if "task" in card.graphs and given.task is None else given.metric,
        input_hw=given.input_hw or (tuple(hw) if hw else None),
        input_shape=given.input_shape or (tuple(shape) if shape else None),
    )


def not_computed(registry: PluginRegistry, scores: Iterable[str]) -> list[str]:
    """Those scores, named ``profiler/number``, whose profiler is not installed."""
    return [name for name in scores if name.partition("/")[0] not in registry.names("profiler")]


def read_graphs(
    reader: ModelReader, card: PredictorCard, specs: Sequence[str], view: View, *, seed: int = 0
) -> tuple[list[str], GraphSet]:
    """The names and graphs of models, with the scores beside them that the predictor learnt from.

    A score that no installed profiler computes is NaN where it is not stored, which ``view`` is told.

    Args:
        reader: see ``reader_of``.
        card: says which scores are needed.
        specs: spellings of models.
        view: told how far it is.
        seed: of the weights of a network that a profiler looks at.

    Raises:
        ModelError: if a spelling names no model, or a profiler needs a module and the model has none.
        ContractError: if a profiler gives none of the scores.
    """
    progress = view.stage("graphs")
    named = []
    for done, spec in enumerate(specs, start=1):
        named.append(reader.read(spec))
        progress(done, len(specs))
    graphs = GraphSet.of(one.graph for one in named)
    if wanted := card.trust.domain.scores if card.trust else ():
        scoring = _Scoring(reader, {table["name"]: table for table in card.graphs.get("profilers", ())}, seed)
        progress = view.stage("scores")
        found = []
        for done, (spec, one) in enumerate(zip(specs, named, strict=True), start=1):
            found.append(scoring.scores(spec, one, wanted))
            progress(done, len(specs))
        if scoring.unknown:
            view.say(
                f"no installed profiler computes {', '.join(sorted(scoring.unknown))}, which this predictor learnt "
                "from beside the graphs: unknown where a model does not store it, as cache.safetensors#3 does"
            )
        graphs = replace(graphs, scores={name: np.array([scores[name] for scores in found]) for name in wanted})
    return [one.name for one in named], graphs


class _Scoring:
    """Numbers beside a graph, named ``profiler/number``: stored ones, else what the profiler says now.

    Args:
        reader: makes modules.
        tables: the options of profilers; those of others are the default ones.
        seed: of a module's weights, together with the model's name, as when a cache is scored.

    Attributes:
        unknown: names of scores that were neither stored nor of an installed profiler.
    """

    def __init__(self, reader: ModelReader, tables: Mapping[str, Mapping[str, Any]], seed: int) -> None:
        self._reader, self._tables, self._seed = reader, tables, seed
        self._profilers: dict[str, Profiler] = {}
        self.unknown: set[str] = set()

    def scores(self, spec: str, named: NamedGraph, wanted: Sequence[str]) -> dict[str, float]:
        """All of ``wanted`` for one model; NaN where nobody knows it.

        Raises:
            ModelError: if a profiler is needed, and the model has no module.
            ContractError: if the profiler gives none of its scores.
        """
        found = {name: named.scores[name] for name in wanted if name in named.scores}
        missing: dict[str, list[str]] = {}
        for name in wanted:
            if name not in found:
                missing.setdefault(name.partition("/")[0], []).append(name)
        for profiler, names in missing.items():
            given: Mapping[str, float] = {}
            if not_computed(self._reader.registry, names):
                self.unknown.update(names)
            elif not set(given := self._profile(profiler, spec, named.name)) & set(names):
                raise ContractError(
                    f"profiler '{profiler}' gives no {', '.join(names)} for '{spec}', which the predictor learnt from; "
                    "install the version that the labels were scored with"
                )
            found |= {name: given.get(name, math.nan) for name in names}  # a profiler leaves out what is undefined
        return found

    def _profile(self, name: str, spec: str, model_name: str) -> dict[str, float]:
        if name not in self._profilers:
            self._profilers[name] = _create(self._reader.registry, "profiler", self._tables.get(name, {"name": name}))
        try:
            with initialisation(architecture_seed(self._seed, model_name)):
                model = self._reader.module(spec)  # a new one each time, since some profilers leave traces in it
        except ModelError as error:
            raise ModelError(
                f"'{spec}' gives a graph but no torch module, and this predictor also learnt from scores of the "
                f"profiler '{name}', which needs one; give the model as code, or use a predictor without scores"
            ) from error
        found = self._profilers[name].profile(model.module, model.input_shape)
        return {f"{name}/{key}": float(value) for key, value in found.items()}


def _create(registry: PluginRegistry, kind: str, table: Mapping[str, Any]) -> Any:
    return registry.create(kind, table["name"], {k: v for k, v in table.items() if k != "name"})
