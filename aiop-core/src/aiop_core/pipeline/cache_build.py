"""``aiop cache build``: the labels of many runs as one cache for each family, metric and suffix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.contracts import Metric
from aiop_core.errors import CacheError, OptionError
from aiop_core.options import suggest
from aiop_core.pipeline.cache_names import CacheName, parse_cache_name, read_cache
from aiop_core.pipeline.collect import collect, deciding
from aiop_core.pipeline.correlate import CanonicalSpecs
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry
from aiop_core.records.cache import LABELLED, GraphCache
from aiop_core.records.combine import merge, recounted, take
from aiop_core.records.store import LabelStore, difference

VAGUE = ("family", "task", "metrics")
"""A cache may tell less of these than a run does; a shared head, say, is told by every cache that has one."""


@dataclass(frozen=True)
class Part:
    """The labels of one family and metric from one run or cache.

    Attributes:
        source: the run folder or cache.
        name: of the cache that they go into.
        cache: the labels.
        made: what decides a label, as JSON values, such as the options of family and task.
        whole: ``made`` is all that decides one; a cache may tell less than a run does.
    """

    source: str
    name: CacheName
    cache: GraphCache
    made: Mapping[str, Any]
    whole: bool


@dataclass(frozen=True)
class Built:
    """A cache of several parts, and what it lost.

    Attributes:
        name: of the cache.
        cache: every architecture once.
        repeats: how many labels were dropped since an earlier part has the architecture.
        differing: how many of them are not the label that was kept.
        dropped_scores: those that not all parts have from one source.
    """

    name: CacheName
    cache: GraphCache
    repeats: int
    differing: int
    dropped_scores: Sequence[str]


def read_parts(
    registry: PluginRegistry,
    path: Path,
    view: View,
    *,
    metric: str | None = None,
    suffix: str | None = None,
    unit: str = "fraction",
) -> list[Part]:
    """What a run folder or a cache has, by family and metric.

    Args:
        registry: knows which options cannot change a label.
        path: a folder of labels, a cache, or a cache's name.
        view: told what a user should know of an imported cache.
        metric: the only one that is wanted; all by default.
        suffix: of the name; what a cache's own name says by default.
        unit: of an imported cache's labels.

    Raises:
        StoreError: if a folder holds no labels.
        CacheError: if a cache cannot be read.
        OptionError: if the metric is not there.
    """
    if path.is_dir():
        store = LabelStore(path)
        metrics = {table["name"]: Metric(**table) for table in store.identity["metrics"]}
        _check_metric(path, metric, metrics)
        made = deciding(store)
        origin = provenance() | {"graphs": {kind: store.identity[kind] for kind in ("family", "task")}}
        caches = [collect(store, metrics[name], origin) for name in ([metric] if metric else metrics)]
    else:
        cache = read_cache(path, view.say, unit=unit)
        _check_metric(path, metric, {cache.metric.name: cache.metric})
        caches = [cache]
        made = cache.provenance.get(LABELLED) or _deciding(registry, cache.provenance.get("graphs") or {})
    parts = []
    for cache in caches:
        named = None if path.is_dir() else parse_cache_name(path.name, cache.metric.name)
        for family in dict.fromkeys(cache.families):
            name = CacheName(family, cache.metric.name, (named.suffix if named else "") if suffix is None else suffix)
            chosen = np.flatnonzero(np.array(cache.families) == family)
            parts.append(Part(str(path), name, take(cache, chosen), made, path.is_dir()))
    return parts


def _deciding(registry: PluginRegistry, graphs: Mapping[str, Any]) -> dict[str, Any]:
    """What a cache says of family and task, without options that cannot change a label."""
    made = {}
    for kind in ("family", "task"):
        if table := graphs.get(kind):
            known = table["name"] in registry.names(kind)
            registration = registry.get(kind, table["name"]).registration if known else None
            options = fields(registration.options) if registration else ()
            runtime = {f.name for f in options if f.metadata.get("runtime")}
            made[kind] = {key: value for key, value in table.items() if key not in runtime}
    return made


def _check_metric(path: Path, metric: str | None, known: Mapping[str, Metric]) -> None:
    if metric is not None and metric not in known:
        raise OptionError(f"{path} has no labels of '{metric}'; {suggest(metric, known)}")


def build(parts: Sequence[Part], specs: CanonicalSpecs, *, recount: bool = False) -> list[Built]:
    """One cache for each name, in which every architecture stands once, with its first label.

    Raises:
        CacheError: if parts of one name were made with other options, or have other units or costs.
    """
    groups: dict[CacheName, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.name, []).append(part)
    return [_built(name, group, specs, recount=recount) for name, group in groups.items()]


def _built(name: CacheName, parts: Sequence[Part], specs: CanonicalSpecs, *, recount: bool) -> Built:
    for first_part, other in combinations(parts, 2):
        _check_alike(first_part, other)
    merged = merge([(p.source, recounted(p.cache) if recount else p.cache) for p in parts], provenance())
    whole, first = merged.cache, dict[str, int]()
    kept = np.array([first.setdefault(specs.of(name.family, spec), i) for i, spec in enumerate(whole.specs)])
    single = take(whole, np.array(sorted(first.values())))
    made = reduce(_joined, (part.made for part in parts))
    return Built(
        name,
        replace(single, provenance={**single.provenance, **({LABELLED: dict(made)} if made else {})}),
        sum(len(part.cache) for part in parts) - len(single),
        int((whole.labels != whole.labels[kept]).sum()),
        merged.dropped_scores,
    )


def _check_alike(first: Part, other: Part) -> None:
    """Two runs agree in everything; a cache in what it tells."""
    ours, theirs = (dict(part.made) for part in (first, other))
    if not (first.whole and other.whole):
        ours, theirs = _told(ours, theirs), _told(theirs, ours)
    if ours != theirs:
        raise CacheError(
            f"{other.source} was labelled with other options than {first.source} ({difference(ours, theirs)}); "
            "build a cache of each, with a --suffix of its own"
        )


def _told(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """``ours``; of what is vague only what both tell."""
    vague = {key: value for key, value in ours.items() if key in VAGUE}
    return {**{key: value for key, value in ours.items() if key not in VAGUE}, **_shared(vague, theirs)}


def _shared(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """What both tell, as ``ours`` tells it."""
    return {
        key: _shared(value, theirs[key]) if isinstance(value, Mapping) and isinstance(theirs[key], Mapping) else value
        for key, value in ours.items()
        if key in theirs
    }


def _joined(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """What either tells; where both do, they agree."""
    both = {
        key: _joined(value, theirs[key])
        for key, value in ours.items()
        if isinstance(value, Mapping) and isinstance(theirs.get(key), Mapping)
    }
    return {**theirs, **ours, **both}
