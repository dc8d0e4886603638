"""``aiop predict``: a saved predictor on the graphs of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.errors import ModelError
from aiop_core.graph import cost
from aiop_core.graph.model import GraphSet
from aiop_core.pipeline.models import ModelReader
from aiop_core.pipeline.saved import PredictorCard, load_predictor
from aiop_core.plugins import PluginRegistry, Selection


@dataclass(frozen=True)
class Prediction:
    """One model's predicted metric, in the metric's unit, and its cost."""

    model: str
    predicted: float
    macs: int
    params: int


@dataclass(frozen=True)
class Predictions:
    """All predictions, best first, and what made them."""

    card: PredictorCard
    rows: list[Prediction]

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "metric": asdict(self.card.metric),
            "predictor": self.card.predictor,
            "scores": dict(self.card.scores),
            "evaluation": self.card.evaluation,
            "predictions": [asdict(row) for row in self.rows],
        }


def predict(
    registry: PluginRegistry,
    folder: Path,
    models: Sequence[str],
    *,
    family: Selection | None = None,
    sample: int = 0,
    seed: int = 0,
    input_shape: tuple[int, ...] | None = None,
) -> Predictions:
    """Predict models, and ``sample`` architectures of the family.

    Raises:
        WeightsError: if the folder holds no predictor.
        ModelError: if there is nothing to predict, or a model is none.
    """
    predictor, card = load_predictor(folder, registry)
    reader = reader_of(registry, card, family=family, input_shape=input_shape)
    specs = list(models)
    if sample:
        if reader.family is None:
            raise ModelError("--sample needs a family; name one with --family")
        specs += [architecture.spec for architecture in reader.family.sample(sample, seed=seed)]
    if not specs:
        raise ModelError("nothing to predict; name models, or --sample N architectures")
    named = [reader.read(spec) for spec in specs]
    graphs = GraphSet.of(n.graph for n in named)
    values = np.asarray(predictor.predict(graphs), dtype=np.float64)
    rows = [
        Prediction(n.name, float(value), int(macs), int(params))
        for n, value, macs, params in zip(named, values, cost.macs(graphs), cost.params(graphs), strict=True)
    ]
    return Predictions(card, sorted(rows, key=lambda r: r.predicted, reverse=card.metric.higher_is_better))


def reader_of(
    registry: PluginRegistry,
    card: PredictorCard,
    *,
    family: Selection | None,
    input_shape: tuple[int, ...] | None,
) -> ModelReader:
    """Reads models into the kind of graphs that the predictor learnt from."""

    def make(kind: str) -> Any:
        table: Mapping[str, Any] | None = card.graphs.get(kind)
        if table is None:
            return None
        return registry.create(kind, table["name"], {k: v for k, v in table.items() if k != "name"})

    hw = card.graphs.get("input_hw")
    return ModelReader(
        registry,
        registry.make(family) if family else make("family"),
        family.name if family else card.graphs.get("family", {}).get("name"),
        make("task"),
        metric=card.metric.name if "task" in card.graphs else None,
        input_hw=tuple(hw) if hw else None,
        input_shape=input_shape,
    )
