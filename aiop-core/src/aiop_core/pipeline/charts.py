"""The report's charts: small scalable drawings as SVG text, coloured by the page's style sheet.

Values come in the unit in which they are shown. Each chart is one ``<svg>`` without
identifiers or outside references, so that any number of them fit into a page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 380, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 44
_LOG_RATIO = 20
"""A positive axis that spans more than this ratio is logarithmic."""


@dataclass(frozen=True)
class Point:
    """A dot, and the text that pointing at it shows."""

    x: float
    y: float
    tip: str
    marked: bool = False


@dataclass(frozen=True)
class Axis:
    """Maps values to [0, 1]."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where ``value`` lies between the ends."""
        low, high, v = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return (v - low) / (high - low)


def axis(values: Sequence[float], *, log: bool = False) -> Axis:
    """An axis a little longer than the values, with about five round ticks; logarithmic only if asked and useful."""
    low, high = min(values), max(values)
    if log and low > 0 and high / low > _LOG_RATIO:
        low, high = low / 1.2, high * 1.2
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1, 2, 5) if len(decades) < 5 else (1,)
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        return Axis(low, high, tuple(t for t in ticks if low <= t <= high), log=True)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - pad, high + pad
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return Axis(low, high, tuple(round(i * step, 12) for i in range(first, last + 1)))


def scatter(
    points: Sequence[Point],
    x_title: str,
    y_title: str,
    *,
    x_axis: Axis,
    y_axis: Axis,
    diagonal: bool = False,
    front: Sequence[Point] = (),
) -> str:
    """Dots; with the line of equal values, or a staircase through ``front``."""
    body = []
    if diagonal:
        ends = max(x_axis.low, y_axis.low), min(x_axis.high, y_axis.high)
        if ends[0] < ends[1]:
            (x1, y1), (x2, y2) = (_place(x_axis, y_axis, end, end) for end in ends)
            body.append(f'<line class="diagonal" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
    if front:
        places = [_place(x_axis, y_axis, p.x, p.y) for p in front]
        path = f"M{places[0][0]} {places[0][1]}" + "".join(f"H{x}V{y}" for x, y in places[1:])
        body.append(f'<path class="front" d="{path}"/>')
    for point in points:
        x, y = _place(x_axis, y_axis, point.x, point.y)
        kind = "dot marked" if point.marked else "dot"
        body.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="4" data-tip="{escape(point.tip)}"/>')
    return _svg(x_axis, y_axis, x_title, y_title, body, f"{y_title} against {x_title}")


def histogram(values: Sequence[float], x_title: str, y_title: str) -> str:
    """Bars whose number follows the Freedman-Diaconis rule, between 5 and 30."""
    spread = max(values) - min(values)
    if spread > 0:
        wanted = len(np.histogram_bin_edges(np.asarray(values), bins="fd")) - 1
        counts, edges = np.histogram(values, bins=min(max(wanted, 5), 30))
    else:
        half = 0.02 * abs(values[0]) or 0.1
        counts, edges = np.array([len(values)]), np.array([values[0] - half, values[0] + half])
    x_axis, tallest = axis(edges.tolist()), int(counts.max())
    step = max(1, round(tallest / 5))
    y_axis = Axis(0, tallest * 1.08, tuple(range(0, tallest + 1, step)))
    bars = []
    for count, start, end in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        (x1, y), (x2, ground) = _place(x_axis, y_axis, start, count), _place(x_axis, y_axis, end, 0)
        tip = escape(f"{count} from {start:.4g} to {end:.4g}")
        bars.append(
            f'<rect class="bar" x="{x1 + 0.5:.1f}" y="{y}" width="{max(x2 - x1 - 1, 1):.1f}" '
            f'height="{ground - y:.1f}" data-tip="{tip}"/>'
        )
    return _svg(x_axis, y_axis, x_title, y_title, bars, f"Distribution of {x_title}")


def _place(x_axis: Axis, y_axis: Axis, x: float, y: float) -> tuple[float, float]:
    return (
        round(_LEFT + x_axis(x) * (WIDTH - _LEFT - _RIGHT), 1),
        round(HEIGHT - _BOTTOM - y_axis(y) * (HEIGHT - _TOP - _BOTTOM), 1),
    )


def _svg(x_axis: Axis, y_axis: Axis, x_title: str, y_title: str, body: Sequence[str], label: str) -> str:
    right, ground = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for tick in y_axis.ticks:
        y = _place(x_axis, y_axis, x_axis.low, tick)[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y}" x2="{right}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in x_axis.ticks:
        x = _place(x_axis, y_axis, tick, y_axis.low)[0]
        parts.append(f'<line class="grid" x1="{x}" y1="{_TOP}" x2="{x}" y2="{ground}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{ground + 16}" text-anchor="middle">{tick:g}</text>')
    middle = (_LEFT + right) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_title)}</text>')
    height = (_TOP + ground) / 2
    turned = f'transform="rotate(-90 13 {height})"'
    parts.append(f'<text class="axis" x="13" y="{height}" text-anchor="middle" {turned}>{escape(y_title)}</text>')
    return "".join([*parts, *body, "</svg>"])
