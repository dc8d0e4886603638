"""How labels of a cache agree with others of the same architectures, such as their accuracy as classifiers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.errors import AiopError, LabelError
from aiop_core.metrics import Interval, bootstrap, kendall, spearman
from aiop_core.pipeline.table import spec_text
from aiop_core.pipeline.table_rows import bad_rows, read_rows
from aiop_core.plugins import PluginRegistry
from aiop_core.records.cache import GraphCache


class CanonicalSpecs:
    """Brings specs to the form that their family gives them, so that other spellings are found equal.

    Args:
        registry: where families come from.
    """

    def __init__(self, registry: PluginRegistry) -> None:
        self._registry = registry
        self._families: dict[str, Any] = {}

    def of(self, family: str, spec: str) -> str:
        """The canonical spec; ``spec`` itself if the family is not installed or does not know it."""
        try:
            if family not in self._families:
                self._families[family] = self._registry.create("family", family)
            return str(self._families[family].parse(spec).spec)
        except AiopError:
            return spec


@dataclass(frozen=True)
class Measured:
    """What somebody measured of an architecture.

    Attributes:
        family: ``None`` if it is not told.
        spec: in any spelling.
        value: the label.
    """

    family: str | None
    spec: str
    value: float


@dataclass(frozen=True)
class Correlation:
    """How two labels of the same architectures rank them.

    Attributes:
        count: architectures that have both.
        spearman: with its 95 % bootstrap interval; NaN where it is not defined.
        kendall: as well.
    """

    count: int
    spearman: Interval
    kendall: Interval


def correlate(cache: GraphCache, others: Iterable[Measured], specs: CanonicalSpecs, *, seed: int = 0) -> Correlation:
    """Compare a cache's labels with ``others``; of several labels of an architecture their mean counts.

    Args:
        cache: of one family.
        others: those of other architectures and families are passed over.
        specs: brings both to one spelling.
        seed: of the resampling.
    """
    family = cache.families[0]
    known: dict[str, list[float]] = {}
    for other in others:
        if other.family in (None, family):
            known.setdefault(specs.of(family, other.spec), []).append(other.value)
    pairs = [
        (label, float(np.mean(known[spec])))
        for label, spec in zip(cache.labels.tolist(), (specs.of(family, s) for s in cache.specs), strict=True)
        if spec in known
    ]
    if len(pairs) < 2:
        undefined = (np.nan, np.nan, np.nan)
        return Correlation(len(pairs), undefined, undefined)
    ours, theirs = np.array(pairs).T
    found = [
        (float(metric(ours, theirs)), *bootstrap(metric, ours, theirs, seed=seed)) for metric in (spearman, kendall)
    ]
    return Correlation(len(pairs), *found)


def measured_in_table(path: Path, label: str, spec: str) -> list[Measured]:
    """What a table's rows say: the column ``label`` of the architectures in the column ``spec``.

    Raises:
        DataError: if the table cannot be read.
        LabelError: if a column is missing, or a label is no finite number.
    """
    found, wrong = [], dict[int, AiopError]()
    for number, cells in read_rows(path, {spec: "--classification-spec", label: "--classification-label"}):
        try:
            value = float(cells[label])
            if not np.isfinite(value):
                raise ValueError
            found.append(Measured(None, spec_text(cells, [spec]), value))
        except (TypeError, ValueError):
            wrong[number] = LabelError(f"{label} is {cells[label]!r}; it must be a finite number")
    if wrong:
        raise LabelError(bad_rows(path, wrong))
    return found
