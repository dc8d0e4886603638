"""Baselines that read one number of each graph: a least-squares line, or a level one.

A line keeps the ranking that its number gives, or reverses it. Isotonic regression
would keep it, too, but makes plateaus, whose ties cost rank correlation, and has a free
step for each label, which is too much for 20 of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from aiop_core.contracts import FitReport, Labelled, Progress
from aiop_core.errors import WeightsError
from aiop_core.graph.cost import macs, params
from aiop_core.graph.model import GraphSet
from aiop_core.records.scaling import checked_labels

_COEFFICIENTS = ("mean", "slope", "centre")


class Line:
    """A predictor and baseline: mean + slope × (number - centre).

    Args:
        name: of the predictor, and of its file.
        number: what is read of each graph.
    """

    def __init__(self, name: str, number: Callable[[GraphSet], Float[np.ndarray, " n"]]) -> None:
        self.name = name
        self._number = number
        self._line: dict[str, float] | None = None

    def fit(self, train: Labelled, *, seed: int, device: str, progress: Progress) -> FitReport:
        """Least squares; level where all numbers are equal, as those of a single graph are.

        Raises:
            LabelError: if there are no labels, or one is not finite.
        """
        labels = checked_labels(train.labels)
        number = self._number(train.graphs)
        offset = number - number.mean()
        spread = float(offset @ offset)
        slope = float(offset @ labels) / spread if spread > 0 else 0.0
        self._line = {"mean": float(labels.mean()), "slope": slope, "centre": float(number.mean())}
        progress(1, 1)
        return FitReport(dict(self._line))

    def predict(self, graphs: GraphSet) -> Float[np.ndarray, " n"]:
        """The line's height at each graph's number.

        Raises:
            WeightsError: if nothing was fitted or loaded before.
        """
        line = self._fitted()
        return line["mean"] + line["slope"] * (self._number(graphs) - line["centre"])

    def save(self, folder: Path) -> None:
        """Write the coefficients as JSON.

        Raises:
            WeightsError: if nothing was fitted or loaded before.
        """
        self._file(folder).write_text(json.dumps(self._fitted()) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read the coefficients.

        Raises:
            WeightsError: if the file is missing or damaged.
        """
        path = self._file(folder)
        try:
            found: Any = json.loads(path.read_text(encoding="utf-8"))
            self._line = {name: float(found[name]) for name in _COEFFICIENTS}
        except FileNotFoundError:
            raise WeightsError(
                f"{path} does not exist; give the folder that a fitted '{self.name}' was saved into"
            ) from None
        except (OSError, ValueError, KeyError, TypeError):
            raise WeightsError(
                f"{path} does not hold {', '.join(_COEFFICIENTS)}; fit and save '{self.name}' again"
            ) from None

    def _file(self, folder: Path) -> Path:
        return folder / f"{self.name}.json"

    def _fitted(self) -> dict[str, float]:
        if self._line is None:
            raise WeightsError(
                f"predictor '{self.name}' is not fitted yet; call fit, or load a folder that it was saved into"
            )
        return self._line


def constant_mean() -> Line:
    """The mean label for every graph."""
    return Line("constant_mean", lambda graphs: np.zeros(len(graphs)))


def flops_only() -> Line:
    """A line through log10 FLOPs, which differ from log10 MACs by a constant."""
    return Line("flops_only", lambda graphs: np.log10(2 * macs(graphs) + 1))


def params_only() -> Line:
    """A line through log10 parameters."""
    return Line("params_only", lambda graphs: np.log10(params(graphs) + 1))
