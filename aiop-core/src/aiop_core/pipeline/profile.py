"""``aiop profile``: what body, head and whole of a run's architectures cost, kept in its records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from aiop_core.contracts import Family, Profiler, Task
from aiop_core.errors import AiopError, ModelError, StoreError
from aiop_core.graph.cost import Cost, cost
from aiop_core.pipeline.initialisation import architecture_seed, initialisation
from aiop_core.pipeline.scoring import SAID, profiler_source
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry, Selection
from aiop_core.records.record import Record
from aiop_core.records.store import LabelStore

PIECES = "cost/"
"""What details are of a piece, as ``cost/METRIC/PIECE/macs``; see :class:`~aiop_core.capabilities.Itemised`."""


@dataclass(frozen=True)
class RunProfiler:
    """Makes the architectures of a run again as they were labelled, and counts them.

    Attributes:
        family: the search space.
        task: gives the head and the input's size.
        seed: of the run, which the weights that profilers see follow from.
        profilers: by name.
        score_sources: for each of them its version and options.
    """

    family: Family[Any]
    task: Task
    seed: int
    profilers: Mapping[str, Profiler] = field(default_factory=dict)
    score_sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def unknown(self, record: Record) -> bool:
        """Whether something is left to count."""
        return record.body is None or bool(self._unscored(record)) or self._lacks_pieces(record)

    def profile(self, record: Record, *, again: bool) -> Record:
        """The record with what it lacks; with everything counted anew if ``again``.

        Raises:
            SpecError: if the family does not know the architecture.
            GraphError: if the body cannot be traced.
        """
        if again:
            record = replace(record, costs={name: cost(graph) for name, graph in record.graphs.items()})
        if again or record.body is None:
            record = replace(record, body=self._body(record.spec))
        if self._lacks_pieces(record) or (again and self._itemised):
            record = replace(record, details={**record.details, **self._pieces(record.spec)})
        names = list(self.profilers) if again else self._unscored(record)
        return self._scored(record, names) if names else record

    def _unscored(self, record: Record) -> list[str]:
        return [name for name in self.profilers if name not in _profilers_of(record)]

    def _body(self, spec: str) -> Cost:
        import torch

        from aiop_core.graph.trace import trace

        with torch.device("meta"):  # a graph needs no weights
            body: Any = self.family.backbone(self.family.parse(spec))
        return cost(trace(body, (3, *self.task.input_hw)))

    @property
    def _itemised(self) -> bool:
        return hasattr(self.task, "pieces")

    def _lacks_pieces(self, record: Record) -> bool:
        return self._itemised and not any(name.startswith(PIECES) for name in record.details)

    def _pieces(self, spec: str) -> dict[str, float]:
        import torch

        task: Any = self.task
        with torch.device("meta"):
            model = task.model(self.family.backbone(self.family.parse(spec)))
        return {
            f"{PIECES}{metric}/{name}/{key}": float(getattr(piece, key))
            for metric, pieces in task.pieces(model).items()
            for name, piece in pieces.items()
            for key in ("macs", "params", "count")
        }

    def _scored(self, record: Record, names: Sequence[str]) -> Record:
        with initialisation(architecture_seed(self.seed, record.spec)):
            model = self.task.model(self.family.backbone(self.family.parse(record.spec)))
        kept = {name: value for name, value in record.scores.items() if name.partition("/")[0] not in names}
        new = {
            f"{name}/{key}": float(value)
            for name in names
            for key, value in self.profilers[name].profile(model, (3, *self.task.input_hw)).items()
        }
        sources = {**record.score_sources, **{name: self.score_sources[name] for name in names}}
        return replace(record, scores=kept | new, score_sources=sources)


def _profilers_of(record: Record) -> set[str]:
    return {name.partition("/")[0] for name in record.scores} | set(record.score_sources)


def run_profiler(registry: PluginRegistry, store: LabelStore, profilers: Sequence[str] = ()) -> RunProfiler:
    """The profiler of a run folder, with its family and task as its options say.

    Raises:
        StoreError: if the folder's options are damaged.
        UnknownNameError: if a plugin is not installed.
    """
    family, task = (registry.create(kind, name, values) for kind, name, values in _plugins(store))
    return RunProfiler(
        family,
        task,
        int(store.identity.get("seed", 0)),
        {name: registry.create("profiler", name) for name in profilers},
        {name: profiler_source(registry, Selection("profiler", name, None)) for name in profilers},
    )


def _plugins(store: LabelStore) -> list[tuple[str, str, dict[str, Any]]]:
    """Kind, name and options of family and task: those that decide labels from the store, the rest beside it."""
    path = store.folder / "options.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        tables = {kind: {**config.get(kind, {}), **store.identity[kind]} for kind in ("family", "task")}
        return [
            (kind, table["name"], {key: value for key, value in table.items() if key != "name"})
            for kind, table in tables.items()
        ]
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise StoreError(
            f"{path} is damaged ({error}); run the 'aiop label' of this folder again, which writes it anew"
        ) from None


@dataclass
class ProfileSummary:
    """What profiling did, by spec."""

    profiled: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def profile_run(profiler: RunProfiler, store: LabelStore, view: View, *, again: bool = False) -> ProfileSummary:
    """Profile every record of a store; each finished one is kept at once.

    What another process is profiling is left to it, and waited for at the end.

    Args:
        profiler: of this store.
        store: its records get what they lack; nothing that they have is changed.
        view: told how far it is.
        again: count everything anew and replace what differs.

    Raises:
        StoreError: if the store has no records, or one cannot be written.
        ModelError: if every architecture that was left failed.
    """
    records = list(store)
    if not records:
        raise StoreError(f"{store.folder} has no labels yet; label some architectures first")
    pending = [record for record in records if again or profiler.unknown(record)]
    summary = ProfileSummary(skipped=[r.spec for r in records if not (again or profiler.unknown(r))])
    if summary.skipped:
        view.say(f"{len(summary.skipped)} of {len(records)} architectures are profiled already: skipped")
    _say_other_versions(profiler, records, view, again=again)
    progress = view.stage("profile")

    def attempt(spec: str, *, wait: bool) -> str | None:
        """What came of it; ``None`` if another process is at it."""
        with store.claim(f"profile {spec}", wait=wait) as free:
            if not free:
                return None
            known = store.get(spec)
            assert known is not None  # records are never taken away
            if not again and not profiler.unknown(known):
                return "skipped"
            try:
                found = profiler.profile(known, again=again)
            except (AiopError, RuntimeError) as error:  # torch raises RuntimeError, for want of memory too
                return f"failed: {(str(error).strip().splitlines() or [type(error).__name__])[0]}"
            if found != known:
                store.append(found)
            return "profiled"

    elsewhere: list[str] = []
    first = [record.spec for record in pending]
    for job, specs in ((partial(attempt, wait=False), first), (partial(attempt, wait=True), elsewhere)):
        for spec in specs:
            outcome = job(spec)
            if outcome is None:
                elsewhere.append(spec)
                continue
            if outcome == "profiled":
                summary.profiled.append(spec)
            elif outcome == "skipped":
                summary.skipped.append(spec)
            else:
                summary.failed[spec] = outcome.removeprefix("failed: ")
                if len(summary.failed) <= SAID:
                    view.say(f"no profile of {spec}: {summary.failed[spec]}")
            progress(len(summary.profiled) + len(summary.skipped) + len(summary.failed), len(records))
    if pending and len(summary.failed) == len(pending):
        raise ModelError(f"no architecture could be profiled; the first: {next(iter(summary.failed.values()))}")
    return summary


def _say_other_versions(profiler: RunProfiler, records: Sequence[Record], view: View, *, again: bool) -> None:
    """Scores of another version or other options stay unless all are counted again; that should be known."""
    for name, source in profiler.score_sources.items():
        read_back = json.loads(json.dumps(source))
        other = sum(r.score_sources[name] != read_back for r in records if name in r.score_sources)
        if other and not again:
            view.say(f"{other} architectures keep what another version of '{name}' said; --reprofile replaces it")


def profile_json(store: LabelStore) -> list[dict[str, Any]]:
    """Each record's costs and scores, as JSON values, in the order of specs."""

    def plain(counted: Cost | None) -> dict[str, int] | None:
        return None if counted is None else {"macs": counted.macs, "params": counted.params}

    return [
        {
            "spec": record.spec,
            "body": plain(record.body),
            "head": {metric: plain(record.head(metric)) for metric in record.costs},
            "whole": {metric: plain(counted) for metric, counted in record.costs.items()},
            "pieces": _pieces(record),
            "scores": dict(record.scores),
        }
        for record in sorted(store, key=lambda r: r.spec)
    ]


