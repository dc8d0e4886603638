"""A target is a rising map between labels and scores, and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm, rankdata

from aiop_predictor_gp.targets import Target

Make = Callable[[np.ndarray], Target]

MAKES = pytest.mark.parametrize("make", [Target.rank, Target.raw])

known = arrays(np.float64, st.integers(1, 20), elements=st.integers(-50, 50).map(lambda n: n / 7))
asked = arrays(np.float64, 15, elements=st.floats(-40, 40))


@MAKES
@given(known, asked)
@settings(deadline=None)
def test_the_way_back_leads_back(make: Make, labels: np.ndarray, values: np.ndarray) -> None:
    target = make(labels)
    for x in (labels, values):
        np.testing.assert_allclose(target.inverse(target.transform(x)), x, rtol=1e-9, atol=1e-9)


@MAKES
@given(known, asked)
@settings(deadline=None)
def test_rises(make: Make, labels: np.ndarray, values: np.ndarray) -> None:
    target = make(labels)
    order = np.unique(np.round(np.concatenate([values, labels]), 6))
    assert (np.diff(target.transform(order)) > 0).all()
    assert (np.diff(target.inverse(order)) > 0).all()


@MAKES
def test_scores_have_about_mean_0_and_deviation_1(make: Make) -> None:
    labels = 3 + 0.1 * np.random.default_rng(0).exponential(size=500)
    scores = make(labels).transform(labels)
    assert scores.mean() == pytest.approx(0, abs=1e-6)
    assert scores.std() == pytest.approx(1, abs=0.02)


def test_ranks_become_normal_scores_and_equal_labels_equal_ones() -> None:
    labels = np.array([5.0, 1.0, 1.0, 100.0])
    expected = norm.ppf((rankdata(labels) - 0.5) / 4)
    np.testing.assert_allclose(Target.rank(labels).transform(labels), expected)


def test_standardised_labels_are_a_straight_map() -> None:
    labels = np.array([1.0, 2.0, 6.0])
    values = np.array([-100.0, 0.0, 3.3, 100.0])
    np.testing.assert_allclose(Target.raw(labels).transform(values), (values - 3) / labels.std())


@MAKES
def test_beyond_the_ends_it_goes_on_with_the_slope_of_the_whole(make: Make) -> None:
    target = make(np.array([0.0, 1.0, 10.0, 11.0]))
    ends = target.transform(np.array([0.0, 11.0]))
    slope = (ends[1] - ends[0]) / 11
    np.testing.assert_allclose(target.transform(np.array([-4.0, 14.0])), [ends[0] - 4 * slope, ends[1] + 3 * slope])


@MAKES
@pytest.mark.parametrize("value", [0.0, 0.1, -3e9, 1e-9])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_constant_labels_are_what_a_score_of_0_means(make: Make, value: float, count: int) -> None:
    target = make(np.full(count, value))
    assert target.inverse(np.zeros(1)) == pytest.approx(value)
    assert target.transform(np.full(1, value)) == pytest.approx(0, abs=1e-9)
