"""Every baseline learns what it says, comes back from its files, and refuses bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from aiop_core.contracts import BaselineRegistration, Labelled, silent
from aiop_core.errors import LabelError, WeightsError
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.cost import macs, params
from aiop_core.graph.model import Graph, GraphSet
from aiop_core.plugins import PluginRegistry

NAMES = ("constant_mean", "flops_only", "params_only", "gbt")


def chain(widths: list[int], kernel: int, hw: int) -> Graph:
    builder = GraphBuilder()
    node = builder.input((hw, hw))
    for width in widths:
        node = builder.batch_norm(builder.conv(node, width, kernel))
    builder.output(builder.linear(builder.mean(node), 10))
    return builder.build()


@pytest.fixture(scope="module")
def graphs() -> GraphSet:
    rng = np.random.default_rng(0)
    return GraphSet.of(
        chain(
            rng.choice([8, 16, 24], rng.integers(1, 9)).tolist(), int(rng.choice([1, 3, 5])), int(rng.choice([16, 32]))
        )
        for _ in range(60)
    )


def create(name: str, **options: Any) -> Any:
    return PluginRegistry().create("predictor", name, options)


def fitted(name: str, graphs: GraphSet, labels: np.ndarray, seed: int = 0) -> Any:
    predictor = create(name, **({"trees": 40} if name == "gbt" else {}))
    predictor.fit(Labelled(graphs, labels), seed=seed, device="cpu", progress=silent)
    return predictor


@pytest.fixture(scope="module")
def labels(graphs: GraphSet) -> np.ndarray:
    return 0.5 + 0.01 * graphs.sizes + np.random.default_rng(1).normal(scale=0.01, size=len(graphs))


@pytest.mark.parametrize("name", NAMES)
def test_is_a_baseline_that_asks_something(name: str) -> None:
    registration = PluginRegistry().get("predictor", name).registration
    assert isinstance(registration, BaselineRegistration)
    assert registration.asks.endswith("?")


def test_constant_mean_is_the_mean(graphs: GraphSet, labels: np.ndarray) -> None:
    found = fitted("constant_mean", graphs, labels).predict(graphs)
    np.testing.assert_allclose(found, labels.mean())


@pytest.mark.parametrize(("name", "count"), [("flops_only", macs), ("params_only", params)])
def test_a_line_keeps_the_ranking_of_its_number(name: str, count: Any, graphs: GraphSet, labels: np.ndarray) -> None:
    found = fitted(name, graphs, labels).predict(graphs)
    assert spearmanr(found, count(graphs)).statistic == pytest.approx(1)


def test_a_line_through_labels_on_a_line_meets_them(graphs: GraphSet) -> None:
    labels = 0.1 * np.log10(2 * macs(graphs) + 1) - 0.3
    np.testing.assert_allclose(fitted("flops_only", graphs, labels).predict(graphs), labels)


def test_trees_learn_what_a_line_through_flops_cannot(graphs: GraphSet, labels: np.ndarray) -> None:
    def error(name: str) -> float:
        return float(np.abs(fitted(name, graphs[:40], labels[:40]).predict(graphs[40:]) - labels[40:]).mean())

    assert error("gbt") < 0.7 * error("flops_only")
    assert error("gbt") < 0.7 * error("constant_mean")


def test_trees_repeat_themselves(graphs: GraphSet, labels: np.ndarray) -> None:
    first, again, other = (fitted("gbt", graphs, labels, seed).predict(graphs) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 2])
def test_few_labels_are_enough(name: str, count: int, graphs: GraphSet, labels: np.ndarray) -> None:
    assert np.isfinite(fitted(name, graphs[:count], labels[:count]).predict(graphs)).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_graphs_give_no_predictions(name: str, graphs: GraphSet, labels: np.ndarray) -> None:
    assert fitted(name, graphs, labels).predict(graphs[:0]).shape == (0,)


@pytest.mark.parametrize("name", NAMES)
def test_bad_labels_are_refused(name: str, graphs: GraphSet, labels: np.ndarray) -> None:
    with pytest.raises(LabelError, match="no labels to learn from"):
        fitted(name, graphs[:0], labels[:0])
    with pytest.raises(LabelError, match="label 0 of 1 is inf"):
        fitted(name, graphs[:1], np.array([np.inf]))


@pytest.mark.parametrize("name", NAMES)
def test_comes_back_from_its_files(name: str, graphs: GraphSet, labels: np.ndarray, tmp_path: Path) -> None:
    predictor = fitted(name, graphs, labels, seed=3)
    predictor.save(tmp_path)
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1  # who may read one may read all
    other = create(name)
    other.load(tmp_path)
    np.testing.assert_array_equal(other.predict(graphs), predictor.predict(graphs))
    other.save(tmp_path)  # and may be saved again


@pytest.mark.parametrize("name", NAMES)
def test_must_be_fitted_first(name: str, graphs: GraphSet, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"'{name}' is not fitted yet; call fit"):
        create(name).predict(graphs)
    with pytest.raises(WeightsError, match=f"'{name}' is not fitted yet; call fit"):
        create(name).save(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"{name}.json does not exist; give the folder"):
        create(name).load(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"mean": 1}', '{"mean": "x", "slope": 0, "centre": 0}'])
def test_a_damaged_line_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "flops_only.json").write_text(text)
    with pytest.raises(WeightsError, match=r"flops_only\.json does not hold mean, slope, centre"):
        create("flops_only").load(tmp_path)


def test_damaged_trees_are_refused(graphs: GraphSet, labels: np.ndarray, tmp_path: Path) -> None:
    fitted("gbt", graphs, labels).save(tmp_path)
    table = tmp_path / "gbt.safetensors"
    table.write_bytes(table.read_bytes()[:-8])
    with pytest.raises(WeightsError, match=r"'gbt' in .* is damaged"):
        create("gbt").load(tmp_path)


def test_trees_of_other_features_are_refused(graphs: GraphSet, labels: np.ndarray, tmp_path: Path) -> None:
    fitted("gbt", graphs, labels).save(tmp_path)
    change(tmp_path / "gbt.json", names=["colour"])
    with pytest.raises(WeightsError, match="has other features than this version of aiop-core"):
        create("gbt").load(tmp_path)


def test_another_scikit_learn_is_warned_of(graphs: GraphSet, labels: np.ndarray, tmp_path: Path) -> None:
    fitted("gbt", graphs, labels).save(tmp_path)
    change(tmp_path / "gbt.json", **{"scikit-learn": "0.1"})
    with pytest.warns(UserWarning, match=r"was fitted with scikit-learn 0\.1"):
        create("gbt").load(tmp_path)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