def _pieces(record: Record) -> dict[str, dict[str, dict[str, int]]]:
    """By metric and piece: MACs of one use, parameters, and uses for an image."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for name, value in record.details.items():
        if name.startswith(PIECES):
            metric, piece, key = name.removeprefix(PIECES).split("/")
            found.setdefault(metric, {}).setdefault(piece, {})[key] = int(value)
    return found


def profile_rows(store: LabelStore) -> list[tuple[str, list[float]]]:
    """For a person: each part's MACs and parameters over all records that know them, and each score."""
    known = [record for record in store if record.body is not None]
    rows = [("body", [r.body for r in known if r.body])]
    for metric in dict.fromkeys(name for record in known for name in record.costs):
        rows.append((f"head, {metric}", [head for r in known if (head := r.head(metric))]))
        rows.append((f"whole, {metric}", [r.costs[metric] for r in known]))
    counts = [
        (f"{part}: {what}", [getattr(counted, key) / 1e6 for counted in counted_parts])
        for part, counted_parts in rows
        for what, key in (("million MACs", "macs"), ("million parameters", "params"))
    ]
    itemised = [_pieces(record) for record in known]
    for metric, pieces in itemised[0].items() if itemised else ():
        for piece, one in pieces.items():
            times = f", each of {one['count']}" if one["count"] > 1 else ""
            macs = [each[metric][piece]["macs"] / 1e6 for each in itemised if piece in each.get(metric, {})]
            counts.append((f"{piece} of {metric}{times}: million MACs", macs))
    scores = dict.fromkeys(name for record in store for name in record.scores)
    return counts + [(name, [r.scores[name] for r in store if name in r.scores]) for name in scores]
