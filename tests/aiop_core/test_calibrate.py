"""Intervals hold as often as they say, on networks like those that were labelled."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiop_core.contracts import Labelled, Metric
from aiop_core.errors import ContractError, OptionError
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.model import GraphSet
from aiop_core.pipeline import calibrate as module
from aiop_core.pipeline.calibrate import Calibration, calibrate, fitting, is_uncertain, predict_with_spread

ACCURACY, LATENCY = Metric("acc"), Metric("latency", unit="ms")


def chain(width):
    """A graph for each width."""
    builder = GraphBuilder()
    builder.output(builder.conv(builder.input((8, 8)), width, 3))
    return builder.build()


ALL = GraphSet.of(chain(width) for width in range(1, 701))


def size(graphs):
    """A number in (0, 1] that a graph is known by: its width as a part of the largest."""
    return graphs.columns["resolution"][graphs.node_offsets[1:] - 1, 5] / len(ALL)


class Known:
    """Says the truth without its noise; learns nothing."""

    def fit(self, train, *, seed, device, progress):
        self.learnt = len(train)

    def predict(self, graphs):
        return 0.5 + 0.1 * size(graphs)


class Aware(Known):
    """Knows that noise grows with the width."""

    def spread(self, graphs):
        return size(graphs)


def noisy(rng, count, *, growing):
    graphs = ALL.take(rng.choice(len(ALL), count, replace=False))
    noise = rng.standard_t(4, count) * (size(graphs) if growing else 1.0)
    return Labelled(graphs, Known().predict(graphs) + 0.01 * noise)


def learnt(kind):
    return fitting(kind, seed=0, device="cpu")


@pytest.mark.parametrize("kind", [Known, Aware])
@pytest.mark.parametrize(("count", "confidence"), [(19, 0.9), (60, 0.8), (600, 0.9)])
def test_intervals_hold_as_often_as_they_say(kind, count, confidence):
    rng, held, total = np.random.default_rng(0), 0, 0
    for _ in range(12 if count < 500 else 4):
        data = noisy(rng, count + 100, growing=kind is Aware)
        known, test = data.take(np.arange(count)), data.take(np.arange(count, count + 100))
        found = calibrate(learnt(kind), known, seed=0, groups=range(count))
        assert (found.base == 1) == (kind is Known)
        low, high = found.intervals(*predict_with_spread(kind(), test.graphs), confidence=confidence)
        held += int(((low <= test.labels) & (test.labels <= high)).sum())
        total += 100
    effective = total / (1 + 100 / count)  # tests of one calibration share its luck
    error = math.sqrt(confidence * (1 - confidence) / effective)
    assert held / total >= confidence - 3 * error
    assert held / total <= confidence + 1 / count + 3 * error, "too wide an interval is no use either"


def test_a_predictor_that_knows_its_spread_has_narrow_intervals_where_it_is_sure():
    data = noisy(np.random.default_rng(1), 300, growing=True)
    widths = {}
    for kind in (Known, Aware):
        found = calibrate(learnt(kind), data, seed=0)
        low, high = found.intervals(*predict_with_spread(kind(), ALL), confidence=0.9)
        widths[kind] = high - low
    assert np.ptp(widths[Known]) < 1e-12
    assert widths[Aware][:70].mean() < 0.75 * widths[Known][:70].mean()
    assert widths[Aware].mean() < widths[Known].mean()


def test_the_quantile_is_the_smallest_score_that_is_enough():
    found = Calibration([float(n) for n in range(1, 20)], base=1.0, how="")
    assert found.width(0.9) == 18, "the 18th of 19: ceil(20 * 0.9)"
    assert found.width(0.95) == 19
    assert math.isinf(found.width(0.951))
    assert found.width(0.01) == 1
    assert found.most == 0.95
    hundred = Calibration([float(n) for n in range(1, 100)], base=1.0, how="")
    assert hundred.width(0.07) == 7, "0.07 * 100 is 7.000000000000001"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.1, 0.5]) | st.floats(0, 10), max_size=40).map(sorted),
    st.floats(0.001, 0.999),
    st.floats(0.001, 0.999),
)
def test_more_confidence_never_means_a_narrower_interval(scores, one, other):
    found = Calibration(scores, base=1.0, how="")
    less, more = sorted([one, other])
    assert found.width(less) <= found.width(more)
    assert math.isinf(found.width(more)) == (more > found.most + 1e-9)
    width = found.width(more)
    if math.isfinite(width):
        assert sum(score <= width for score in scores) >= more * (len(scores) + 1) - 1e-6


def test_ties_and_perfect_predictions():
    graphs = ALL[:20]
    found = calibrate(learnt(Known), Labelled(graphs, Known().predict(graphs)), seed=0)
    assert set(found.scores) == {0.0}
    low, high = found.intervals(Known().predict(graphs), np.zeros(20))
    assert (low == high).all()


def test_tiny_numbers_of_labels_are_said():
    eight = calibrate(learnt(Known), noisy(np.random.default_rng(2), 8, growing=False), seed=0)
    assert eight.how == "cross-conformal: 5 folds of 8 labels"
    assert eight.warning(0.9) == (
        "Intervals are unbounded: --confidence 0.9 needs 9 held-out labels, and there are 8, "
        "which tell at most 0.888; ask for that, or train with more labels."
    )
    assert eight.warning(0.888) == ""
    low, high = eight.intervals(np.array([0.5]), np.zeros(1), confidence=0.9, metric=ACCURACY)
    assert (low[0], high[0]) == (0, 1)
    assert math.isinf(eight.intervals(np.array([0.5]), np.zeros(1), metric=LATENCY)[1][0])
    alone = calibrate(learnt(Known), Labelled(ALL.take([3, 3]), np.array([0.1, 0.2])), seed=0)
    assert alone.scores == []
    assert alone.most == 0
    assert "no label was left to calibrate them on" in alone.warning(0.5)


def test_few_labels_are_all_used_and_many_are_split_once(monkeypatch):
    fits = []

    def counting(data):
        fits.append(len(data))
        return Known()

    calibrate(counting, noisy(np.random.default_rng(3), 100, growing=False), seed=0)
    assert fits == [80] * 5
    fits.clear()
    many = calibrate(counting, noisy(np.random.default_rng(3), 600, growing=False), seed=0)
    assert fits == [480]
    assert many.how == "split-conformal: 120 of 600 labels held out"
    fits.clear()
    monkeypatch.setattr(module, "HOLDOUT_MOST", 50)
    assert len(calibrate(counting, noisy(np.random.default_rng(3), 600, growing=False), seed=0).scores) == 50


@dataclass
class Memory:
    """Knows the label of what it learnt, and nothing else."""

    labels: dict

    def predict(self, graphs):
        return np.array([self.labels.get(graph.fingerprint, 99.0) for graph in graphs])


def test_isomorphic_graphs_are_never_learnt_from_and_held_out():
    graphs = ALL.take(np.arange(30).repeat(2))
    data = Labelled(graphs, np.linspace(0, 1, 60))

    def fit(known):
        return Memory({g.fingerprint: y for g, y in zip(known.graphs, known.labels, strict=True)})

    assert min(calibrate(fit, data, seed=0).scores) > 90


def test_fractions_stay_fractions():
    found = Calibration([0.2] * 20, base=1.0, how="")
    low, high = found.intervals(np.array([0.1, 0.95]), np.zeros(2), metric=ACCURACY)
    assert (low.tolist(), high.tolist()) == ([0.0, 0.75], [0.30000000000000004, 1.0])
    assert found.intervals(np.array([0.1]), np.zeros(1), metric=LATENCY)[0][0] < 0


@pytest.mark.parametrize("confidence", [0, 1, 1.5, -1, math.nan])
def test_what_is_no_confidence_is_refused(confidence):
    with pytest.raises(OptionError, match="it must lie between 0 and 1, both excluded"):
        Calibration([0.1], base=1.0, how="").width(confidence)


class BadSpread(Known):
    def spread(self, graphs):
        return np.zeros(len(graphs))


class BadShape(Known):
    def predict(self, graphs):
        return np.zeros((len(graphs), 1))


@pytest.mark.parametrize(
    ("kind", "what"), [(BadSpread, "'spread' of BadSpread"), (BadShape, "predictor 'BadShape' gave")]
)
def test_a_broken_predictor_is_named(kind, what):
    with pytest.raises(ContractError, match=what):
        predict_with_spread(kind(), ALL[:3])


def test_a_calibration_is_read_back_and_damage_is_seen():
    found = Calibration([0.1234567, 0.5], base=0.5, how="words")
    again = Calibration.from_json(found.to_json())
    assert again.scores == [0.123457, 0.5]
    assert (again.base, again.how) == (0.5, "words")
    with pytest.raises(ValueError, match="not ascending"):
        Calibration.from_json({"scores": [2, 1], "base": 1.0, "how": ""})
    assert is_uncertain(Aware())
    assert not is_uncertain(Known())
