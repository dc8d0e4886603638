"""The report of a run: one HTML file that holds everything it shows.

No network is needed to view it: charts are SVG, style and script are part of the file.
Numbers are kept in their unit and shown for reading: fractions as percent, MACs and
parameters in millions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from aiop_core.contracts import Metric
from aiop_core.errors import LabelError
from aiop_core.metrics import CONFIDENCE, Interval
from aiop_core.pipeline.charts import Point, axis, histogram, scatter

FEW = 30
"""With fewer labels than this the report warns that intervals are wide."""

_SCORE_NAMES = {"mae": "MAE", "spearman": "Spearman", "kendall": "Kendall τ-b", "ndcg": "NDCG"}
_PERCENT = f"{100 * CONFIDENCE:g}\N{NO-BREAK SPACE}%"
_LOWER_IS_BETTER = {"mae"}


@dataclass(frozen=True)
class ReportRow:
    """One architecture: what was measured, what it costs, and what each predictor said.

    Attributes:
        spec: its canonical text.
        label: the measured value, in the metric's unit.
        macs: multiply-adds for one input.
        params: parameters.
        predictions: by predictor name, in the metric's unit; absent where none was made.
        others: what else the task measured, by metric name, in each one's unit.
    """

    spec: str
    label: float
    macs: float
    params: float
    predictions: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunReport:
    """Everything that a report shows.

    Attributes:
        title: the heading.
        task: the task's name.
        family: the family's name, or where the architectures came from.
        metric: what the labels measure.
        rows: the architectures, in the order of labelling.
        scores: for each predictor, the main ones first, what ``metrics.summarise`` gave.
        asks: for each baseline, the question that the comparison with it answers; predictors
            without one are the main ones.
        evaluation: how the predictions were made, as a sentence.
        provenance: how the run was made: command, options, versions, seed, machine; texts,
            numbers, or mappings of them, shown under their keys.
        others: the task's other metrics.
    """

    title: str
    task: str
    family: str
    metric: Metric
    rows: Sequence[ReportRow]
    scores: Mapping[str, Mapping[str, Interval]]
    asks: Mapping[str, str]
    evaluation: str
    provenance: Mapping[str, Any]
    others: Sequence[Metric] = ()

    @property
    def factor(self) -> float:
        """From the metric's unit to the one on screen."""
        return 100.0 if self.metric.unit == "fraction" else 1.0

    @property
    def unit(self) -> str:
        """The unit on screen."""
        return "%" if self.metric.unit == "fraction" else self.metric.unit


