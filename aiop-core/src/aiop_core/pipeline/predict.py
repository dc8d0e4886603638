"""``aiop predict``: a saved predictor on the graphs of models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.contracts import Metric, Predictor
from aiop_core.errors import ModelError
from aiop_core.graph import cost
from aiop_core.graph.model import GraphSet
from aiop_core.pipeline.calibrate import CONFIDENCE, check_confidence, predict_with_spread
from aiop_core.pipeline.model_graphs import read_graphs, reader_of
from aiop_core.pipeline.models import ModelReader
from aiop_core.pipeline.saved import PredictorCard, load_predictor
from aiop_core.pipeline.view import Quiet, View
from aiop_core.plugins import PluginRegistry, Selection


@dataclass(frozen=True)
class Prediction:
    """One model's predicted metric, in the metric's unit, and its cost.

    Attributes:
        model: its name.
        predicted: the metric's value.
        macs: counted on the graph.
        params: likewise.
        low: the lower end of the interval; ``None`` if the predictor has none.
        high: the upper end.
        outside: in what the model is unlike the training graphs; empty if in nothing.
    """

    model: str
    predicted: float
    macs: int
    params: int
    low: float | None = None
    high: float | None = None
    outside: str = ""


@dataclass(frozen=True)
class Predictions:
    """All predictions, best first, and what made them."""

    card: PredictorCard
    rows: list[Prediction]
    confidence: float

    @property
    def metric(self) -> Metric:
        """What the numbers are; without a unit where they only rank."""
        return replace(self.card.metric, unit="") if self.card.ranks_only else self.card.metric

    @property
    def caveats(self) -> list[str]:
        """What a reader of the intervals must know, a line each."""
        calibration = self.card.trust.calibration if self.card.trust else None
        if self.card.ranks_only:
            first = "The numbers rank models and are in no unit, since the predictor learnt several sets of labels."
        elif calibration is None:
            first = "There are no intervals: this predictor was saved without any; train it again."
        else:
            first = calibration.warning(self.confidence)
        far = sum(bool(row.outside) for row in self.rows)
        shifted = (
            f"{far} of {len(self.rows)} models are unlike the training graphs: their intervals may not hold."
            if far
            else ""
        )
        return [line for line in (first, shifted) if line]

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "metric": asdict(self.card.metric),
            "predictor": self.card.predictor,
            "scores": dict(self.card.scores),
            "evaluation": self.card.evaluation,
            "confidence": self.confidence,
            "caveats": self.caveats,
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
    confidence: float = CONFIDENCE,
    view: View | None = None,
) -> Predictions:
    """Predict models, and ``sample`` architectures of the family.

    Raises:
        WeightsError: if the folder holds no predictor.
        ModelError: if there is nothing to predict, or a model is none.
        OptionError: if ``confidence`` is none.
    """
    check_confidence(confidence)
    view = view or Quiet()
    predictor, card = load_predictor(folder, registry)
    given = ModelReader(
        registry, registry.make(family) if family else None, family.name if family else None, input_shape=input_shape
    )
    reader = reader_of(given, card)
    specs = list(models)
    if sample:
        if reader.family is None:
            raise ModelError("--sample needs a family; name one with --family")
        specs += [architecture.spec for architecture in reader.family.sample(sample, seed=seed)]
    if not specs:
        raise ModelError("nothing to predict; name models, or --sample N architectures")
    names, graphs = read_graphs(reader, card, specs, view, seed=seed)
    return Predictions(card, predicted_rows(predictor, card, names, graphs, confidence), confidence)


def predicted_rows(
    predictor: Predictor, card: PredictorCard, names: Sequence[str], graphs: GraphSet, confidence: float
) -> list[Prediction]:
    """One for each graph, best first; fractions are shown within [0, 1]."""
    values, spread = predict_with_spread(predictor, graphs)
    best_first = np.argsort(-values if card.metric.higher_is_better else values, kind="stable")
    fraction = card.metric.unit == "fraction" and not card.ranks_only
    shown = values.clip(0, 1) if fraction else values  # as the intervals, which must hold it
    low: Sequence[float | None] = [None] * len(names)
    high, outside = low, [""] * len(names)
    if card.trust is not None and card.trust.calibration is not None and not card.ranks_only:
        ends = card.trust.calibration.intervals(values, spread, confidence=confidence, metric=card.metric)
        low, high = (end.tolist() for end in ends)
    if card.trust is not None:
        outside = card.trust.domain.outside(graphs)
    columns = (names, shown.tolist(), cost.macs(graphs).tolist(), cost.params(graphs).tolist(), low, high, outside)
    rows = [
        Prediction(name, value, int(macs), int(params), *rest)
        for name, value, macs, params, *rest in zip(*columns, strict=True)
    ]
    return [rows[i] for i in best_first]
