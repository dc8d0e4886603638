"""What caches are called: ``FAMILY_METRIC_SUFFIX.safetensors``, or as the research code calls them.

That is ``gpi_FAMILY_METRIC_SUFFIX_comp_graph_cache.pkl``, where a detection metric is spelt without
its last part (``obj_det`` for ``obj_det_AP``). Source: Ascend-Research/AIO-P, ``make_cg_task_cache.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiop_core.errors import CacheError
from aiop_core.pipeline.provenance import provenance
from aiop_core.records.cache import GraphCache
from aiop_core.records.legacy.layouts import DETECTION
from aiop_core.records.legacy.reading import LegacyImport, read_legacy_cache

ENDINGS = (".safetensors", "_comp_graph_cache.pkl", "_comp_graph_cache.pkl.gz")
"""Ours, and those of the research code, whose names begin with ``gpi_``."""


@dataclass(frozen=True)
class CacheName:
    """What the name of a cache says.

    Attributes:
        family: of the architectures.
        metric: of the labels.
        suffix: anything else, such as the data set and the mode; empty if there is nothing.
    """

    family: str
    metric: str
    suffix: str = ""

    @property
    def file(self) -> str:
        """Our file name.

        Raises:
            CacheError: if a part cannot stand in a file name.
        """
        parts = [part for part in (self.family, self.metric, self.suffix) if part]
        for part in parts:
            if not re.fullmatch(r"\w[\w.+-]*", part):
                raise CacheError(f"'{part}' cannot be part of a file name; use letters, digits and _ . + -")
        return "_".join(parts) + ENDINGS[0]


def parse_cache_name(name: str, metric: str) -> CacheName | None:
    """The parts of a cache's name, with or without ending; ``None`` if it does not name the metric.

    Args:
        name: such as ``ofa_pn_val_PCK_lsp`` or ``gpi_ofa_pn_val_PCK_lsp_comp_graph_cache.pkl``.
        metric: which its labels are of; it may hold ``_`` as family and suffix may.
    """
    stem = bare_name(name)
    for word in (metric, DETECTION.get(metric)):
        found = re.fullmatch(rf"(.+?)_{re.escape(word)}(?:_(.+))?", stem) if word else None
        if found:
            return CacheName(found[1], metric, found[2] or "")
    return None


def bare_name(name: str) -> str:
    """``ofa_pn_val_PCK_lsp``, however the file is called."""
    for ending in ENDINGS:
        if name.endswith(ending):
            return name.removesuffix(ending).removeprefix("gpi_" if ending != ENDINGS[0] else "")
    return name


def find_cache(path: Path) -> Path:
    """The file that ``path`` means: itself, or its name with our or the research code's beginning and ending."""
    if path.exists():
        return path
    bare = bare_name(path.name)
    others = (path.with_name(bare + ENDINGS[0]), *(path.with_name(f"gpi_{bare}{ending}") for ending in ENDINGS[1:]))
    return next((other for other in others if other.is_file()), path)


def read_cache(path: Path, say: Callable[[str], None], *, unit: str = "fraction") -> GraphCache:
    """Read a cache by file or name; one of the research code's is imported as ``aiop cache import`` does.

    Args:
        path: see ``find_cache``.
        say: told what a user should know of an imported one.
        unit: of an imported one's labels, where its kind does not tell it.

    Raises:
        CacheError: if there is no such cache, or it is damaged.
    """
    found = find_cache(path)
    if not found.name.endswith(ENDINGS[1:]):
        return GraphCache.load(found)
    return read_legacy_cache(found, LegacyImport(unit=unit), provenance(), say)
