"""Where labels come from: tables, graph caches and run folders, one or several as one set of labels."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.contracts import Family, Labelled, Metric
from aiop_core.errors import LabelError, OptionError, SplitError
from aiop_core.options import suggest
from aiop_core.pipeline.cache_names import read_cache
from aiop_core.pipeline.collect import collect
from aiop_core.pipeline.fit import groups_of
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.saved import Learnt
from aiop_core.pipeline.table import merge_isomorphic, models_cache, table_cache
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry, Selection
from aiop_core.records.cache import GraphCache
from aiop_core.records.combine import joined, shared_scores, take, with_scores
from aiop_core.records.store import LabelStore


@dataclass(frozen=True)
class Source:
    """The labels of one metric from one place.

    Attributes:
        name: the file or folder, as users give it.
        cache: the labels and their graphs.
        graphs: what the graphs are made of: ``family``, ``task``, ``input_hw``; ``input_shape`` of models.
    """

    name: str
    cache: GraphCache
    graphs: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As a predictor's card tells it."""
        return {
            "name": self.name,
            "metric": asdict(self.cache.metric),
            "labels": len(self.cache),
            "families": sorted(set(self.cache.families)),
            "graphs": dict(self.graphs),
        }


@dataclass(frozen=True)
class Joined:
    """The labels of one or several sources, and which of them count as one network.

    Attributes:
        data: all labels; ``sets`` tells sources apart where there are several.
        prints: the fingerprint of each graph.
        groups: what a split keeps together.
    """

    data: Labelled
    prints: Sequence[str]
    groups: Sequence[Hashable]

    @property
    def digest(self) -> str:
        """A hash of all graphs, labels, sets and scores, in their order."""
        content = hashlib.sha256("".join(self.prints).encode())
        content.update(np.ascontiguousarray(self.data.labels, dtype=np.float64).tobytes())
        if self.data.sets is not None:
            content.update(np.ascontiguousarray(self.data.sets, dtype=np.int64).tobytes())
        for name, values in sorted(self.data.graphs.scores.items()):
            content.update(name.encode() + np.ascontiguousarray(values, dtype=np.float64).tobytes())
        return content.hexdigest()[:16]


def join(sources: Sequence[Source], *, apart: bool = False, view: View | None = None) -> Joined:
    """Sources as one set of labels, with the scores that all of them have from one origin.

    Args:
        sources: one or several.
        apart: isomorphic graphs may be on both sides of a split.
        view: told which scores are dropped.

    Raises:
        LabelError: if higher is better in one and lower in another.
    """
    first, *others = sources
    for other in others:
        if other.cache.metric.higher_is_better != first.cache.metric.higher_is_better:
            better = {True: "higher", False: "lower"}
            raise LabelError(
                f"{better[first.cache.metric.higher_is_better]} is better in {first.name}, "
                f"{better[other.cache.metric.higher_is_better]} in {other.name}; turn the labels of one around"
            )
    caches = [source.cache for source in sources]
    data = caches[0].labelled
    if others:
        sets = np.repeat(np.arange(len(caches)), [len(cache) for cache in caches])
        shared = shared_scores(caches)
        dropped = sorted({name for cache in caches for name in cache.graphs.scores} - set(shared))
        if dropped and view is not None:
            view.say(f"scores that not all labels have from one source are left out: {', '.join(dropped)}")
        graphs = joined([with_scores(cache, shared).graphs for cache in caches])
        data = Labelled(graphs, np.concatenate([cache.labels for cache in caches]), sets)
    prints = groups_of(data.graphs)
    return Joined(data, prints, list(range(len(prints))) if apart else prints)


def learnt_from(sources: Sequence[Source], prints: Sequence[str], known: Learnt | None = None) -> Learnt:
    """``known`` and the graphs of ``sources``, by metric; ``prints`` are their fingerprints in order."""
    learnt = {metric: list(found) for metric, found in (known or {}).items()}
    start = 0
    for source in sources:
        end = start + len(source.cache)
        learnt.setdefault(source.cache.metric.name, []).extend(prints[start:end])
        start = end
    return learnt


