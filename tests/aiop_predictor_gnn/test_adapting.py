"""Adapting and tuning: what stays, what changes, in which unit, and what comes back from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aiop_core.contracts import AdaptableRegistration, Labelled, silent
from aiop_core.errors import LabelError, OptionError, WeightsError
from aiop_core.graph.cost import macs
from aiop_core.graph.model import GraphSet
from aiop_core.metrics import spearman
from aiop_core.records.scaling import SCALINGS as ALL_SCALINGS
from aiop_core.records.scaling import LabelScaling, gflops
from aiop_predictor_gnn.options import SCALINGS, AdaptOptions, GnnOptions, TuneOptions
from aiop_predictor_gnn.plugin import aiop_register_predictors
from aiop_predictor_gnn.predictor import GnnPredictor

QUICK = GnnOptions(min_steps=60, epochs=1)
ADAPT = AdaptOptions(min_steps=30, epochs=1)


def first(graphs: GraphSet) -> np.ndarray:
    return 0.5 + 0.1 * np.log10(macs(graphs))


def second(graphs: GraphSet) -> np.ndarray:
    """In another unit, and the other way round."""
    return 100 - 10 * first(graphs)


@pytest.fixture(scope="module")
def folder(graphs: GraphSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    predictor = GnnPredictor(QUICK)
    predictor.fit(Labelled(graphs, first(graphs)), seed=0, device="cpu", progress=silent)
    path = tmp_path_factory.mktemp("fitted")
    predictor.save(path)
    return path


@pytest.fixture
def predictor(folder: Path) -> GnnPredictor:
    found = GnnPredictor(GnnOptions())
    found.load(folder)
    return found


def adapt(predictor: GnnPredictor, name: str, data: Labelled, seed: int = 0, **options: object) -> dict[str, float]:
    given = AdaptOptions(**{**vars(ADAPT), **options})  # type: ignore[arg-type]  # the test's own
    return dict(predictor.adapt(name, data, given, seed=seed, device="cpu", progress=silent).values)


def tune(predictor: GnnPredictor, data: Labelled, seed: int = 0, **options: object) -> dict[str, float]:
    given = TuneOptions(**{"epochs": 2, **options})  # type: ignore[arg-type]  # the test's own
    return dict(predictor.tune(data, given, seed=seed, device="cpu", progress=silent).values)


def weights(predictor: GnnPredictor) -> dict[str, torch.Tensor]:
    assert predictor.network is not None
    found = {f"network.{name}": value for name, value in predictor.network.state_dict().items()}
    for name, adapter in predictor.adapters.items():
        found |= {f"{name}.{key}": value for key, value in adapter.state_dict().items()}
    return {name: value.clone() for name, value in found.items()}


def changed(before: dict[str, torch.Tensor], predictor: GnnPredictor) -> set[str]:
    """The modules of which a tensor is another now."""
    return {".".join(n.split(".")[:2]) for n, value in weights(predictor).items() if not torch.equal(value, before[n])}


def test_is_registered_as_adaptable() -> None:
    (registration,) = aiop_register_predictors()
    assert isinstance(registration, AdaptableRegistration)
    assert (registration.adapt_options, registration.tune_options) == (AdaptOptions, TuneOptions)
    assert SCALINGS == ALL_SCALINGS


def test_an_adapter_learns_and_the_rest_stays(predictor: GnnPredictor, graphs: GraphSet) -> None:
    before, old = weights(predictor), predictor.predict(graphs)
    report = adapt(predictor, "turned", Labelled(graphs, second(graphs)), min_steps=80)
    assert report["train_loss"] < 0.5
    assert changed(before, predictor_of(predictor, without="turned")) == set()
    assert spearman(second(graphs), predictor.predict(graphs)) > 0.8
    tune(predictor, Labelled(graphs, first(graphs)), what="scaling", adapter="none")
    np.testing.assert_allclose(predictor.predict(graphs), old, rtol=1e-6)


def predictor_of(predictor: GnnPredictor, without: str) -> GnnPredictor:
    rest = GnnPredictor(predictor.options)
    rest.network = predictor.network
    rest.adapters = {name: adapter for name, adapter in predictor.adapters.items() if name != without}
    return rest


def test_several_adapters_are_averaged_or_chosen(predictor: GnnPredictor, graphs: GraphSet) -> None:
    few = Labelled(graphs, second(graphs)).take(np.arange(20))
    adapt(predictor, "a", few)
    kept = weights(predictor)
    adapt(predictor, "b", few, seed=1)
    assert not changed(kept, predictor_of(predictor, without="b"))
    found = {}
    for name in ("a", "b", "average"):
        tune(predictor, few, what="scaling", adapter=name)
        found[name] = predictor.predict(graphs)
    np.testing.assert_allclose(found["average"], (found["a"] + found["b"]) / 2)
    assert not np.allclose(found["a"], found["b"])


def test_scaling_alone_brings_predictions_to_the_targets_unit(predictor: GnnPredictor, graphs: GraphSet) -> None:
    before, old = weights(predictor), predictor.predict(graphs)
    target = Labelled(graphs, 40 + 3 * first(graphs)).take(np.arange(20))
    assert tune(predictor, target, what="scaling") == {"train_labels": 20.0}
    assert not changed(before, predictor)
    was, now = LabelScaling.fit("standardise", first(graphs), gflops(macs(graphs))), predictor.scaling
    assert (now.mean, now.deviation) == pytest.approx((target.labels.mean(), target.labels.std()))
    expected = (old - was.mean) / was.deviation * target.labels.std() + target.labels.mean()
    np.testing.assert_allclose(predictor.predict(graphs), expected)


@pytest.mark.parametrize(
    ("what", "adapters", "expected"),
    [
        ("heads", 0, {"network.projection", "network.output"}),
        ("backbone", 0, {"network.projection", "network.output", "network.encoder"}),
        ("all", 0, {"network.projection", "network.output", "network.encoder", "network.embedding"}),
        ("rescale", 0, {"network.output"}),
        ("heads", 1, {"a.projection", "a.output"}),
        ("adapters", 1, {"a.projection", "a.output", "a.layers"}),
        ("backbone", 1, {"a.projection", "a.output", "network.encoder"}),
        ("all", 1, {"a.projection", "a.output", "a.layers", "network.encoder"}),
        ("rescale", 1, {"a.output"}),
    ],
)
def test_tuning_changes_what_it_frees_and_gets_better(
    predictor: GnnPredictor, graphs: GraphSet, what: str, adapters: int, expected: set[str]
) -> None:
    data = Labelled(graphs, second(graphs))
    if adapters:
        adapt(predictor, "a", data.take(np.arange(20)))
    few = data.take(np.arange(40, 60))
    tune(predictor, few, what="scaling")
    worse = np.abs(predictor.predict(few.graphs) - few.labels).mean()
    before = weights(predictor)
    report = tune(predictor, few, what=what, epochs=20, lr=2e-3, batch_size=10)
    assert changed(before, predictor) == expected
    assert report["free_parameters"] > 30
    assert np.abs(predictor.predict(few.graphs) - few.labels).mean() < worse


def test_modes_free_as_many_parameters_as_the_research_codes(predictor: GnnPredictor, graphs: GraphSet) -> None:
    """Source: ``ft_parameters`` of its ``k_adapters.py``, K = 1, modes 0, 1, 2, 3."""
    few = Labelled(graphs, first(graphs)).take(np.arange(3))
    adapt(predictor, "a", few, min_steps=1)
    found = [
        tune(predictor, few, what=w, epochs=1)["free_parameters"] for w in ("heads", "backbone", "all", "adapters")
    ]
    assert found == [5281, 17761, 42529, 30049]


def test_a_penalty_keeps_the_rescaling_sparse(folder: Path, graphs: GraphSet) -> None:
    few = Labelled(graphs, second(graphs)).take(np.arange(20))
    found = []
    for penalty in (0.0, 1.0):
        predictor = GnnPredictor(GnnOptions())
        predictor.load(folder)
        found.append(tune(predictor, few, what="rescale", lr=1e-2, epochs=20, penalty=penalty, loss="l1")["b_l1"])
    assert found[1] < 0.5 * found[0]


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_target_may_be_scaled_otherwise(predictor: GnnPredictor, graphs: GraphSet, scaling: str) -> None:
    few = Labelled(graphs, second(graphs)).take(np.arange(20))
    tune(predictor, few, what="heads", scaling=scaling, normalise="own_maxima")
    assert predictor.scaling == LabelScaling.fit(scaling, few.labels, gflops(macs(few.graphs)))
    assert predictor.normalise == "own_maxima"
    assert np.isfinite(predictor.predict(graphs)).all()


def test_everything_comes_back_from_files(predictor: GnnPredictor, graphs: GraphSet, tmp_path: Path) -> None:
    few = Labelled(graphs, second(graphs)).take(np.arange(20))
    for name in ("a", "b/ü"):
        adapt(predictor, name, few)
    tune(predictor, few, what="all", adapter="b/ü", scaling="standardise_flops", normalise="own_maxima")
    predictor.save(tmp_path)
    other = GnnPredictor(GnnOptions())
    other.load(tmp_path)
    np.testing.assert_array_equal(other.predict(graphs), predictor.predict(graphs))
    assert [*other.adapters] == ["a", "b/ü"]
    assert not changed(weights(predictor), other)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_same_seed_tunes_alike_and_another_otherwise(folder: Path, graphs: GraphSet, batch_size: int) -> None:
    few, found = Labelled(graphs, second(graphs)).take(np.arange(8)), []
    state = torch.get_rng_state()
    for seed in (0, 0, 1):
        predictor = GnnPredictor(GnnOptions())
        predictor.load(folder)
        adapt(predictor, "a", few, seed=seed)
        tune(predictor, few, seed=seed, what="all", batch_size=batch_size)
        found.append(predictor.predict(graphs))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_labels_of_several_sets_are_scaled_set_by_set(graphs: GraphSet) -> None:
    sets = np.arange(len(graphs)) % 2
    labels = np.where(sets == 1, 100 * first(graphs), first(graphs))
    both = GnnPredictor(GnnOptions(min_steps=60, epochs=1))
    report = both.fit(Labelled(graphs, labels, sets), seed=0, device="cpu", progress=silent)
    assert report.values["train_loss"] < 0.9
    assert spearman(first(graphs), both.predict(graphs)) > 0.8
    adapt(both, "a", Labelled(graphs, labels, sets))
    assert spearman(first(graphs), both.predict(graphs)) > 0.8


def test_one_label_is_enough_to_tune(predictor: GnnPredictor, graphs: GraphSet) -> None:
    tune(predictor, Labelled(graphs[:1], np.array([0.3])), what="all")
    assert np.isfinite(predictor.predict(graphs)).all()


def test_progress_is_told(predictor: GnnPredictor, graphs: GraphSet) -> None:
    told: list[tuple[int, int]] = []
    options = TuneOptions(what="heads", epochs=4)
    predictor.tune(
        Labelled(graphs[:5], first(graphs[:5])),
        options,
        seed=0,
        device="cpu",
        progress=lambda done, total, note="": told.append((done, total)),
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("name", ["", "average", "none", "a"])
def test_a_name_is_given_once(predictor: GnnPredictor, graphs: GraphSet, name: str) -> None:
    few = Labelled(graphs[:3], first(graphs[:3]))
    adapt(predictor, "a", few, min_steps=1)
    with pytest.raises(OptionError, match=rf"cannot be called '{name}'; taken are average, none, a: choose another"):
        adapt(predictor, name, few)


def test_unknown_adapters_are_refused(predictor: GnnPredictor, graphs: GraphSet) -> None:
    few = Labelled(graphs[:3], first(graphs[:3]))
    with pytest.raises(OptionError, match=r"no adapter 'averag'; did you mean 'average'\?"):
        tune(predictor, few, adapter="averag")
    with pytest.raises(OptionError, match=r"there are no adapters to tune; add one first, or tune heads"):
        tune(predictor, few, what="adapters")


@pytest.mark.parametrize("use", [adapt, tune])
def test_weights_and_finite_labels_are_needed(predictor: GnnPredictor, graphs: GraphSet, use: object) -> None:
    def call(on: GnnPredictor, labels: np.ndarray) -> None:
        data = Labelled(graphs[: len(labels)], labels)
        adapt(on, "a", data) if use is adapt else tune(on, data, what="heads")

    with pytest.raises(WeightsError, match="'gnn' has no weights yet; call fit"):
        call(GnnPredictor(QUICK), np.ones(3))
    with pytest.raises(LabelError, match="label 1 of 3 is nan; labels must be finite"):
        call(predictor, np.array([1, np.nan, 2]))
    with pytest.raises(LabelError, match="no labels to learn from"):
        call(predictor, np.ones(0))
