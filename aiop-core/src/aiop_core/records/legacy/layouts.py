"""What an entry of a published cache says: which graph, which label, which cost.

Three layouts are known, all of them lists of dictionaries:

- classification: ``acc`` is top-1 accuracy, ``flops`` a count, ``n_params`` a count;
- a task: ``metric_map`` is ``METRIC->acc``, ``flops`` is in units of 10⁹ and ``params`` of 10⁶,
  for body and head, while ``n_params`` stays that of the classifier;
- detection: as a task, and beside it the graphs and metrics (in percent) of the other
  detection tasks, since one training gives several.

Source: Ascend-Research/AIO-P, ``make_cg_task_cache.py``, ``run_profiler.py``, the managers under ``tasks``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiop_core.errors import CacheError
from aiop_core.records.legacy.graphs import Translator

DETECTION: Mapping[str, str] = {
    "obj_det_AP": "obj_det",
    "inst_seg_AP": "inst_seg",
    "sem_seg_mIoU": "sem_seg",
    "pan_seg_PQ": "pan_seg",
}
"""The detection metrics, and the word for each in the other keys of an entry."""

CLASSIFICATION = "acc"
"""The metric of entries that name none: top-1 accuracy."""

MAX_NAME = 200
"""The longest name of a graph or metric."""

FROM_FLOPS = "authors: MACs = flops / 2"
FROM_MACS = "authors: MACs = flops"
"""Who counted, and how their ``flops`` became our MACs.

Pose caches have twice the multiply-adds. Detection caches have multiply-adds, of which those of
the box and mask heads are constants; so have, as far as their numbers tell, classification caches.
"""


@dataclass(frozen=True)
class Layout:
    """Where an entry has the things of one metric.

    Attributes:
        metric: its name.
        label: key of the value.
        graph: key of the graph.
        percent: whether the value is in percent.
        flops: key, and how many multiply-adds its unit is.
        params: key, and how many parameters its unit is.
        cost_source: who counted.
    """

    metric: str
    label: str
    graph: str
    percent: bool
    flops: tuple[str, float]
    params: tuple[str, float]
    cost_source: str


def layout_of(entry: Mapping[str, Any], wanted: str | None) -> Layout:
    """Where this entry has the metric ``wanted``, or its main one.

    Raises:
        CacheError: if it has no such metric, naming those it has.
    """
    mapped = entry.get("metric_map")
    main = None if mapped is None else one_line(mapped, "'metric_map'").removesuffix("->acc")
    beside = [metric for metric, task in DETECTION.items() if metric != main and metric in entry and task in entry]
    if wanted in beside:
        task = DETECTION[wanted]
        return Layout(wanted, wanted, task, True, (f"flops_{task}", 1e9), (f"params_{task}", 1e6), FROM_MACS)
    if main is None:
        return Layout(wanted or CLASSIFICATION, "acc", "compute graph", False, ("flops", 1), ("n_params", 1), FROM_MACS)
    if wanted not in (None, main):
        raise CacheError(f"it has no metric '{wanted}'; it has {', '.join([main, *beside])}")
    units, source = (1e9, FROM_MACS) if main in DETECTION else (0.5e9, FROM_FLOPS)
    return Layout(main, "acc", "compute graph", False, ("flops", units), ("params", 1e6), source)


def one_line(value: Any, what: str) -> str:
    """A text that can stand in a message, a file name or a table.

    Raises:
        CacheError: if it is none.
    """
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_NAME:
        raise CacheError(f"its {what} is no text of at most {MAX_NAME} characters on one line")
    return value


def number(entry: Mapping[str, Any], key: str) -> float | None:
    """A finite number of at least 0, or ``None`` if there is no such key.

    Raises:
        CacheError: if there is something else.
    """
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**62 or math.isnan(value):
        raise CacheError(f"its '{key}' is no number of at least 0")
    return float(value)


def cost_of(entry: Mapping[str, Any], layout: Layout) -> tuple[int, int] | None:
    """MACs and parameters as the authors counted them; ``None`` where they did not.

    Raises:
        CacheError: if one of them is no number.
    """
    flops, params = number(entry, layout.flops[0]), number(entry, layout.params[0])
    if flops is None or params is None:
        return None
    return round(flops * layout.flops[1]), round(params * layout.params[1])


def spec_of(entry: Mapping[str, Any], name: str, translator: Translator) -> str:
    """The configuration as canonical JSON; the graph's name where there is none.

    Raises:
        CacheError: if it cannot be JSON.
    """
    if entry.get("original config") is None:
        return name
    config = translator.plain(entry["original config"])
    try:
        return json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise CacheError("its configuration holds a number that is not finite") from None


def family_of(name: str, file_name: str, metric: str) -> str:
    """Whose architecture it is: by the graph's name (``OFA-PN-Net7``: ``ofa_pn``), else the file's.

    Files of several families are why the graph's name comes first.
    """
    if found := re.match(r"(.{1,60}?)(?:-Net|(?<=Net))\d+(?=_|$)", name):
        return found[1].lower().replace("-", "_")
    stem = re.sub(r"^gpi_|_?comp_graph_cache.*$|\.pkl.*$", "", file_name)
    for word in (metric, metric.rpartition("_")[0]):
        family, separator, _ = stem.partition(f"_{word}_" if word else "\0")
        if separator:
            return family
    return stem or "unknown"
