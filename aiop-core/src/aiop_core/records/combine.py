"""Graph caches taken apart and put together; each gives a new one."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from aiop_core.errors import CacheError, SplitError
from aiop_core.graph.fingerprints import fingerprints
from aiop_core.graph.model import GraphSet
from aiop_core.records.cache import LABELLED, GraphCache
from aiop_core.records.splits import holdout


def take(cache: GraphCache, indices: Int[np.ndarray, " _"]) -> GraphCache:
    """The entries at ``indices``, in that order."""
    return replace(
        cache,
        graphs=cache.graphs.take(indices),
        labels=cache.labels[indices],
        specs=[cache.specs[i] for i in indices.tolist()],
        families=[cache.families[i] for i in indices.tolist()],
        macs=cache.macs[indices],
        params=cache.params[indices],
    )


def recounted(cache: GraphCache) -> GraphCache:
    """The cache with MACs and parameters counted on its graphs, whoever counted them before."""
    counted = GraphCache.of(cache.graphs, cache.labels, cache.specs, cache.families, cache.metric, cache.provenance)
    return replace(counted, score_sources=cache.score_sources)


@dataclass(frozen=True)
class Merged:
    """A merged cache, and what it lost.

    Attributes:
        cache: all that the caches have in common.
        repeats: how many entries had the family, spec, graph and label of an earlier one.
        dropped_scores: those that not all caches have, or that have different sources.
        mixed: whether labels came about in different ways, such as by themselves and with a shared head.
    """

    cache: GraphCache
    repeats: int
    dropped_scores: Sequence[str] = ()
    mixed: bool = False


def merge(caches: Sequence[tuple[str, GraphCache]], provenance: Mapping[str, Any]) -> Merged:
    """All entries in their order, repeats dropped; a network that was measured twice stays twice.

    Args:
        caches: at least one, each with the name that messages and provenance give it.
        provenance: of the merging. What graphs are made of, and what decided labels, is kept where all agree.

    Raises:
        CacheError: if metric, unit or the source of the cost differ.
    """
    (first_name, first), *others = caches
    for name, other in others:
        for what, ours, theirs, advice in (
            ("metric", first.metric.name, other.metric.name, "merge caches of one metric"),
            ("unit", first.metric.unit, other.metric.unit, "merge caches of one unit"),
            ("direction", first.metric.higher_is_better, other.metric.higher_is_better, "merge caches of one metric"),
            ("cost source", first.cost_source, other.cost_source, "count all costs on the graphs with --recount"),
        ):
            if ours != theirs:
                raise CacheError(f"{first_name} has the {what} '{ours}' and {name} has '{theirs}'; {advice}")
    given = [cache for _, cache in caches]
    scores = shared_scores(given)
    dropped = sorted({name for part in given for name in part.graphs.scores} - set(scores))
    parts = [with_scores(part, scores) for part in given]
    families = [family for part in parts for family in part.families]
    specs = [spec for part in parts for spec in part.specs]
    labels = np.concatenate([part.labels for part in parts])
    prints = [fingerprint for part in parts for fingerprint in fingerprints(part.graphs)]
    seen = {entry: i for i, entry in reversed(list(enumerate(zip(families, specs, prints, labels, strict=True))))}
    whole = GraphCache(
        joined([part.graphs for part in parts]),
        labels,
        specs,
        families,
        first.metric,
        np.concatenate([part.macs for part in parts]),
        np.concatenate([part.params for part in parts]),
        first.cost_source,
        {
            **provenance,
            "merged": [{"file": name, "provenance": dict(part.provenance)} for name, part in caches],
            **{
                key: first.provenance[key]
                for key in ("graphs", LABELLED)
                if first.provenance.get(key) and all(c.provenance.get(key) == first.provenance[key] for c in given)
            },
        },
        parts[0].score_sources,
    )
    merged = take(whole, np.array(sorted(seen.values())))
    return Merged(merged, len(labels) - len(seen), dropped, len({_way(part) for part in given}) > 1)


def _way(cache: GraphCache) -> str:
    """How the labels came about, whatever the family; nothing where that is not known."""
    labelled: Mapping[str, Any] = cache.provenance.get(LABELLED) or {}
    return json.dumps({key: labelled[key] for key in sorted(labelled.keys() - {"family", "weights"})}, sort_keys=True)


def with_scores(cache: GraphCache, names: Collection[str]) -> GraphCache:
    """The cache with these of its scores only."""
    scores = {name: values for name, values in cache.graphs.scores.items() if name in names}
    sources = {name: source for name, source in cache.score_sources.items() if name in names}
    return replace(cache, graphs=replace(cache.graphs, scores=scores), score_sources=sources)


def shared_scores(caches: Sequence[GraphCache]) -> list[str]:
    """The scores that all caches have, each from one source."""
    first = caches[0]
    return [
        name
        for name in first.graphs.scores
        if all(name in c.graphs.scores and c.score_sources.get(name) == first.score_sources.get(name) for c in caches)
    ]


def joined(sets: Sequence[GraphSet]) -> GraphSet:
    """Sets of graphs end to end, without a loop over graphs; of their scores those that all have."""

    def offsets(name: str) -> np.ndarray[Any, Any]:
        return np.concatenate([[0], np.cumsum(np.concatenate([np.diff(getattr(s, name)) for s in sets]))])

    return GraphSet(
        {name: np.concatenate([s.columns[name] for s in sets]) for name in sets[0].columns},
        np.concatenate([s.edges for s in sets], axis=1),
        offsets("node_offsets").astype(np.int64),
        offsets("edge_offsets").astype(np.int64),
        {
            name: np.concatenate([s.scores[name] for s in sets])
            for name in sets[0].scores
            if all(name in s.scores for s in sets)
        },
    )


def merged_isomorphic(cache: GraphCache) -> GraphCache:
    """One entry for each different network, the first of its kind, with the mean label and the mean of known scores."""
    prints = fingerprints(cache.graphs)
    first: dict[str, int] = {}
    kind = np.array([first.setdefault(fingerprint, len(first)) for fingerprint in prints], dtype=np.int64)
    if len(first) == len(cache):
        return cache
    _, chosen = np.unique(kind, return_index=True)
    single = take(cache, chosen)
    scores = {name: means(values, kind, len(first)) for name, values in cache.graphs.scores.items()}
    return replace(single, graphs=replace(single.graphs, scores=scores), labels=means(cache.labels, kind, len(first)))


def means(values: np.ndarray[Any, Any], kind: np.ndarray[Any, Any], kinds: int) -> np.ndarray[Any, Any]:
    """The mean of what is known in each group; NaN where nothing is."""
    known = np.isfinite(values)
    sums = np.bincount(kind[known], weights=values[known], minlength=kinds)
    counts = np.bincount(kind[known], minlength=kinds)
    averaged: np.ndarray[Any, Any] = np.divide(sums, counts, out=np.full(kinds, np.nan), where=counts > 0)
    return averaged


def split(cache: GraphCache, fractions: Sequence[float], *, seed: int) -> list[GraphCache]:
    """Parts of about these sizes, each family spread over all of them; isomorphic graphs stay together.

    Args:
        cache: what to split.
        fractions: of each part; their sum is 1.
        seed: of the random order.

    Raises:
        SplitError: if the fractions are not at least two positive numbers with the sum 1, or a
            part would be empty.
    """
    if len(fractions) < 2 or min(fractions) <= 0 or not math.isclose(sum(fractions), 1):
        text = ",".join(f"{fraction:g}" for fraction in fractions)
        raise SplitError(f"fractions are {text}; give at least two above 0 whose sum is 1, such as 0.8,0.1,0.1")
    prints = fingerprints(cache.graphs)
    rest = np.arange(len(cache))
    parts = []
    for i, fraction in enumerate(fractions[:-1]):
        sides = holdout(
            [prints[j] for j in rest.tolist()],
            round(fraction / sum(fractions[i:]) * len(rest)),
            seed=seed,
            strata=[cache.families[j] for j in rest.tolist()],
        )
        parts.append(rest[sides.train])
        rest = rest[sides.test]
    return [_part(cache, indices, fractions, seed) for indices in (*parts, rest)]


def _part(cache: GraphCache, indices: np.ndarray[Any, Any], fractions: Sequence[float], seed: int) -> GraphCache:
    origin = {**cache.provenance, "split": {"fractions": list(fractions), "seed": seed}}
    return replace(take(cache, indices), provenance=origin)
