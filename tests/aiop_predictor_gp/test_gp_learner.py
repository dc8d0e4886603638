"""The learner: what it scales, which target it takes, how it uses more labels than one process holds."""

from __future__ import annotations

import numpy as np
import pytest

from aiop_core.metrics import kendall, spearman
from aiop_predictor_gp.learner import CLIP, Learner, Scale, combine
from aiop_predictor_gp.options import GpOptions
from aiop_predictor_gp.reading import Table

RANK, RAW = GpOptions(target="rank"), GpOptions(target="raw")


def table(count: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"a": rng.normal(5, 2, (count, 3)), "b": rng.normal(-1, 0.01, (count, 2)), "constant": np.ones((count, 2))}


def values(of: Table) -> np.ndarray:
    """A smooth function of one column of each block that varies."""
    smooth: np.ndarray = np.tanh((of["a"][:, 0] - 5) / 2) + 30 * (of["b"][:, 1] + 1)
    return smooth


def learn(of: Table, labels: np.ndarray, options: GpOptions = RAW, seed: int = 0) -> Learner:
    return Learner.fit(of, labels, options, seed=seed, device="cpu")


def test_columns_are_standardised_and_those_that_do_not_vary_left_out() -> None:
    block = np.random.default_rng(0).normal([1e6, 0.1, 3], [1e3, 1e-6, 0], (50, 3))
    found = Scale.of(block)(block)
    assert found.shape == (50, 2)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(0), 1, rtol=1e-6)


def test_what_is_not_known_counts_neither_when_scaling_nor_after() -> None:
    column = np.array([1.0, np.nan, 3.0, np.nan, 5.0])[:, None]
    found = Scale.of(column)(column)[:, 0]
    np.testing.assert_allclose(found, [-np.sqrt(1.5), 0, 0, 0, np.sqrt(1.5)])
    assert Scale.of(np.full((3, 1), np.nan))(column).shape == (5, 0)


def test_what_is_far_out_is_clipped() -> None:
    scale = Scale.of(np.array([[0.0], [2.0]]))
    np.testing.assert_array_equal(scale(np.array([[100.0], [-np.inf], [np.inf], [2]]))[:, 0], [CLIP, -CLIP, CLIP, 1])


@pytest.mark.parametrize("options", [RANK, RAW, GpOptions()])
def test_learns_what_is_smooth(options: GpOptions) -> None:
    train, test = table(80, 0), table(200, 1)
    found = learn(train, values(train), options).labels(test)
    assert spearman(values(test), found) > 0.97


@pytest.mark.parametrize(("scale", "shift"), [(100.0, 0.0), (1e-4, 0.7), (3.0, -1e3)])
def test_the_unit_of_labels_does_not_matter(scale: float, shift: float) -> None:
    train, test = table(40, 0), table(60, 1)
    for options in (RANK, RAW):
        first = learn(train, values(train), options)
        second = learn(train, scale * values(train) + shift, options)
        tolerance = {"atol": 1e-3 * scale * values(train).std()}
        np.testing.assert_allclose(second.labels(test), scale * first.labels(test) + shift, **tolerance)
        np.testing.assert_allclose(second.spread(test), scale * first.spread(test), **tolerance)


def test_ranks_alone_decide_where_ranks_are_learnt() -> None:
    train, test = table(40, 0), table(60, 1)
    first, second = (learn(train, labels, RANK) for labels in (values(train), np.exp(3 * values(train))))
    assert spearman(first.labels(test), second.labels(test)) == pytest.approx(1)


@pytest.mark.parametrize("wild", [True, False])
def test_auto_takes_the_target_that_ranks_left_out_labels_better(wild: bool) -> None:
    train, test = table(60, 0), table(300, 1)
    labels = values(train)
    if wild:  # a few labels outweigh all others
        labels[::10] *= 1e3
    rank, raw, auto = (learn(train, labels, options).labels(test) for options in (RANK, RAW, GpOptions()))
    assert [np.array_equal(auto, rank), np.array_equal(auto, raw)] == [wild, not wild]
    if wild:
        assert kendall(values(test), rank) > kendall(values(test), raw) + 0.1


def test_several_processes_know_about_what_one_does() -> None:
    train, test = table(240, 0), table(200, 1)
    noisy = values(train) + np.random.default_rng(2).normal(scale=0.1, size=240)
    one, several = (learn(train, noisy, GpOptions("raw", capacity=size)) for size in (240, 60))
    sizes = [len(process.blocks[0]) for process in several.processes]
    assert (len(one.processes), sizes) == (1, [60] * 4)
    known = np.concatenate([process.blocks[0].numpy() for process in several.processes])
    assert len(np.unique(known, axis=0)) == 240  # every label is in one of them
    assert spearman(one.labels(test), several.labels(test)) > 0.99
    single = learn(train, noisy, GpOptions("raw", capacity=60, processes=1))

    def error(learner: Learner) -> float:
        return float(np.abs(learner.labels(test) - values(test)).mean())

    assert error(one) < error(several) < error(single)


@pytest.mark.parametrize(("count", "expected"), [(10, [10]), (11, [6, 5]), (29, [10, 10, 9]), (50, [10] * 3)])
def test_labels_beyond_what_processes_hold_are_left_out(count: int, expected: list[int]) -> None:
    of = table(count, 0)
    found = learn(of, values(of), GpOptions(capacity=10, processes=3))
    assert sorted((len(process.blocks[0]) for process in found.processes), reverse=True) == expected


def test_equal_processes_are_as_sure_as_one() -> None:
    train, test = table(30, 0), table(10, 1)
    one = learn(train, values(train))
    three = Learner(one.scales, one.target, one.processes * 3)
    for a, b in zip(one.predict(test), three.predict(test), strict=True):
        np.testing.assert_allclose(a, b)


def test_the_surer_counts_for_more() -> None:
    mean, variance = combine([np.array([1.0]), np.array([4.0])], [np.array([0.5]), np.array([1.0])])
    assert (mean[0], variance[0]) == (pytest.approx(2), pytest.approx(1 / 3))


def test_progress_reaches_its_end() -> None:
    of, told = table(35, 0), list[tuple[int, int]]()
    Learner.fit(
        of,
        values(of),
        GpOptions(capacity=10),
        seed=0,
        device="cpu",
        progress=lambda done, total, note="": told.append((done, total)),
    )
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_comes_back_from_its_state() -> None:
    train, test = table(35, 0), table(20, 1)
    learner = learn(train, values(train), GpOptions(capacity=10))
    arrays, settings = learner.state("x")
    restored = Learner.restored("x", arrays, settings)
    for a, b in zip(learner.predict(test), restored.predict(test), strict=True):
        np.testing.assert_array_equal(a, b)


def test_blocks_that_do_not_vary_tell_nothing() -> None:
    constant = {"constant": np.ones((8, 2))}
    labels = np.arange(8.0)
    learner = learn(constant, labels)
    np.testing.assert_allclose(learner.labels({"constant": np.zeros((3, 2))}), labels.mean(), atol=1e-6)
    arrays, settings = learner.state("x")
    assert Learner.restored("x", arrays, settings).labels(constant) == pytest.approx(labels.mean())
