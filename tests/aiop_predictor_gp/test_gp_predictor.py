"""Graphs in, labels and their uncertainty out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.aiop_predictor_gp.cells import adapt, fit, network, tune

from aiop_core.contracts import Labelled, silent
from aiop_core.errors import LabelError, WeightsError
from aiop_core.graph.model import GraphSet
from aiop_core.metrics import mae, spearman
from aiop_predictor_gp.options import GpOptions, GpTuneOptions
from aiop_predictor_gp.predictor import GpPredictor

RAW = GpOptions(target="raw")


def test_fifty_labels_rank_networks_of_the_family(fitted: GpPredictor, test: Labelled) -> None:
    found = fitted.predict(test.graphs)
    assert spearman(test.labels, found) > 0.98
    assert mae(test.labels, found) < 0.03


def test_labels_of_the_training_graphs_are_not_merely_repeated(train: Labelled, test: Labelled) -> None:
    """Noise is not learnt by heart."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=len(train))
    noisy = replace(train, labels=train.labels + noise)
    found = fit(noisy, RAW).predict(train.graphs)
    assert mae(train.labels, found) < 0.85 * mae(train.labels, noisy.labels)


def test_the_same_seed_gives_the_same_predictions(train: Labelled, test: Labelled) -> None:
    state = torch.get_rng_state()
    np.random.seed(1)
    few = GpOptions(target="raw", capacity=10, processes=2)
    found = [fit(train, few, seed=seed).predict(test.graphs) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])  # other labels were left out
    assert torch.equal(torch.get_rng_state(), state)


def test_more_labels_than_one_process_holds(train: Labelled, test: Labelled) -> None:
    predictor = GpPredictor(GpOptions("raw", capacity=20))
    told: list[tuple[int, int]] = []
    report = predictor.fit(
        train, seed=0, device="cpu", progress=lambda done, total, note="": told.append((done, total))
    )
    assert report.values["processes"] == 3
    assert told[-1] == (3, 3)
    assert spearman(test.labels, predictor.predict(test.graphs)) > 0.95


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 2])
def test_few_labels_are_enough(train: Labelled, test: Labelled, count: int) -> None:
    predictor = fit(train.take(np.arange(count)))
    assert np.isfinite(predictor.predict(test.graphs)).all()
    assert (predictor.spread(test.graphs) > 0).all()
    if count == 1:
        np.testing.assert_allclose(predictor.predict(test.graphs), train.labels[0])


@pytest.mark.parametrize("value", [0.0, 0.7, -2e6])
def test_constant_labels_are_predicted(train: Labelled, test: Labelled, value: float) -> None:
    found = fit(replace(train, labels=np.full(len(train), value))).predict(test.graphs)
    np.testing.assert_allclose(found, value, atol=1e-9)


def test_equal_graphs_may_have_different_labels(test: Labelled) -> None:
    graphs = GraphSet.of([network("3d1p")] * 6)
    predictor = fit(Labelled(graphs, np.array([0.1, 0.2, 0.3, 0.1, 0.2, 0.3])), RAW)
    np.testing.assert_allclose(predictor.predict(graphs), 0.2, atol=1e-3)
    assert np.isfinite(predictor.predict(test.graphs)).all()


def test_no_graphs_have_no_predictions(fitted: GpPredictor, train: Labelled) -> None:
    assert fitted.predict(train.graphs[:0]).shape == fitted.spread(train.graphs[:0]).shape == (0,)


def test_labels_of_several_sets_are_ranked_though_their_units_differ(train: Labelled, test: Labelled) -> None:
    sets = np.arange(len(train)) % 2
    both = fit(Labelled(train.graphs, np.where(sets == 1, 900 + 100 * train.labels, train.labels), sets))
    assert [*both.sources] == ["pretraining0", "pretraining1"]
    assert spearman(test.labels, both.predict(test.graphs)) > 0.95
    assert (both.spread(test.graphs) > 0).all()


def test_spread_grows_away_from_what_is_known(fitted: GpPredictor, train: Labelled, test: Labelled) -> None:
    far = GraphSet.of([network("3" * 20, width=128), network("d" * 15, width=4)])
    known, near = fitted.spread(train.graphs), fitted.spread(test.graphs)
    assert known.mean() < near.mean()
    assert fitted.spread(far).min() > 3 * near.mean()


