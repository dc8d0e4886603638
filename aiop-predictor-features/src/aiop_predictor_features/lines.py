"""Baselines with one number for each graph: a line, or its height alone.

A line keeps the ranking that its number gives, up to its sign. Isotonic regression
would, too, but it makes plateaus, whose ties cost rank correlation, and it has a free
step for each label, which is too much for 20 of them.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
from jaxtyping import Float

from aiop_core.contracts import FitReport, Labelled, Progress
from aiop_core.errors import WeightsError
from aiop_core.graph.cost import macs, params
from aiop_core.graph.model import GraphSet
from aiop_core.records.scaling import checked_labels, gflops


class _Line(Protocol):
    """label = mean + slope × (number - centre).

    Attributes:
        name: of the predictor, and of its file.
    """

    name: str
    mean: float = 0.0
    slope: float = 0.0
    centre: float = 0.0
    fitted: bool = False

    @abstractmethod
    def number(self, graphs: GraphSet) -> Float[np.ndarray, " n"]:
        """What the line reads of each graph."""

    def fit(self, train: Labelled, *, seed: int, device: str, progress: Progress) -> FitReport:
        """Least squares; a level line where all numbers are equal.

        Raises:
            LabelError: if there are no labels, or one is not finite.
        """
        ...
