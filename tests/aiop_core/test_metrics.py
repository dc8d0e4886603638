import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aiop_core.errors import LabelError
from aiop_core.metrics import METRICS, bootstrap, kendall, mae, ndcg, spearman, summarise

values = arrays(np.float64, st.integers(3, 30), elements=st.integers(-5, 5).map(float))


def test_each_metric_by_hand():
    measured, predicted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 6.0])
    assert mae(measured, predicted) == pytest.approx(1.0)
    assert spearman(measured, predicted) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert kendall(measured, predicted) == pytest.approx((5 - 1) / 6)
    gain, discount = np.array([1, 2 / 3, 1 / 3, 0]), 1 / np.log2([2, 3, 4, 5])
    swapped = np.array([1, 1 / 3, 2 / 3, 0])
    assert ndcg(measured, predicted) == pytest.approx((swapped * discount).sum() / (gain * discount).sum())


@given(measured=values, seed=st.integers(0, 1000))
def test_correlations_agree_with_scipy(measured, seed):
    from scipy import stats

    predicted = np.random.default_rng(seed).integers(0, 6, len(measured)).astype(float)
    with np.errstate(invalid="ignore"):
        constant = len(set(measured)) == 1 or len(set(predicted)) == 1
        expected = (
            (math.nan, math.nan)
            if constant
            else (
                stats.spearmanr(measured, predicted).statistic,
                stats.kendalltau(measured, predicted).statistic,
            )
        )
    assert spearman(measured, predicted) == pytest.approx(expected[0], nan_ok=True)
    assert kendall(measured, predicted) == pytest.approx(expected[1], nan_ok=True)


@given(measured=values)
def test_ndcg_of_the_true_order_is_one_and_of_a_constant_is_the_mean_over_orders(measured):
    if len(set(measured)) == 1:
        assert math.isnan(ndcg(measured, measured))
        return
    assert ndcg(measured, measured * 3 + 1) == pytest.approx(1.0)
    assert ndcg(measured, -measured) <= ndcg(measured, np.zeros(len(measured))) + 1e-12 <= 1 + 1e-9


@pytest.mark.parametrize("metric", METRICS.values())
def test_metrics_work_along_the_last_axis(metric):
    rng = np.random.default_rng(0)
    measured, predicted = rng.normal(size=(5, 12)), rng.normal(size=(5, 12))
    assert metric(measured, predicted) == pytest.approx(
        [float(metric(m, p)) for m, p in zip(measured, predicted, strict=True)]
    )


@pytest.mark.parametrize("metric", [spearman, kendall])
def test_correlation_with_a_constant_is_not_defined(metric):
    assert math.isnan(metric(np.arange(5.0), np.full(5, 0.7)))
    assert math.isnan(metric(np.full(5, 0.7), np.arange(5.0)))
    assert all(map(math.isnan, bootstrap(metric, np.arange(5.0), np.full(5, 0.7), seed=0)))


def test_bootstrap_interval_covers_the_true_mean_error_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth, hits = math.sqrt(2 / math.pi), 0
    for trial in range(200):
        low, high = bootstrap(mae, np.zeros(100), rng.normal(size=100), seed=trial, resamples=300)
        hits += low <= truth <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_bootstrap_is_seeded():
    measured, predicted = np.random.default_rng(0).normal(size=(2, 50))
    assert bootstrap(mae, measured, predicted, seed=3) == bootstrap(mae, measured, predicted, seed=3)
    assert bootstrap(mae, measured, predicted, seed=3) != bootstrap(mae, measured, predicted, seed=4)


def test_summary_of_two_thousand_records_is_fast():
    measured, predicted = np.random.default_rng(0).normal(size=(2, 2000))
    start = time.perf_counter()
    scores = summarise(measured, predicted)
    assert time.perf_counter() - start < 15  # about 1.5 s when nothing else runs
    assert list(scores) == ["mae", "spearman", "kendall", "ndcg"]
    assert all(low <= high for _, low, high in scores.values())


def test_lengths_must_agree():
    with pytest.raises(LabelError, match=r"as many measured as predicted values.*\(3,\) and \(2,\)"):
        summarise([1, 2, 3], [1, 2])
    with pytest.raises(LabelError, match="at least one"):
        summarise([], [])


@pytest.mark.parametrize("side", ["measured", "predicted"])
def test_values_must_be_finite(side):
    sides = {"measured": [1.0, 2.0], "predicted": [1.0, 2.0]} | {side: [1.0, math.nan]}
    with pytest.raises(LabelError, match=f"{side} value 1 is nan; metrics need finite numbers"):
        summarise(**sides)


def test_lower_is_better_turns_the_ranking_of_ndcg_only():
    error, predicted = np.array([0.1, 0.2, 0.9]), np.array([0.1, 0.3, 0.2])
    up, down = summarise(error, predicted), summarise(error, predicted, higher_is_better=False)
    assert down["ndcg"][0] == pytest.approx(float(ndcg(-error, -predicted)))
    assert down["ndcg"][0] != pytest.approx(up["ndcg"][0])
    assert all(down[name][0] == pytest.approx(up[name][0]) for name in ("mae", "spearman", "kendall"))