def test_spread_covers_errors(train: Labelled, test: Labelled) -> None:
    rng = np.random.default_rng(3)
    for scale in (0.03, 0.12):
        noisy, unseen = (replace(d, labels=d.labels + rng.normal(scale=scale, size=50)) for d in (train, test))
        predictor = fit(noisy, RAW)
        spread = predictor.spread(unseen.graphs)
        error = np.abs(predictor.predict(unseen.graphs) - unseen.labels)
        assert (error < 2 * spread).mean() >= 0.8
        assert 0.5 * scale < spread.mean() < 2.5 * scale


# --- Scores beside graphs -----------------------------------------------------------


@pytest.fixture(scope="module")
def scored(data: Labelled) -> Labelled:
    """Labels that only a score tells, over many orders of magnitude; a third is not known, another says nothing."""
    rng = np.random.default_rng(8)
    hidden = rng.normal(size=len(data))
    proxy = 10.0 ** (5 * hidden)
    proxy[rng.permutation(len(data))[:30]] = np.nan
    known = {"proxy": proxy, "noise": rng.normal(size=len(data)), "nothing": np.full(len(data), np.nan)}
    return Labelled(replace(data.graphs, scores=known), 0.5 + 0.1 * hidden)


def test_scores_tell_what_structure_does_not(scored: Labelled) -> None:
    train, test = scored.take(np.arange(60)), scored.take(np.arange(60, 100))
    known = np.isfinite(test.graphs.scores["proxy"])
    read, unread = fit(train, RAW), fit(train, GpOptions(target="raw", scores=False))
    assert spearman(test.labels[known], read.predict(test.graphs)[known]) > 0.8
    assert spearman(test.labels[known], unread.predict(test.graphs)[known]) < 0.5


def test_scores_that_are_missing_are_no_error(scored: Labelled, train: Labelled) -> None:
    predictor, other = fit(scored, RAW), fit(train, RAW)
    bare = replace(scored.graphs, scores={})
    gaps = np.isnan(scored.graphs.scores["proxy"])
    assert gaps.any()
    for graphs in (scored.graphs, bare):
        assert np.isfinite(predictor.predict(graphs)).all()
        assert np.isfinite(predictor.spread(graphs)).all()
    assert spearman(predictor.predict(bare), predictor.predict(scored.graphs)) < 0.9
    np.testing.assert_array_equal(other.predict(scored.graphs), other.predict(bare))  # it never saw any


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_scores_that_are_out_of_range_are_no_error(scored: Labelled, value: float) -> None:
    found = scored.graphs.scores["proxy"].copy()
    found[:3] = value
    wild = Labelled(replace(scored.graphs, scores={"proxy": found}), scored.labels)
    predictor = fit(wild, RAW)
    assert np.isfinite(predictor.predict(wild.graphs)).all()
    assert np.isfinite(predictor.spread(wild.graphs)).all()


# --- What is refused ----------------------------------------------------------------


def test_must_be_fitted_first(train: Labelled, tmp_path: Path) -> None:
    new = GpPredictor(GpOptions())
    uses: list[Callable[[], object]] = [
        lambda: new.predict(train.graphs),
        lambda: new.spread(train.graphs),
        lambda: adapt(new, "a", train),
        lambda: new.align(train.graphs, GpTuneOptions()),
        lambda: tune(new, train),
        lambda: new.save(tmp_path),
    ]
    for use in uses:
        with pytest.raises(WeightsError, match="predictor 'gp' is not fitted yet; call fit, or load a folder"):
            use()


USES: dict[str, Callable[[GpPredictor, Labelled], object]] = {
    "fit": lambda predictor, data: predictor.fit(data, seed=0, device="cpu", progress=silent),
    "adapt": lambda predictor, data: adapt(predictor, "new", data),
    "tune": tune,
}


@pytest.mark.parametrize("use", USES)
def test_labels_must_be_finite_and_there(use: str, fitted: GpPredictor, train: Labelled) -> None:
    before = fitted.predict(train.graphs)
    with pytest.raises(LabelError, match="no labels to learn from"):
        USES[use](fitted, Labelled(train.graphs[:0], np.zeros(0)))
    with pytest.raises(LabelError, match="label 1 of 3 is nan; labels must be finite"):
        USES[use](fitted, Labelled(train.graphs[:3], np.array([1, np.nan, 2])))
    np.testing.assert_array_equal(fitted.predict(train.graphs), before)
    assert "new" not in fitted.sources