def write_report(path: Path, report: RunReport) -> None:
    """Write ``report`` as one self-contained HTML file.

    Raises:
        LabelError: if there are no rows, or a label is not finite.
    """
    if not report.rows:
        raise LabelError("a report needs at least one labelled architecture; label some first ('aiop label')")
    for row in report.rows:
        if not math.isfinite(row.label):
            raise LabelError(f"the label of '{row.spec}' is {row.label}; a report needs finite labels")
    front = pareto_front(report.rows, higher_is_better=report.metric.higher_is_better)
    body = [_head(report), _score_table(report), _predicted(report), _labels(report, front)]
    body += [_architectures(report, front), _caveats(report), _provenance(report)]
    template = Template(resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    path.write_text(template.substitute(title=escape(report.title), body="\n".join(body)), encoding="utf-8")


def pareto_front(rows: Sequence[ReportRow], *, higher_is_better: bool = True) -> list[ReportRow]:
    """The rows that no other beats in label without more MACs, from the cheapest on."""
    sign = 1 if higher_is_better else -1
    front: list[ReportRow] = []
    for row in sorted(rows, key=lambda r: (r.macs, -sign * r.label)):
        if not front or sign * row.label > sign * front[-1].label:
            front.append(row)
    return front


def _head(report: RunReport) -> str:
    chips = {"task": report.task, "family": report.family, "metric": report.metric.name, "labels": len(report.rows)}
    simple = {k: v for k, v in report.provenance.items() if isinstance(v, str | int | float) and len(str(v)) <= 40}
    items = "".join(f"<li><b>{escape(str(k))}</b>{escape(str(v))}</li>" for k, v in {**chips, **simple}.items())
    return f'<h1>{escape(report.title)}</h1><ul class="chips">{items}</ul><p class="lead">{_verdict(report)}</p>'


def _verdict(report: RunReport) -> str:
    """The result in one or two sentences, with the best baseline beside it."""

    def told(name: str) -> str:
        value, low, high = report.scores[name]["spearman"]
        if math.isnan(value):
            return "no defined rank correlation"
        return f"a rank correlation (Spearman) of {value:.2f} ({_PERCENT} interval {_span(low, high, 2)})"

    ranked = [name for name in report.scores if "spearman" in report.scores[name]]
    chief = next((name for name in ranked if not report.asks.get(name)), None)
    if chief is None:
        return ""
    text = f"<b>{escape(chief)}</b> reaches {told(chief)}."
    others = [n for n in ranked if report.asks.get(n) and not math.isnan(report.scores[n]["spearman"][0])]
    if others:
        best = max(others, key=lambda n: report.scores[n]["spearman"][0])
        text += f" The best baseline, <b>{escape(best)}</b>, reaches {told(best)}."
    return text


def _score_table(report: RunReport) -> str:
    names = list(dict.fromkeys(name for scores in report.scores.values() for name in scores))
    best = {name: _best(report, name) for name in names}
    unit = "percentage points" if report.metric.unit == "fraction" else escape(report.metric.unit)
    head = "".join(
        f"<th>{escape(_SCORE_NAMES.get(name, name))}{f'<br><small>{unit}</small>' if name == 'mae' else ''}</th>"
        for name in names
    )
    lines = []
    for predictor, scores in report.scores.items():
        asks = report.asks.get(predictor, "")
        note = f"<small>{escape(asks)}</small>" if asks else ""
        cells = "".join(
            _score_cell(scores.get(name), report.factor if name == "mae" else 1.0, best=predictor in best[name])
            for name in names
        )
        chief = "" if asks else ' class="chief"'
        lines.append(f"<tr{chief}><td>{escape(predictor)}{note}</td>{cells}</tr>")
    return (
        "<section><h2>How good the predictions are</h2>"
        f'<p class="soft">{escape(report.evaluation)} Below each score its {_PERCENT} bootstrap interval; '
        "the best of a column is bold, – means not defined.</p>"
        f'<div class="scroll"><table class="scores"><thead><tr><th>Predictor</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></section>"
    )


def _score_cell(score: Interval | None, factor: float, *, best: bool) -> str:
    if score is None or math.isnan(score[0]):
        return "<td>–</td>"
    value, low, high = (factor * number for number in score)
    digits = 2 if factor > 1 else 3
    return f"<td{' class=best' if best else ''}>{value:.{digits}f}<small>{_span(low, high, digits)}</small></td>"


def _best(report: RunReport, name: str) -> set[str]:
    values = {p: s[name][0] for p, s in report.scores.items() if name in s and not math.isnan(s[name][0])}
    if not values:
        return set()
    goal = (min if name in _LOWER_IS_BETTER else max)(values.values())
    return {predictor for predictor, value in values.items() if value == goal}


def _predicted(report: RunReport) -> str:
    factor, labels = report.factor, [report.factor * row.label for row in report.rows]
    x_axis, charts = axis(labels), []
    drawn = {name: [row for row in report.rows if _is_number(row.predictions.get(name))] for name in report.scores}
    values = [factor * row.predictions[name] for name, rows in drawn.items() for row in rows]
    if not values:
        return ""
    for name, rows in drawn.items():
        points = [
            Point(
                factor * row.label,
                factor * row.predictions[name],
                f"{row.spec}\nmeasured {_number(row.label, report.metric)}, "
                f"predicted {_number(row.predictions[name], report.metric)}",
            )
            for row in rows
        ]
        title, y_axis = f"measured {report.metric.name} ({report.unit})", axis([*labels, *values])
        drawing = scatter(points, title, f"predicted ({report.unit})", x_axis=x_axis, y_axis=y_axis, diagonal=True)
        charts.append(f"<div><h3>{escape(name)}</h3>{drawing}</div>")
    return (
        "<section><h2>Predicted against measured</h2>"
        '<p class="soft">On the dashed line both are equal. All charts share their axes.</p>'
        f'<div class="charts">{"".join(charts)}</div></section>'
    )


def _labels(report: RunReport, front: Sequence[ReportRow]) -> str:
    size, word = _size_unit([row.macs for row in report.rows])

    def point(row: ReportRow) -> Point:
        tip = f"{row.spec}\n{_number(row.label, report.metric)} at {row.macs / size:.4g} {word} MACs"
        return Point(row.macs / size, report.factor * row.label, tip, marked=row in front)

    points, title = [point(row) for row in report.rows], f"{report.metric.name} ({report.unit})"
    x_axis, y_axis = axis([p.x for p in points], log=True), axis([p.y for p in points])
    cost = scatter(points, f"MACs ({word})", title, x_axis=x_axis, y_axis=y_axis, front=[point(row) for row in front])
    spread = histogram([p.y for p in points], title, "architectures")
    described = f'<p class="soft">{escape(report.metric.description)}</p>' if report.metric.description else ""
    return (
        f"<section><h2>What was measured</h2>{described}"
        f'<div class="charts"><div><h3>Metric against cost, Pareto front in orange</h3>{cost}</div>'
        f"<div><h3>Distribution of the labels</h3>{spread}</div></div></section>"
    )


def _architectures(report: RunReport, front: Sequence[ReportRow]) -> str:
    others = [metric.name for metric in report.others]
    columns = [report.metric.name, *others, "MACs (M)", "params (M)", *report.scores]
    head = "".join(f'<th><button type="button">{escape(name)}</button></th>' for name in ["spec", *columns])
    lines = []
    for row in report.rows:
        spec = escape(row.spec)
        marked = " marked" if row in front else ""
        cells = [f'<td class="spec{marked}" data-value="{spec}">{spec}</td>']
        cells.append(_value_cell(row.label, _number(row.label, report.metric)))
        cells += [_value_cell(value := row.others.get(m.name), _number(value, m)) for m in report.others]
        cells += [_value_cell(n, f"{n / 1e6:,.2f}") for n in (row.macs, row.params)]
        for name in report.scores:
            value = row.predictions.get(name)
            cells.append(_value_cell(value, _number(value, report.metric)))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return (
        "<section><h2>All architectures</h2>"
        '<p class="soft">A click on a heading sorts. ◆ marks the Pareto front; '
        "the columns on the right are predictions.</p>"
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></section>"
    )


def _value_cell(value: float | None, shown: str) -> str:
    return f'<td data-value="{value if _is_number(value) else ""}">{shown}</td>'


def _caveats(report: RunReport) -> str:
    count = len(report.rows)
    found = [f"All of this rests on {count} labelled architectures."]
    if count < FEW:
        found.append(
            f"With fewer than {FEW} labels the intervals are wide: where they overlap, "
            "the table does not say which predictor is better."
        )
    if len({row.label for row in report.rows}) == 1:
        found.append("All labels are equal, so rank correlations are not defined and nothing can be ranked.")
    found.append(
        "Intervals come from resampling these architectures; they do not show how much a label "
        "changes when an architecture is trained again with another seed."
    )
    items = "".join(f"<li>{escape(text)}</li>" for text in found)
    return f'<section><h2>What to keep in mind</h2><ul class="plain">{items}</ul></section>'


def _provenance(report: RunReport) -> str:
    lines = []
    for key, value in report.provenance.items():
        if isinstance(value, str | int | float) and "\n" not in str(value):
            shown = escape(str(value))
        else:
            text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=str)
            shown = f"<pre>{escape(text)}</pre>"
        lines.append(f"<dt>{escape(str(key))}</dt><dd>{shown}</dd>")
    return f"<section><h2>How it was made</h2><dl>{''.join(lines)}</dl></section>" if lines else ""


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _number(value: float | None, metric: Metric) -> str:
    """A metric value as the screen shows it."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{100 * value:.2f} %" if metric.unit == "fraction" else f"{value:.4g}"


def _span(low: float, high: float, digits: int) -> str:
    return "–" if math.isnan(low) else f"{low:.{digits}f} … {high:.{digits}f}"


def _size_unit(sizes: Sequence[float]) -> tuple[float, str]:
    return (1e9, "billion") if max(sizes) >= 2e9 else (1e6, "million")
