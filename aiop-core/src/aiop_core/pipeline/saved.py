"""A fitted predictor on disk: its own files, and what aiop needs to use it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiop_core.contracts import Metric, Predictor
from aiop_core.errors import WeightsError
from aiop_core.pipeline.scores import write_json
from aiop_core.plugins import PluginRegistry

CARD = "predictor.json"
VERSION = 1


@dataclass(frozen=True)
class PredictorCard:
    """What a saved predictor is.

    Attributes:
        predictor: its registered name.
        options: its options by name.
        metric: what it predicts.
        graphs: what the graphs it learnt from were made of: ``family`` and, for body and
            head, ``task``, each as a table with ``name`` and options; ``input_hw``.
        labels: how many labels it learnt from.
        scores: how it did on what it had not seen: metric to (value, low, high).
        evaluation: how these scores were made, in words.
        provenance: versions, command, seed.
    """

    predictor: str
    options: Mapping[str, Any]
    metric: Metric
    graphs: Mapping[str, Any]
    labels: int
    scores: Mapping[str, Any]
    evaluation: str
    provenance: Mapping[str, Any]


def save_predictor(folder: Path, predictor: Predictor, card: PredictorCard) -> None:
    """Write the predictor's files, then the card: a folder without card is unfinished."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    predictor.save(folder)
    write_json(folder / CARD, {"version": VERSION, **asdict(card)})


def load_predictor(folder: Path, registry: PluginRegistry) -> tuple[Predictor, PredictorCard]:
    """A predictor ready to predict.

    Raises:
        WeightsError: if the folder holds no predictor, or a damaged one.
        UnknownNameError: if its kind of predictor is not installed.
    """
    path = folder / CARD
    if not path.is_file():
        raise WeightsError(f"{folder} holds no predictor ({CARD} is missing); 'aiop run' and 'aiop train' save one")
    try:
        data = json.loads(path.read_text())
        version = data.pop("version")
        if version != VERSION:
            raise WeightsError(f"{path} has version {version}; this aiop reads {VERSION}: update aiop")
        card = PredictorCard(**{**data, "metric": Metric(**data["metric"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is damaged ({error}); train the predictor again") from error
    predictor: Predictor = registry.create("predictor", card.predictor, card.options)
    predictor.load(folder)
    return predictor, card
