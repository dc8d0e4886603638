"""What one data set taught serves another head, another family, another metric."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.aiop_predictor_gp.cells import adapt, fit, labelled, tune

from aiop_core.contracts import Labelled
from aiop_core.errors import OptionError
from aiop_core.graph.model import GraphSet
from aiop_core.metrics import mae, spearman
from aiop_predictor_gp.options import GpOptions, GpTuneOptions
from aiop_predictor_gp.predictor import GpPredictor

ELSEWHERE: list[dict[str, int]] = [{"head": 6}, {"head": 20}, {"width": 64}, {"width": 64, "head": 20}]
"""The same bodies with a head, wider, or both."""


@pytest.fixture(scope="module")
def folder(train: Labelled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fitted")
    fit(train).save(path)
    return path


@pytest.fixture
def predictor(folder: Path) -> GpPredictor:
    found = GpPredictor(GpOptions())
    found.load(folder)
    return found


@pytest.fixture(scope="module")
def target() -> Labelled:
    """Wider networks with a head, and a metric in another unit."""
    found = labelled(60, seed=5, width=64, head=20)
    return replace(found, labels=40 + 10 * found.labels)


def align(predictor: GpPredictor, graphs: GraphSet, adapter: str = "average") -> np.ndarray:
    predictor.align(graphs, GpTuneOptions(adapter=adapter))
    return predictor.predict(graphs)


@pytest.mark.parametrize("change", ELSEWHERE, ids=str)
def test_the_ranking_survives_a_head_and_another_width(predictor: GpPredictor, change: dict[str, int]) -> None:
    elsewhere = labelled(60, seed=5, **change)
    plain = spearman(elsewhere.labels, predictor.predict(elsewhere.graphs))
    aligned = spearman(elsewhere.labels, align(predictor, elsewhere.graphs))
    assert aligned > 0.97
    assert aligned > plain - 0.01


def test_the_ranking_survives_a_head_if_labels_are_learnt_as_they_are(train: Labelled) -> None:
    """A head turns the order of mean widths round, on which a learner of such labels leans."""
    elsewhere = labelled(60, seed=5, head=6)
    assert spearman(elsewhere.labels, align(fit(train, GpOptions(target="raw")), elsewhere.graphs)) > 0.97


def test_aligning_to_its_own_graphs_changes_no_ranking(predictor: GpPredictor, test: Labelled) -> None:
    before = predictor.predict(test.graphs)
    assert spearman(before, align(predictor, test.graphs)) > 0.98


def test_what_is_aligned_speaks_of_each_graph_by_itself(predictor: GpPredictor, target: Labelled) -> None:
    found = align(predictor, target.graphs)
    np.testing.assert_allclose(predictor.predict(target.graphs[7:9]), found[7:9])
    assert predictor.predict(target.graphs[:0]).shape == (0,)


def test_aligning_to_no_graphs_changes_nothing(predictor: GpPredictor, target: Labelled) -> None:
    before = predictor.predict(target.graphs)
    predictor.align(target.graphs[:0], GpTuneOptions())
    np.testing.assert_array_equal(predictor.predict(target.graphs), before)


def test_aligning_to_a_further_target_forgets_the_one_before(predictor: GpPredictor, target: Labelled) -> None:
    other = labelled(30, seed=9, head=6)
    first = align(predictor, target.graphs)
    tune(predictor, other.take(np.arange(5)))
    align(predictor, other.graphs)
    np.testing.assert_allclose(align(predictor, target.graphs), first)


def test_scaling_gives_the_unit_and_keeps_the_ranking(predictor: GpPredictor, target: Labelled) -> None:
    ranked = align(predictor, target.graphs)
    report = tune(predictor, target.take(np.arange(10)), "scaling")
    assert report.values["labels"] == 10
    found = predictor.predict(target.graphs)
    assert spearman(ranked, found) == pytest.approx(1, abs=1e-3)
    assert mae(target.labels, found) < 0.5 * np.abs(target.labels - target.labels.mean()).mean()
    assert found[:10].mean() == pytest.approx(target.labels[:10].mean())
    assert (predictor.spread(target.graphs) == 1).all()


def test_scaling_never_turns_the_ranking_round(predictor: GpPredictor, target: Labelled) -> None:
    ranked = align(predictor, target.graphs)
    reverse = Labelled(target.graphs, -target.labels).take(np.arange(10))
    tune(predictor, reverse, "scaling")
    found = predictor.predict(target.graphs)
    assert spearman(ranked, found) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(found, reverse.labels.mean(), atol=0.01)


def test_one_label_gives_the_level(predictor: GpPredictor, target: Labelled) -> None:
    for what in ("scaling", "all"):
        align(predictor, target.graphs)
        tune(predictor, target.take(np.arange(1)), what)
        np.testing.assert_allclose(predictor.predict(target.graphs[:1]), target.labels[0], atol=0.1)
        assert np.isfinite(predictor.predict(target.graphs)).all()


def test_earlier_data_help_few_labels(predictor: GpPredictor) -> None:
    errors, agreements = [], []
    for seed in (5, 6):
        target = labelled(60, seed=seed, head=6)
        few, rest = target.take(np.arange(6)), target.take(np.arange(6, 60))
        predictor.align(target.graphs, GpTuneOptions())
        assert tune(predictor, few).values["labels"] == 6
        found = predictor.predict(rest.graphs), fit(few).predict(rest.graphs)
        errors.append([mae(rest.labels, values) for values in found])
        agreements.append([spearman(rest.labels, values) for values in found])
        assert (predictor.spread(rest.graphs) > 0).all()
    helped, alone = np.mean(errors, axis=0)
    assert helped < 0.8 * alone
    helped, alone = np.mean(agreements, axis=0)
    assert helped > alone


def test_few_labels_decide_only_what_left_out_ones_confirm(predictor: GpPredictor, train: Labelled) -> None:
    target = labelled(60, seed=5, head=6)
    few = target.take(np.arange(6))
    ranked = align(predictor, target.graphs)
    chance = replace(few, labels=np.sort(few.labels)[np.argsort(np.argsort(ranked[:6]))])  # as ranked: nothing to add
    tune(predictor, chance, "auto")
    assert spearman(ranked, predictor.predict(target.graphs)) == pytest.approx(1, abs=1e-3)
    wrong = fit(replace(train, labels=-train.labels))
    tune(wrong, train, "auto")
    assert spearman(train.labels, wrong.predict(train.graphs)) > 0.9


def test_labels_overrule_what_earlier_data_say(train: Labelled, test: Labelled) -> None:
    wrong = fit(replace(train, labels=-train.labels))
    tune(wrong, train)
    assert spearman(test.labels, wrong.predict(test.graphs)) > 0.9


def test_data_sets_are_learnt_in_any_order(predictor: GpPredictor, folder: Path, target: Labelled) -> None:
    other = GpPredictor(GpOptions())
    other.load(folder)
    sets = {"a": labelled(30, seed=3), "b": labelled(30, seed=4, head=6)}
    for name in "ab":
        adapt(predictor, name, sets[name])
    for name in "ba":
        adapt(other, name, sets[name])
    few = target.take(np.arange(8))
    np.testing.assert_allclose(align(predictor, target.graphs), align(other, target.graphs))
    for what in ("scaling", "all"):
        tune(predictor, few, what)
        tune(other, few, what)
        np.testing.assert_allclose(predictor.predict(target.graphs), other.predict(target.graphs), rtol=1e-5)


def test_one_data_set_is_chosen_or_all_are_averaged(predictor: GpPredictor, train: Labelled, target: Labelled) -> None:
    opposite = replace(labelled(40, seed=3), labels=-labelled(40, seed=3).labels)
    report = adapt(predictor, "opposite", opposite).values
    assert (report["labels"], report["data_sets"]) == (40, 2)
    alone = align(fit(opposite), target.graphs)
    chosen = align(predictor, target.graphs, "opposite")
    first, average = (align(predictor, target.graphs, name) for name in ("pretraining", "average"))
    assert spearman(chosen, alone) == pytest.approx(1, abs=1e-3)  # as if it had learnt nothing else
    assert spearman(target.labels, first) > 0.9
    assert spearman(target.labels, chosen) < -0.9
    assert abs(spearman(target.labels, average)) < 0.9


def test_adapting_leaves_what_others_said(predictor: GpPredictor, target: Labelled) -> None:
    before = align(predictor, target.graphs, "pretraining")
    adapt(predictor, "a", labelled(20, seed=3))
    np.testing.assert_allclose(align(predictor, target.graphs, "pretraining"), before)


def test_several_sets_of_one_name_are_numbered(predictor: GpPredictor, train: Labelled, target: Labelled) -> None:
    sets = np.arange(len(train)) % 2
    opposed = Labelled(train.graphs, np.where(sets == 1, -train.labels, train.labels), sets)
    adapt(predictor, "a", opposed)
    assert [*predictor.sources] == ["pretraining", "a0", "a1"]
    assert spearman(target.labels, align(predictor, target.graphs, "a0")) > 0.9
    assert spearman(target.labels, align(predictor, target.graphs, "a1")) < -0.9
    with pytest.raises(OptionError, match="'a1' names a data set already"):
        adapt(predictor, "a1", train)
    with pytest.raises(OptionError, match="'a' names a data set already"):
        adapt(predictor, "a", opposed)


def test_adapting_forgets_the_target(predictor: GpPredictor, folder: Path, target: Labelled) -> None:
    few, source = target.take(np.arange(10)), labelled(20, seed=3)
    other = GpPredictor(GpOptions())
    other.load(folder)
    tune(predictor, few, "scaling", "pretraining")
    predictor.align(target.graphs, GpTuneOptions(adapter="pretraining"))
    for each in (predictor, other):
        adapt(each, "a", source)
    np.testing.assert_allclose(predictor.predict(target.graphs), other.predict(target.graphs))
    for each in (predictor, other):
        tune(each, few, "scaling")
    np.testing.assert_allclose(predictor.predict(target.graphs), other.predict(target.graphs))


def test_a_further_target_is_read_by_its_own_graphs(predictor: GpPredictor, folder: Path, target: Labelled) -> None:
    few = target.take(np.arange(10))
    other = GpPredictor(GpOptions())
    other.load(folder)
    predictor.align(target.graphs, GpTuneOptions())
    tune(predictor, labelled(10, seed=9, head=6))
    for each in (predictor, other):
        tune(each, few)
    np.testing.assert_allclose(predictor.predict(target.graphs), other.predict(target.graphs), rtol=1e-6)


def test_tuning_follows_its_seed_and_repeats_itself(predictor: GpPredictor, target: Labelled) -> None:
    few, found = target.take(np.arange(12)), []
    for _ in range(2):
        tune(predictor, few)
        found.append(predictor.predict(target.graphs))
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("name", ["average", "pretraining", "a"])
def test_a_name_is_given_once(predictor: GpPredictor, train: Labelled, name: str) -> None:
    few = train.take(np.arange(3))
    adapt(predictor, "a", few)
    with pytest.raises(
        OptionError, match=rf"'{name}' names a data set already \(pretraining, a, average\); use another"
    ):
        adapt(predictor, name, few)


def test_a_data_set_that_was_not_learnt_cannot_be_asked(predictor: GpPredictor, train: Labelled) -> None:
    few = train.take(np.arange(3))
    before = predictor.predict(train.graphs)
    message = r"adapter is 'averag'; did you mean 'average'\? allowed are: average, pretraining"
    with pytest.raises(OptionError, match=message):
        tune(predictor, few, adapter="averag")
    with pytest.raises(OptionError, match=message):
        align(predictor, few.graphs, adapter="averag")
    np.testing.assert_array_equal(predictor.predict(train.graphs), before)
