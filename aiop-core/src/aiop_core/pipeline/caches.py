"""Graph caches as ``aiop cache`` handles them: described, and never overwritten by accident."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.errors import CacheError
from aiop_core.graph.fingerprints import fingerprints
from aiop_core.graph.ops import Op
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.view import View
from aiop_core.records.cache import GraphCache
from aiop_core.records.combine import Merged, merge, recounted
from aiop_core.records.legacy.reading import LegacyImport, read_legacy_cache


def import_caches(files: Sequence[Path], how: LegacyImport, view: View) -> Merged:
    """Published caches as one of ours.

    Raises:
        CacheError: if a file is not read, or they are of several metrics.
    """
    origin, step = provenance(), view.stage("import")
    read = []
    for i, file in enumerate(files):
        step(i, len(files), file.name)
        read.append((str(file), read_legacy_cache(file, how, origin, view.say)))
    step(len(files), len(files))
    return merge(read, origin) if len(read) > 1 else Merged(read[0][1], 0)


def merge_files(files: Sequence[Path], *, recount: bool) -> Merged:
    """Caches as one; their costs counted on the graphs again if ``recount``.

    Raises:
        CacheError: if a file is damaged, or metric, unit or the source of the cost differ.
    """
    read = [(str(file), GraphCache.load(file)) for file in files]
    return merge([(name, recounted(cache)) for name, cache in read] if recount else read, provenance())


def check_free(paths: Sequence[Path], *, force: bool, suffix: str = ".safetensors") -> None:
    """Make sure that files are called what they are, and that writing destroys nothing that the user wants to keep.

    Raises:
        CacheError: if a name ends otherwise, or a file exists and ``force`` is not given.
    """
    for path in paths:
        if path.suffix != suffix:
            raise CacheError(f"{path} must end with {suffix}, by which the file is known")
        if path.exists() and not (force and path.is_file()):
            raise CacheError(f"{path} exists; name another file, or overwrite it with --force")


def describe(cache: GraphCache) -> dict[str, Any]:
    """What a cache holds, as JSON values."""
    known = Counter(fingerprints(cache.graphs))
    ops = np.bincount(cache.graphs.columns["op"], minlength=len(Op))
    return {
        "graphs": len(cache),
        "networks": len(known),
        "metric": asdict(cache.metric),
        "labels": _range(cache.labels),
        "families": dict(Counter(cache.families).most_common()),
        "nodes": _range(cache.graphs.sizes),
        "edges": _range(np.diff(cache.graphs.edge_offsets)),
        "macs": _range(cache.macs),
        "params": _range(cache.params),
        "cost_source": cache.cost_source,
        "scores": {
            name: {
                "known": int(np.isfinite(values).sum()),
                **_range(values[np.isfinite(values)]),
                "source": dict(cache.score_sources.get(name, {})),
            }
            for name, values in cache.graphs.scores.items()
        },
        "operations": {Op(int(i)).name: int(ops[i]) for i in np.argsort(-ops, kind="stable") if ops[i]},
        "provenance": dict(cache.provenance),
    }


def description_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """``describe`` as lines for a person."""
    metric, percent = found["metric"], found["metric"]["unit"] == "fraction"

    def span(key: str, scale: float, digits: int, unit: str = "") -> str:
        low, mean, high = (f"{found[key][name] * scale:,.{digits}f}" for name in ("min", "mean", "max"))
        return f"{low} to {high}{unit}, mean {mean}"

    return [
        ("graphs", f"{found['graphs']}, of {found['networks']} different networks"),
        (
            "metric",
            f"{metric['name']}, {metric['unit']}, {'higher' if metric['higher_is_better'] else 'lower'} is better",
        ),
        ("labels", span("labels", 100, 2, " %") if percent else span("labels", 1, 4)),
        ("families", ", ".join(f"{name} {count}" for name, count in found["families"].items())),
        ("nodes", span("nodes", 1, 0)),
        ("edges", span("edges", 1, 0)),
        ("GMACs", span("macs", 1e-9, 3)),
        ("million parameters", span("params", 1e-6, 3)),
        ("cost counted by", found["cost_source"]),
        *(
            (f"score {name}", f"{s['min']:.4g} to {s['max']:.4g}, known of {s['known']}")
            for name, s in found["scores"].items()
        ),
        *(
            ("scores given by", text)
            for text in dict.fromkeys(_source_text(s["source"]) for s in found["scores"].values())
        ),
        ("operations", ", ".join(f"{name} {count}" for name, count in found["operations"].items())),
        *(
            (f"made: {key}", value if isinstance(value, str) else json.dumps(value))
            for key, value in found["provenance"].items()
        ),
    ]


def _source_text(source: Mapping[str, Any]) -> str:
    """What gave a score, in words."""
    if not source:
        return "an unknown source"
    return ", ".join(f"{key} {value if isinstance(value, str) else json.dumps(value)}" for key, value in source.items())


def _range(values: np.ndarray[Any, Any]) -> dict[str, float]:
    if not len(values):
        return {"min": 0, "mean": 0, "max": 0}
    return {"min": values.min().item(), "mean": float(values.mean()), "max": values.max().item()}
