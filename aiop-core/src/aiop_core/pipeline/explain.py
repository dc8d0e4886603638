"""``aiop explain``: what a saved predictor says of a model, and what in the model moves it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.pipeline.calibrate import check_confidence
from aiop_core.pipeline.model_graphs import read_graphs, reader_of
from aiop_core.pipeline.models import ModelReader
from aiop_core.pipeline.occlusion import Explanation, Span, explain
from aiop_core.pipeline.predict import Predictions, predicted_rows
from aiop_core.pipeline.saved import load_predictor
from aiop_core.pipeline.scores import change_unit, interval_text
from aiop_core.pipeline.view import View


@dataclass(frozen=True)
class ExplainedModel:
    """A model's prediction by a saved predictor, and what moves it."""

    result: Predictions
    explanation: Explanation

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.result.rows[0].model

    @property
    def words(self) -> str:
        """The predicted value and its interval."""
        (row,), metric, confidence = self.result.rows, self.result.metric, self.result.confidence
        known = f" at {100 * confidence:g} %" if row.low is not None else ""
        return f"{metric.name} {interval_text(row.predicted, row.low, row.high, metric)}{known}"

    @property
    def heat_name(self) -> str:
        """What the contributions are called in a drawing, with their unit."""
        return f"contribution ({change_unit(self.result.metric)})"

    def heat(self) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, dict[Span, float]]]:
        """The contributions of nodes and of blocks as a drawing takes them."""
        scale = 100 if self.result.metric.unit == "fraction" else 1
        of_blocks = {span: scale * value for span, value in self.explanation.of_blocks.items()}
        return {self.heat_name: scale * self.explanation.of_nodes}, {self.heat_name: of_blocks}

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return self.result.to_json() | {"explanation": self.explanation.to_json()}


def explain_model(folder: Path, given: ModelReader, model: str, *, confidence: float, view: View) -> ExplainedModel:
    """What a saved predictor says of one model, and why.

    Raises:
        WeightsError: if the folder holds no predictor.
        ModelError: if the spelling names no model.
        OptionError: if ``confidence`` is none.
    """
    check_confidence(confidence)
    predictor, card = load_predictor(folder, given.registry)
    names, graphs = read_graphs(reader_of(given, card), card, [model], view)
    result = Predictions(card, predicted_rows(predictor, card, names, graphs, confidence), confidence)
    scores = {name: float(values[0]) for name, values in graphs.scores.items()}
    return ExplainedModel(result, explain(predictor, graphs[0], scores=scores, progress=view.stage("occlusion")))
