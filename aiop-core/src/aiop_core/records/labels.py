"""What a label is, and graphs with theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from aiop_core.graph.model import GraphSet


@dataclass(frozen=True)
class Metric:
    """What a task measures.

    Attributes:
        name: as the field writes it, e.g. ``val_PCK``.
        unit: ``fraction`` for values in [0, 1], which screens show as percent; otherwise
            the unit's name.
        higher_is_better: the direction.
        description: one line, with the normalisation named.
    """

    name: str
    unit: str = "fraction"
    higher_is_better: bool = True
    description: str = ""


@dataclass(frozen=True)
class Labelled:
    """Graphs with the value that was measured for each.

    Attributes:
        graphs: n of them.
        labels: (n,) float64, finite.
        sets: (n,) which data set each label is of, counted from 0, where there are several;
            labels of different sets are not on one scale and cannot be compared.
    """

    graphs: GraphSet
    labels: np.ndarray[Any, Any]
    sets: np.ndarray[Any, Any] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray[Any, Any]) -> Labelled:
        """The pairs at ``indices``, in that order."""
        return Labelled(
            self.graphs.take(indices), self.labels[indices], None if self.sets is None else self.sets[indices]
        )
