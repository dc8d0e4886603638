"""How scores are written for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from aiop_core.contracts import Metric

SHOWN: Mapping[str, str] = {"mae": "MAE", "spearman": "Spearman", "kendall": "Kendall"}
"""The scores that tables show, by their key in results, and their headings."""


RANKS = ("spearman", "kendall")
"""Those of them that need no unit."""


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


def value_text(value: float, metric: Metric) -> str:
    """A metric's value; a fraction as percent."""
    return f"{100 * value:.2f} %" if metric.unit == "fraction" else f"{value:.4g} {metric.unit}".rstrip()


def change_text(value: float, metric: Metric) -> str:
    """A difference of two of a metric's values, with its sign; percentage points of a fraction."""
    return f"{100 * value:+.3f}" if metric.unit == "fraction" else f"{value:+.4g}"


def change_unit(metric: Metric) -> str:
    """The unit of ``change_text``."""
    return "percentage points" if metric.unit == "fraction" else metric.unit or "no unit"


def interval_text(value: float, low: float | None, high: float | None, metric: Metric) -> str:
    """A predicted value and, if there is one, its interval."""
    if low is None or high is None:
        return value_text(value, metric)
    percent = metric.unit == "fraction"
    ends = ", ".join(f"{100 * end:.2f}" if percent else f"{end:.4g}".replace("inf", "∞") for end in (low, high))
    return f"{value_text(value, metric)} [{ends}]"


def spread_text(values: Sequence[float], key: str, metric: Metric) -> str:
    """Mean ± deviation over seeds, and the range; of one seed its value, since one tells no deviation."""
    if not (known := [v for v in values if math.isfinite(v)]):
        return "–"
    if len(known) == 1:
        return f"{number_text(known[0], key, metric)} ± –"
    texts = [number_text(v, key, metric).removesuffix(" %") for v in (*_mean_deviation(known), min(known), max(known))]
    unit = " %" if key == "mae" and metric.unit == "fraction" else ""
    return f"{texts[0]} ± {texts[1]}{unit}  [{texts[2]}, {texts[3]}]"


def _mean_deviation(values: Sequence[float]) -> tuple[float, float]:
    """The deviation of a single value is NaN."""
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else math.nan


def bootstrap_text(scores: Sequence[Mapping[str, Sequence[float]]], key: str, metric: Metric) -> str:
    """The bootstrap interval of a score over seeds; empty where it is not defined."""
    found = summary_of(scores).get(key)
    if found is None:
        return ""
    low, high = (number_text(found[end], key, metric) for end in ("low", "high"))
    return f"({low.removesuffix(' %')} … {high})"


def summary_of(scores: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, dict[str, float]]:
    """For each score its mean, deviation (NaN of one seed) and range over seeds, and its bootstrap interval.

    ``low`` and ``high`` are the means of the seeds' own intervals: seeds are tested on nearly
    the same architectures, so that more of them do not make these fewer.
    """
    found = {}
    for key in scores[0]:
        known = [interval for item in scores if math.isfinite((interval := item[key])[0])]
        if not known:
            continue
        values = [interval[0] for interval in known]
        mean, deviation = _mean_deviation(values)
        low, high = (_mean_deviation([interval[end] for interval in known])[0] for end in (1, 2))
        found[key] = {
            "mean": mean,
            "deviation": deviation,
            "min": min(values),
            "max": max(values),
            "low": low,
            "high": high,
        }
    return found
