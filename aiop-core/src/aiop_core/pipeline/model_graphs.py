"""From what users write to what a saved predictor reads: graphs of its kind, with scores beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    hw = card.graphs.get("input_hw")
    own_family = given.family is None
    return replace(
        given,
        family=make("family") if own_family else given.family,
        family_name=card.graphs.get("family", {}).get("name") if own_family else given.family_name,
        task=given.task or make("task"),
        metric=card.metric.name if "task" in card.graphs and given.task is None else given.metric,
        input_hw=given.input_hw or (tuple(hw) if hw else None),
    )


def read_graphs(
    reader: ModelReader, card: PredictorCard, specs: Sequence[str], view: View, *, seed: int = 0
) -> tuple[list[str], GraphSet]:
    """The names and graphs of models, with the scores beside them that the predictor learnt from.

    Args:
        reader: see ``reader_of``.
        card: says which scores are needed.
        specs: spellings of models.
        view: told how far it is.
        seed: of the weights of a network that a profiler looks at.

    Raises:
        ModelError: if a spelling names no model, or scores are needed that cannot be had for it.
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
        graphs = replace(graphs, scores={name: np.array([scores[name] for scores in found]) for name in wanted})
    return [one.name for one in named], graphs


class _Scoring:
    """Numbers beside a graph, named ``profiler/number``: stored ones, else what the profiler says now.

    Args:
        reader: makes modules.
        tables: the options of profilers; those of others are the default ones.
        seed: of a module's weights, together with the model's name, as when a cache is scored.
    """

    def __init__(self, reader: ModelReader, tables: Mapping[str, Mapping[str, Any]], seed: int) -> None:
        self._reader, self._tables, self._seed = reader, tables, seed
        self._profilers: dict[str, Profiler] = {}

    def scores(self, spec: str, named: NamedGraph, wanted: Sequence[str]) -> dict[str, float]:
        """All of ``wanted`` for one model.

        Raises:
            ModelError: if a score is of no profiler, or the model has no module.
            ContractError: if the profiler does not give the score.
        """
        found = {name: named.scores[name] for name in wanted if name in named.scores}
        missing = [name for name in wanted if name not in found]
        for profiler in sorted({name.partition("/")[0] for name in missing}):
            found |= self._profile(profiler, spec, named.name)
        for name in missing:
            if name not in found:
                raise ContractError(
                    f"profiler '{name.partition('/')[0]}' gives no '{name}', which the predictor learnt from"
                )
        return found

    def _profile(self, name: str, spec: str, model_name: str) -> dict[str, float]:
        if name not in self._profilers:
            if name not in self._reader.registry.names("profiler"):
                raise ModelError(
                    f"this predictor learnt from '{name}' beside the graphs, which no installed profiler computes; "
                    "give models that it is stored with, as cache.safetensors#3, or use a predictor without scores"
                )
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
