"""How scores are written for people."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiop_core.contracts import Metric

SHOWN: Mapping[str, str] = {"mae": "MAE", "spearman": "Spearman", "kendall": "Kendall"}
"""The scores that tables show, by their key in results, and their headings."""


def finite_json(value: Any) -> Any:
    """``value`` with ``null`` for numbers that JSON cannot hold, such as an undefined correlation."""
    if isinstance(value, Mapping):
        return {key: finite_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in one piece: a killed writer leaves the old one."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(finite_json(value), indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)


def number_text(value: float, key: str, metric: Metric) -> str:
    """A score; MAE of a fraction in percentage points, ``–`` where it is not defined."""
    if not math.isfinite(value):
        return "–"
    if key == "mae":
        return f"{100 * value:.2f} %" if metric.unit == "fraction" else f"{value:.4g}"
    return f"{value:.3f}"


def score_text(interval: Sequence[float], key: str, metric: Metric) -> str:
    """A score with its confidence interval."""
    value, low, high = (number_text(v, key, metric) for v in interval)
    return f"{value}  [{low.removesuffix(' %')}, {high}]"


def spread_text(values: Sequence[float], key: str, metric: Metric) -> str:
    """Mean ± deviation over seeds, and the range."""
    known = [v for v in values if math.isfinite(v)]
    if not known:
        return "–"
    mean = sum(known) / len(known)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in known) / max(len(known) - 1, 1))
    texts = [number_text(v, key, metric).removesuffix(" %") for v in (mean, deviation, min(known), max(known))]
    unit = " %" if key == "mae" and metric.unit == "fraction" else ""
    return f"{texts[0]} ± {texts[1]}{unit}  [{texts[2]}, {texts[3]}]"