def not_learnt_from(source: Source, learnt: Learnt | None, view: View) -> Source:
    """``source`` without the labels that a predictor has seen, which would test its memory.

    Raises:
        SplitError: if none is left.
    """
    if learnt is None:
        view.say(
            f"nobody can tell what the predictor learnt from; make sure that no label of {source.name} is among it"
        )
        return source
    prints, metric = groups_of(source.cache.graphs), source.cache.metric.name
    seen = np.isin(prints, learnt.get(metric, []))
    if seen.all():
        raise SplitError(f"the predictor learnt from every label of {source.name}; give labels that it has not seen")
    if seen.any():
        view.say(f"{seen.sum()} of {len(seen)} labels of {source.name} are left out: the predictor learnt from them")
    elsewhere = np.isin(prints, [name for other, found in learnt.items() if other != metric for name in found]) & ~seen
    if elsewhere.any():
        view.say(f"of {elsewhere.sum()} networks of {source.name} the predictor learnt labels of another metric")
    return replace(source, cache=take(source.cache, np.flatnonzero(~seen)))


def cache_source(path: Path, view: View) -> Source:
    """The labels of a graph cache; see ``read_cache`` for what may name one."""
    cache = read_cache(path, view.say)
    return Source(str(path), cache, cache.provenance.get("graphs", {}))


@dataclass(frozen=True)
class Columns:
    """What stands where in a table.

    Attributes:
        label: the column of measured values.
        unit: of the labels: ``percent``, ``fraction``, or another unit's name.
        specs: the column or columns that describe the architecture.
        scores: columns of numbers that stand beside the graphs.
        higher_is_better: the direction of the labels.
    """

    label: str
    unit: str
    specs: Sequence[str]
    scores: Sequence[str] = ()
    higher_is_better: bool = True


def table_source(
    registry: PluginRegistry,
    family: Selection,
    path: Path,
    columns: Columns,
    input_hw: tuple[int, int] | None,
    view: View,
) -> Source:
    """A table's labels with graphs of the family's networks."""
    space: Family[Any] = registry.make(family)
    hw = input_hw or space.input_hw
    cache = table_cache(
        path,
        family_name=family.name,
        family=space,
        label=columns.label,
        spec_columns=columns.specs,
        unit=columns.unit,
        input_hw=hw,
        provenance=provenance() | {"table": path.name},
        view=view,
        score_columns=columns.scores,
        higher_is_better=columns.higher_is_better,
    )
    return Source(str(path), cache, {"family": family.to_json(), "input_hw": list(hw)})


def models_source(
    registry: PluginRegistry, path: Path, columns: Columns, input_shape: tuple[int, ...] | None, view: View
) -> Source:
    """A table's labels with graphs of the models that its rows spell."""
    cache = models_cache(
        registry,
        path,
        label=columns.label,
        spec_columns=columns.specs,
        unit=columns.unit,
        input_shape=input_shape,
        provenance=provenance() | {"table": path.name},
        view=view,
        score_columns=columns.scores,
        higher_is_better=columns.higher_is_better,
    )
    return Source(str(path), cache, {"input_shape": list(input_shape)} if input_shape else {})


def merged(source: Source, view: View) -> Source:
    """``source`` with one label for each different network, the mean of all that it has."""
    return replace(source, cache=merge_isomorphic(source.cache, view))


def run_source(folder: Path, metric: str | None) -> Source:
    """The labels of a run folder for one metric.

    Raises:
        OptionError: if the run has several metrics and none is named, or not that one.
    """
    store = LabelStore(folder)
    metrics = {table["name"]: Metric(**table) for table in store.identity["metrics"]}
    if metric is None and len(metrics) > 1:
        raise OptionError(f"{folder} has labels of several metrics; name one with --metric: {', '.join(metrics)}")
    if metric is not None and metric not in metrics:
        raise OptionError(f"{folder} has no labels of '{metric}'; {suggest(metric, metrics)}")
    cache = collect(store, metrics[metric or next(iter(metrics))], provenance())
    return Source(str(folder), cache, {"family": store.identity["family"], "task": store.identity["task"]})
