"""A published cache as one of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.errors import AiopError, CacheError
from aiop_core.graph.model import Graph, GraphSet
from aiop_core.graph.ops import Op
from aiop_core.records.cache import GraphCache
from aiop_core.records.labels import Metric
from aiop_core.records.legacy.graphs import Translator, without_identity
from aiop_core.records.legacy.layouts import Layout, cost_of, family_of, layout_of, number, one_line, spec_of
from aiop_core.records.legacy.unpickler import read_pickle


@dataclass(frozen=True)
class LegacyImport:
    """How to read a published cache.

    Attributes:
        family: of all graphs; by their names, or else the file's, if ``None``.
        metric: which of the file's metrics; its main one if ``None``. A classification cache
            does not name its metric: it is called this.
        unit: of the labels: ``fraction``, ``percent`` (stored as fractions), or another unit's
            name. What the layout says of a metric's unit goes first.
        recount: count MACs and parameters on the graphs instead of keeping the authors' numbers.
        keep_identity: keep nodes that compute nothing, which graphs that aiop traces do not have.
    """

    family: str | None = None
    metric: str | None = None
    unit: str = "fraction"
    recount: bool = False
    keep_identity: bool = False


@dataclass(frozen=True)
class _Item:
    graph: Graph
    label: float
    spec: str
    family: str
    cost: tuple[int, int] | None


def read_legacy_cache(
    path: Path, how: LegacyImport, provenance: Mapping[str, Any], say: Callable[[str], None]
) -> GraphCache:
    """The graphs and labels of a ``gpi_*_comp_graph_cache.pkl``, gzipped or not.

    Args:
        path: the pickle.
        how: what to take from it.
        provenance: written into the cache.
        say: told, in one line each, what a user should know of the result.

    Raises:
        CacheError: if the file is not read, or an entry lacks something, naming it.
        LabelError: if a label is not finite.
    """
    entries, size = read_pickle(path)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise CacheError(f"{path} holds no list of entries; give a gpi_*_comp_graph_cache.pkl")
    translator = Translator(size)
    items: list[_Item] = []
    layouts: Counter[Layout] = Counter()
    for i, entry in enumerate(entries):
        try:
            layout = layout_of(entry, how.metric)
            items.append(_item(entry, layout, how, path.name, translator))
            layouts[layout] += 1
        except AiopError as error:
            raise CacheError(f"{path}, entry {i}: {error}") from error
    if len(layouts) > 1:
        names = ", ".join(f"{count} of {layout.metric}" for layout, count in layouts.items())
        raise CacheError(f"{path} has entries of several kinds ({names}); name the metric that all of them have")
    (layout,) = layouts
    labels, unit = _labels(path, np.array([item.label for item in items]), layout, how)
    cache = GraphCache.of(
        GraphSet.of(item.graph for item in items),
        labels,
        [item.spec for item in items],
        [item.family for item in items],
        Metric(layout.metric, unit),
        {**provenance, "imported": {"file": path.name, "entries": len(entries), "keep_identity": how.keep_identity}},
    )
    if translator.without_kernel:
        say(f"{path.name}: {translator.without_kernel} convolutions have no kernel; the research code lost them")
    if unknown := int((cache.graphs.columns["op"] == Op.OOV).sum()):
        say(f"{path.name}: {unknown} nodes are of operations that the research code did not know")
    return cache if how.recount else _with_their_cost(cache, items, layout, path, say)


def _item(entry: Mapping[str, Any], layout: Layout, how: LegacyImport, file_name: str, translator: Translator) -> _Item:
    source = entry.get(layout.graph)
    if source is None:
        raise CacheError(f"it has no '{layout.graph}'")
    graph = translator.graph(source)
    name = one_line(source.name, "graph's name")
    label = number(entry, layout.label)
    if label is None:
        raise CacheError(f"it has no '{layout.label}'")
    return _Item(
        graph if how.keep_identity else without_identity(graph),
        label,
        spec_of(entry, name, translator),
        how.family or family_of(name, file_name, layout.metric),
        cost_of(entry, layout),
    )


def _labels(
    path: Path, labels: np.ndarray[Any, Any], layout: Layout, how: LegacyImport
) -> tuple[np.ndarray[Any, Any], str]:
    """Labels in our unit, and its name."""
    unit = "percent" if layout.percent else how.unit
    if unit not in ("fraction", "percent"):
        return labels, unit
    scaled = labels / 100 if unit == "percent" else labels
    if scaled.max() > 1:
        raise CacheError(
            f"{path}: a label of '{layout.metric}' is {labels.max():g}, outside the unit '{unit}'; "
            "say --unit percent, or another unit's name"
        )
    if unit == "percent" and scaled.max() <= 0.01:
        raise CacheError(f"{path}: no label of '{layout.metric}' is over 1 %; if they are fractions, leave out --unit")
    return scaled, "fraction"


def _with_their_cost(
    cache: GraphCache, items: list[_Item], layout: Layout, path: Path, say: Callable[[str], None]
) -> GraphCache:
    """The cache with the authors' MACs and parameters, if every entry has them."""
    theirs = [item.cost for item in items if item.cost is not None]
    if len(theirs) < len(items):
        say(f"{path.name}: {len(items) - len(theirs)} entries have no cost; all are counted on the graphs")
        return cache
    macs, params = np.array(theirs, dtype=np.int64).T
    for what, their, ours in (("MACs", macs, cache.macs), ("parameters", params, cache.params)):
        if (ours > 0).any():
            ratios = their[ours > 0] / ours[ours > 0]
            say(
                f"{path.name}: the authors' {what} are {np.median(ratios):.3g} times those that aiop counts on the "
                f"graphs (median; {ratios.min():.3g} to {ratios.max():.3g})"
            )
    return GraphCache(
        cache.graphs,
        cache.labels,
        cache.specs,
        cache.families,
        cache.metric,
        macs,
        params,
        layout.cost_source,
        cache.provenance,
    )
