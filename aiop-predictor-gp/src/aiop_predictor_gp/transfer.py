"""What earlier data sets say about graphs of a target that they were not made of.

A head adds the same nodes to every network of a family, and another family has larger or
smaller networks throughout: a process that reads absolute numbers would find everything
out of the ordinary. So the target's graphs are read in three ways: as they are; with each
feature's mean and deviation made those of the earlier data set; and with each feature's
range moved, and shrunk if need be, into the earlier one's. Where a reading is surer, it
counts for more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from aiop_predictor_gp.learner import Learner
from aiop_predictor_gp.options import GpOptions
from aiop_predictor_gp.reading import TRANSFERABLE, Table

TAILS = (0.01, 0.99)
"""The quantiles between which a feature's range lies."""


SURER = 2
"""A way of reading counts by its precision to this power. 1 would be right were their errors
independent; they are not, and 2 ranks better across heads and as well across families."""


@dataclass(frozen=True)
class Summary:
    """How each feature of a set of graphs is distributed.

    Attributes:
        blocks: by block (4, its columns): mean, deviation, and the quantiles ``TAILS``.
    """

    blocks: Table

    @classmethod
    def of(cls, table: Table) -> Summary:
        """Of at least one graph."""
        return cls(
            {
                name: np.stack([table[name].mean(0), table[name].std(0), *np.quantile(table[name], TAILS, axis=0)])
                for name in TRANSFERABLE
            }
        )


@dataclass
class Source:
    """A data set that was learnt.

    Attributes:
        table: the transferable blocks of its graphs.
        labels: one for each.
        learner: fitted to them when it is first needed.
    """

    table: Table
    labels: Float[np.ndarray, " n"]
    learner: Learner | None = None

    @classmethod
    def of(cls, table: Table, labels: Float[np.ndarray, " n"], rows: Any = slice(None)) -> Source:
        """The ``rows`` of a table that may have more blocks."""
        return cls({name: table[name][rows] for name in TRANSFERABLE}, labels[rows])

    def learnt(self, options: GpOptions, *, device: str) -> Learner:
        """The learner of what serves other families and heads, too."""
        if self.learner is None:
            self.learner = Learner.fit(self.table, self.labels, options, seed=0, device=device)
        return self.learner


def readings(source: Source, learner: Learner, target: Summary | None, table: Table) -> list[Float[np.ndarray, " n"]]:
    """What a source predicts for graphs, in its targets' unit: all ways together first, then each way.

    Args:
        source: the data set.
        learner: of it.
        target: of the graphs that ``table`` is a part of; if ``None``, they are read as they are.
        table: the structure of the graphs.
    """
    ways = [table] if target is None else [table, *_aligned(Summary.of(source.table), target, table)]
    means, variances = (np.stack(found) for found in zip(*(learner.predict(way) for way in ways), strict=True))
    weights = variances**-SURER
    return [(means * weights).sum(0) / weights.sum(0), *means]


def _aligned(source: Summary, target: Summary, table: Table) -> tuple[dict[str, Any], dict[str, Any]]:
    """``table`` standardised into the source's numbers, and moved into their range."""
    standardised, moved = {}, {}
    for name in TRANSFERABLE:
        mean, deviation, low, high = source.blocks[name]
        own_mean, own_deviation, own_low, own_high = target.blocks[name]
        flat = own_deviation <= 1e-9 * np.maximum(np.abs(own_mean), 1e-3)
        ratio = np.divide(deviation, own_deviation, out=np.ones_like(deviation), where=~flat)
        standardised[name] = (table[name] - own_mean) * ratio + mean
        width, own_width = high - low, own_high - own_low
        shrink = np.divide(width, own_width, out=np.ones_like(width), where=own_width > np.maximum(width, 1e-12))
        centre = (own_low + own_high) / 2
        half = own_width * shrink / 2
        shift = np.maximum(low - (centre - half), 0) - np.maximum(centre + half - high, 0)
        moved[name] = (table[name] - centre) * shrink + centre + shift
    return standardised, moved


def state(sources: Mapping[str, Source], target: Summary | None) -> tuple[dict[str, np.ndarray[Any, Any]], list[Any]]:
    """Arrays, and settings of the sources' learners where they are fitted, that ``restored`` needs."""
    arrays = {f"target.{name}": values for name, values in (target.blocks if target else {}).items()}
    learners: list[Any] = []
    for number, source in enumerate(sources.values()):
        arrays |= {f"source{number}.{name}": values for name, values in source.table.items()}
        arrays[f"source{number}.labels"] = source.labels
        found, settings = source.learner.state(f"source{number}.learner") if source.learner else ({}, None)
        arrays |= found
        learners.append(settings)
    return arrays, learners


def restored(
    names: Sequence[str], learners: Sequence[Any], arrays: Mapping[str, np.ndarray[Any, Any]], *, aligned: bool
) -> tuple[dict[str, Source], Summary | None]:
    """The sources and the target that gave this state."""
    sources = {
        name: Source(
            {block: arrays[f"source{i}.{block}"] for block in TRANSFERABLE},
            arrays[f"source{i}.labels"],
            Learner.restored(f"source{i}.learner", arrays, settings) if settings else None,
        )
        for i, (name, settings) in enumerate(zip(names, learners, strict=True))
    }
    target = Summary({block: arrays[f"target.{block}"] for block in TRANSFERABLE}) if aligned else None
    return sources, target
