import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from aiop_core.contracts import Metric
from aiop_core.errors import LabelError
from aiop_core.metrics import summarise
from aiop_core.pipeline.charts import axis, histogram
from aiop_core.pipeline.report import ReportRow, RunReport, pareto_front, write_report

VOID = {"meta", "line", "circle", "rect", "path", "br", "link", "img", "input"}
HOSTILE = "<script>alert('x')</script>&\"quoted\""


class Page(HTMLParser):
    """Checks that tags nest, and collects what tests look at."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.cells, self.text = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def shown(self):
        return " ".join(self.text)


def make_report(labels, predicted, *, specs=None, unit="fraction", **changes):
    labels = np.asarray(labels, dtype=float)
    predicted = {name: np.asarray(values, dtype=float) for name, values in predicted.items()}
    rows = [
        ReportRow(
            specs[i] if specs else f"d2-w{i}",
            float(labels[i]),
            1e6 * (i + 1),
            1e5 * (i + 2),
            {name: float(values[i]) for name, values in predicted.items()},
        )
        for i in range(len(labels))
    ]
    fields = {
        "title": "pose × chains",
        "task": "pose",
        "family": "chains",
        "metric": Metric("val_PCK", unit=unit, description="share of joints that are found"),
        "rows": rows,
        "scores": {name: summarise(labels, values) for name, values in predicted.items()},
        "asks": {"size": "Does size alone tell?"},
        "evaluation": "Every prediction was made by a model that had not seen it.",
        "provenance": {"command": "aiop run --seed 3", "seed": 3, "options": {"epochs": 2}, "versions": {"numpy": "2"}},
    }
    return RunReport(**{**fields, **changes})


def written(tmp_path, report):
    write_report(tmp_path / "report.html", report)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


LABELS = [0.5, 0.62, 0.71, 0.7]
PREDICTED = {"graphs": [0.52, 0.6, 0.7, 0.72], "size": [0.6, 0.7, 0.5, 0.6]}


def test_report_shows_what_it_was_given(tmp_path):
    _, page = written(tmp_path, make_report(LABELS, PREDICTED))
    for text in (
        *("pose × chains", "d2-w0", "d2-w3", "62.00 %", "graphs", "size", "Does size alone tell?"),
        *("share of joints that are found", "had not seen it", "aiop run --seed 3", '"epochs": 2', "1.75"),
    ):
        assert text in page.shown
    assert page.tags.count("svg") == len(PREDICTED) + 2
    assert page.tags.count("circle") == len(LABELS) * (len(PREDICTED) + 1)


def test_report_loads_nothing_from_anywhere(tmp_path):
    text, page = written(tmp_path, make_report(LABELS, PREDICTED))
    assert not re.search(r"https?://|@import|url\(|\bimport\(|fetch\(", text)
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert not any({"src", "href"} & set(attributes) for attributes in page.attributes)


def test_hostile_texts_are_escaped(tmp_path):
    report = make_report(
        LABELS,
        {HOSTILE: LABELS},
        specs=[HOSTILE, "b", "c", "d"],
        title=HOSTILE,
        task=HOSTILE,
        family=HOSTILE,
        evaluation=HOSTILE,
        metric=Metric(HOSTILE, unit=HOSTILE, description=HOSTILE),
        asks={HOSTILE: HOSTILE},
        provenance={HOSTILE: HOSTILE, "options": {HOSTILE: HOSTILE}},
    )
    text, page = written(tmp_path, report)
    assert page.tags.count("script") == 1
    assert "<script>alert" not in text
    assert any(attributes.get("data-value") == HOSTILE for attributes in page.attributes)


def test_the_most_important_sentence_names_predictor_and_best_baseline(tmp_path):
    _, page = written(
        tmp_path, make_report(LABELS, PREDICTED | {"trees": [0.5, 0.6, 0.8, 0.7]}, asks={"size": "?", "trees": "?"})
    )
    lead = " ".join("".join(page.text).split())
    assert "graphs reaches a rank correlation (Spearman) of 0.80 (95 % interval" in lead
    assert "The best baseline, trees, reaches a rank correlation (Spearman) of 1.00" in lead


def test_scores_that_are_not_defined_are_dashes(tmp_path):
    text, page = written(tmp_path, make_report(LABELS, {"constant": [0.6] * 4}))
    assert "no defined rank correlation" in page.shown
    assert text.count("<td>–</td>") == 2  # Spearman and Kendall
    assert "nan" not in page.shown


def test_constant_labels_are_drawn_and_named(tmp_path):
    text, page = written(tmp_path, make_report([0.5] * 5, {"graphs": [0.5, 0.4, 0.5, 0.6, 0.5]}))
    assert "All labels are equal" in page.shown
    assert not re.search(r'(x|y|cx|cy|width|height)="(nan|inf|-)', text)


@pytest.mark.parametrize("count", [1, 2])
def test_a_report_of_very_few_rows(tmp_path, count):
    _, page = written(tmp_path, make_report(LABELS[:count], {"graphs": LABELS[:count]}))
    assert "intervals are wide" in page.shown
    assert page.tags.count("tr") == 2 + 1 + count


def test_predictions_may_be_missing_or_not_finite(tmp_path):
    report = make_report(LABELS, PREDICTED)
    rows = [ReportRow("bare", 0.3, 1e6, 1e5), ReportRow("odd", 0.4, 2e6, 1e5, {"graphs": math.nan}), *report.rows]
    _, page = written(tmp_path, make_report(LABELS, PREDICTED, rows=rows))
    assert "–" in page.shown
    assert page.tags.count("circle") == len(rows) + len(report.rows) * len(PREDICTED)


def test_a_report_without_predictors_shows_the_labels(tmp_path):
    _, page = written(tmp_path, make_report(LABELS, {}))
    assert page.tags.count("svg") == 2


def test_units_other_than_fractions_are_shown_as_they_are(tmp_path):
    _, page = written(tmp_path, make_report([12.5, 20, 31], {"graphs": [12, 20, 30]}, unit="ms"))
    assert "12.5" in page.shown
    assert "1250" not in page.shown
    assert "measured val_PCK (ms)" in page.shown


def test_pareto_front_is_what_nothing_else_dominates():
    rng = np.random.default_rng(0)
    rows = [ReportRow(str(i), *(float(v) for v in rng.integers(1, 12, 2)), 1.0) for i in range(60)]
    for higher in (True, False):
        sign = 1 if higher else -1
        front = pareto_front(rows, higher_is_better=higher)
        kept = {(row.label, row.macs) for row in front}
        for row in rows:
            dominated = any(
                sign * o.label >= sign * row.label and o.macs <= row.macs and (o.label, o.macs) != (row.label, row.macs)
                for o in rows
            )
            assert dominated == ((row.label, row.macs) not in kept)
        assert [row.macs for row in front] == sorted(row.macs for row in front)


@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0], [-1.0, 1.0], [1e-6, 2e-6], [1.0, 1e9]])
@pytest.mark.parametrize("log", [False, True])
def test_axes_hold_their_values_and_a_few_round_ticks(values, log):
    found = axis(values, log=log)
    assert all(0 <= found(v) <= 1 for v in values)
    assert 2 <= len(found.ticks) <= 16
    assert all(found.low <= tick <= found.high for tick in found.ticks)
    assert list(found.ticks) == sorted(set(found.ticks))


def test_histogram_counts_every_value_once():
    values = np.random.default_rng(0).normal(size=200)
    tips = re.findall(r'data-tip="(\d+) from', histogram(values.tolist(), "x", "y"))
    assert 5 <= len(tips) <= 30
    assert sum(map(int, tips)) == 200


def test_an_empty_report_is_refused(tmp_path):
    with pytest.raises(LabelError, match="a report needs at least one labelled architecture"):
        write_report(tmp_path / "report.html", make_report([0.5], {}, rows=[]))


def test_a_label_that_is_not_finite_is_refused(tmp_path):
    with pytest.raises(LabelError, match="the label of 'bad' is nan; a report needs finite labels"):
        write_report(tmp_path / "report.html", make_report([0.5], {}, rows=[ReportRow("bad", math.nan, 1, 1)]))
