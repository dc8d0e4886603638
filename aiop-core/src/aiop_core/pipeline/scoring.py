"""``aiop cache score``: what a profiler says of each architecture of a cache, kept beside its graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.contracts import Profiler
from aiop_core.errors import AiopError, ModelError
from aiop_core.options import options_dict
from aiop_core.pipeline.initialisation import architecture_seed, initialisation
from aiop_core.pipeline.models import ModelReader
from aiop_core.pipeline.models.code import is_factory
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry, Selection
from aiop_core.records.cache import GraphCache
from aiop_core.records.score_journal import ScoreJournal

Entry = tuple[str, str]
"""The family and the spec of an architecture."""

SAID = 5
"""How many failures are said one by one."""


@dataclass(frozen=True)
class Scored:
    """A cache with scores.

    Attributes:
        cache: all entries; NaN where a score is not known.
        names: of the profiler's scores.
        failed: what a profiler could not score, and why.
    """

    cache: GraphCache
    names: Sequence[str]
    failed: Mapping[Entry, str]


def profiler_source(registry: PluginRegistry, profiler: Selection, seed: int | None = None) -> dict[str, Any]:
    """What gives a score: the profiler, its version and options, and the seed of the weights if there is one."""
    plugin = registry.get("profiler", profiler.name)
    options = plugin.registration.options() if profiler.options is None and plugin.registration else profiler.options
    return {
        "profiler": profiler.name,
        "version": f"{plugin.source.distribution} {plugin.source.version}",
        "options": options_dict(options, runtime=False),
        **({} if seed is None else {"weights_seed": seed}),
    }


def score_cache(
    registry: PluginRegistry,
    cache: GraphCache,
    profiler: Selection,
    *,
    seed: int,
    journal: Path,
    view: View,
    allow_code: bool = False,
) -> Scored:
    """Score every architecture of ``cache``; what a killed run has done is done.

    An architecture has random weights that follow from the seed and its spec. One that cannot
    be made or scored is said, and its scores stay unknown.

    Args:
        registry: makes the architectures and the profiler.
        cache: what to score.
        profiler: with its options.
        seed: of the weights.
        journal: a file for what is done so far; ``Scored.cache`` saved, it can go.
        view: told how far it is.
        allow_code: also make architectures that are spelled as Python code, which runs it.

    Raises:
        CacheError: if the journal is of another cache or other options.
        ModelError: if no architecture can be scored, or one is code and ``allow_code`` is not given.
    """
    source = profiler_source(registry, profiler, seed)
    entries = list(zip(cache.families, cache.specs, strict=True))
    code = next((spec for family, spec in entries if _runs_code(registry, spelling(registry, family, spec))), None)
    if code is not None and not allow_code:
        raise ModelError(
            f"the cache names Python code as an architecture, '{code}', and scoring it runs that code; "
            "if you trust both, give --allow-code"
        )
    digest = hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:16]
    known = ScoreJournal(journal, {"source": source, "architectures": digest})
    todo = [entry for entry in dict.fromkeys(entries) if entry not in known.found]
    total = len(set(entries))
    if len(todo) < total:
        view.say(f"{total - len(todo)} of {total} architectures are scored already: skipped")
    made, readers = registry.make(profiler), Readers(registry, cache)
    failed: dict[Entry, str] = {}
    progress = view.stage(profiler.name)
    for done, (family, spec) in enumerate(todo, start=total - len(todo)):
        progress(done, total)
        try:
            known.add(family, spec, _scores(readers, made, family, spec, seed))
        except (AiopError, RuntimeError) as error:  # torch raises RuntimeError, for want of memory too
            failed[family, spec] = (str(error).strip().splitlines() or [""])[0]
            if len(failed) <= SAID:
                view.say(f"no scores for {spec}: {failed[family, spec]}")
    progress(total, total)
    if failed and not known.found:
        raise ModelError(f"no architecture could be scored; the first: {next(iter(failed.values()))}")
    return _stored(cache, entries, known.found, source, failed)


def _scores(readers: Readers, profiler: Profiler, family: str, spec: str, seed: int) -> dict[str, float]:
    with initialisation(architecture_seed(seed, spec)):
        model = readers.of(family).module(spelling(readers.registry, family, spec))
    return {name: float(value) for name, value in profiler.profile(model.module, model.input_shape).items()}


def _stored(
    cache: GraphCache,
    entries: Sequence[Entry],
    found: Mapping[Entry, Mapping[str, float]],
    source: Mapping[str, Any],
    failed: Mapping[Entry, str],
) -> Scored:
    """The cache with scores beside those that it has; older ones of this profiler go."""
    profiler = source["profiler"]
    names = list(dict.fromkeys(name for scores in found.values() for name in scores))
    kept = {n: v for n, v in cache.graphs.scores.items() if n.partition("/")[0] != profiler}
    new = {f"{profiler}/{n}": np.array([found.get(entry, {}).get(n, np.nan) for entry in entries]) for n in names}
    sources = {name: s for name, s in cache.score_sources.items() if name in kept} | dict.fromkeys(new, source)
    graphs = replace(cache.graphs, scores=kept | new)
    made_of = dict(cache.provenance.get("graphs") or {})
    others = [table for table in made_of.get("profilers", ()) if table["name"] != profiler]
    made_of["profilers"] = [*others, {"name": profiler, **source["options"]}]
    origin = {**cache.provenance, "graphs": made_of}
    return Scored(replace(cache, graphs=graphs, provenance=origin, score_sources=sources), list(new), failed)


def spelling(registry: PluginRegistry, family: str, spec: str) -> str:
    """How a user writes an architecture of a cache: ``family:spec``, or the spec if it is a whole model."""
    return f"{family}:{spec}" if family in registry.names("family") else spec


def _runs_code(registry: PluginRegistry, model: str) -> bool:
    plugins = (*registry.names("family"), *registry.names("zoo"))
    return is_factory(model) and model.partition(":")[0] not in plugins


class Readers:
    """Makes the networks of a cache as they were when it was made: family, its options, head, input.

    Args:
        registry: where families and tasks come from.
        cache: its provenance says how the graphs were made.

    Raises:
        AiopError: if what the cache names is not installed.
    """

    def __init__(self, registry: PluginRegistry, cache: GraphCache) -> None:
        self.registry = registry
        self._made_of: Mapping[str, Any] = cache.provenance.get("graphs") or {}
        self._readers: dict[str, ModelReader] = {}
        self._task = self._make("task")

    def of(self, family: str) -> ModelReader:
        """For the architectures of one family; made once."""
        if family not in self._readers:
            own = self._make("family") if (self._made_of.get("family") or {}).get("name") == family else None
            hw, shape = self._made_of.get("input_hw"), self._made_of.get("input_shape")
            self._readers[family] = ModelReader(
                self.registry,
                own,
                family if own else None,
                self._task,
                input_hw=tuple(hw) if hw and family in self.registry.names("family") else None,
                input_shape=tuple(shape) if shape else None,
            )
        return self._readers[family]

    def _make(self, kind: str) -> Any:
        table = self._made_of.get(kind)
        if not table:
            return None
        return self.registry.create(kind, table["name"], {k: v for k, v in table.items() if k != "name"})
