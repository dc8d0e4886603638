"""Collecting: the records of a store as one graph cache for one metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aiop_core.contracts import Metric
from aiop_core.errors import LabelError
from aiop_core.graph.model import GraphSet
from aiop_core.records.cache import LABELLED, GraphCache
from aiop_core.records.record import Record
from aiop_core.records.store import LabelStore


def collect(store: LabelStore, metric: Metric, provenance: Mapping[str, Any]) -> GraphCache:
    """The labelled graphs of ``metric``, in the order of their specs.

    Args:
        store: the labels.
        metric: which of the task's metrics.
        provenance: written into the cache, beside what decides its labels.

    Raises:
        LabelError: if the store has no label of that metric.
    """
    records = sorted(store, key=lambda r: r.spec)
    missing = [r.spec for r in records if metric.name not in r.labels]
    if missing or not records:
        raise LabelError(
            f"{store.folder} has {len(records) - len(missing)} labels of '{metric.name}'"
            + (f", none for {missing[0]}" if missing else "; label some architectures first")
        )
    scores, sources = _scores(records)
    return GraphCache(
        replace(GraphSet.of(r.graphs[metric.name] for r in records), scores=scores),
        np.array([r.labels[metric.name] for r in records]),
        [r.spec for r in records],
        [r.family for r in records],
        metric,
        np.array([r.costs[metric.name].macs for r in records]),
        np.array([r.costs[metric.name].params for r in records]),
        records[0].costs[metric.name].source,
        {**provenance, LABELLED: deciding(store)},
        sources,
    )


def deciding(store: LabelStore) -> dict[str, Any]:
    """What decides the labels of a store, without the seed: labels of several seeds go together."""
    return {key: value for key, value in store.identity.items() if key != "seed"}


def _scores(records: Sequence[Record]) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Mapping[str, Any]]]:
    """What profilers said, NaN where nothing is known, and what gave each score.

    A score of another source than that of the first record that has it is not comparable, and not known.
    """
    sources: dict[str, Mapping[str, Any]] = {}
    for record in records:
        for name in record.scores:
            sources.setdefault(name, _source(record, name))
    scores = {
        name: np.array([r.scores.get(name, np.nan) if _source(r, name) == source else np.nan for r in records])
        for name, source in sources.items()
    }
    return scores, sources


def _source(record: Record, name: str) -> Mapping[str, Any]:
    profiler = name.partition("/")[0]
    return record.score_sources.get(profiler, {"profiler": profiler})
