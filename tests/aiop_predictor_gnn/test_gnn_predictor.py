"""The predictor learns, repeats itself, comes back from its files, and refuses bad input."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from aiop_core.contracts import Labelled, silent
from aiop_core.errors import LabelError, WeightsError
from aiop_core.graph.cost import macs
from aiop_core.graph.model import GraphSet
from aiop_core.graph.ops import Op
from aiop_core.options import build_options
from aiop_core.plugins import PluginRegistry
from aiop_core.records.scaling import SCALINGS
from aiop_predictor_gnn.nodes import VOCABULARIES
from aiop_predictor_gnn.options import GnnOptions
from aiop_predictor_gnn.predictor import GnnPredictor

QUICK = GnnOptions(min_steps=60, epochs=1)


def labels_of(graphs: GraphSet) -> np.ndarray:
    return 0.5 + 0.1 * np.log10(macs(graphs))


def fitted(train: Labelled, options: GnnOptions = QUICK, seed: int = 0) -> GnnPredictor:
    predictor = GnnPredictor(options)
    predictor.fit(train, seed=seed, device="cpu", progress=silent)
    return predictor


@pytest.fixture(scope="module")
def train(graphs: GraphSet) -> Labelled:
    return Labelled(graphs, labels_of(graphs))


@pytest.fixture(scope="module")
def predictor(train: Labelled) -> GnnPredictor:
    return fitted(train)


def test_is_registered_with_its_options() -> None:
    found = PluginRegistry().create("predictor", "gnn", {"scaling": "none"})
    assert isinstance(found, GnnPredictor)
    assert found.options == GnnOptions(scaling="none")
    assert tuple(f.metadata["choices"] for f in GnnOptions.__dataclass_fields__.values() if f.name == "scaling") == (
        SCALINGS,
    )


@pytest.mark.parametrize("scaling", SCALINGS)
def test_learns(train: Labelled, scaling: str) -> None:
    found = fitted(train, build_options(GnnOptions, {"scaling": scaling, "min_steps": 300, "epochs": 1, "lr": 0.003}))
    error = np.abs(found.predict(train.graphs) - train.labels).mean()
    assert error < 0.5 * np.abs(train.labels - train.labels.mean()).mean()


@pytest.mark.parametrize("vocabulary", ["aiop", "paper"])
@pytest.mark.parametrize("normalise", ["fixed", "own_maxima"])
def test_every_reading_of_nodes_fits_and_predicts(train: Labelled, vocabulary: str, normalise: str) -> None:
    options = build_options(GnnOptions, {"vocabulary": vocabulary, "normalise": normalise, "min_steps": 2, "epochs": 1})
    assert np.isfinite(fitted(train, options).predict(train.graphs)).all()


def test_same_seed_same_predictions_and_no_global_seed(train: Labelled, predictor: GnnPredictor) -> None:
    state = torch.get_rng_state()
    again = fitted(train)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(again.predict(train.graphs), predictor.predict(train.graphs))
    assert not np.array_equal(fitted(train, seed=1).predict(train.graphs), predictor.predict(train.graphs))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_labels_are_enough(train: Labelled, count: int) -> None:
    few = train.take(np.arange(count))
    found = GnnPredictor(QUICK)
    report = found.fit(few, seed=0, device="cpu", progress=silent)
    assert report.values["validation_labels"] == 0
    assert report.values["train_labels"] == count
    assert np.isfinite(found.predict(train.graphs)).all()


def test_constant_labels_are_predicted(train: Labelled) -> None:
    constant = Labelled(train.graphs, np.full(len(train), 0.7))
    np.testing.assert_allclose(fitted(constant).predict(train.graphs), 0.7, atol=0.35)


def test_keeps_a_validation_part_and_its_best_moment(train: Labelled) -> None:
    found = GnnPredictor(build_options(GnnOptions, {"validation": 0.5, "min_steps": 60, "epochs": 1}))
    report = found.fit(train, seed=0, device="cpu", progress=silent).values
    assert (report["train_labels"], report["validation_labels"]) == (30, 30)
    assert 0 < report["best_step"] <= report["steps"] <= 60
    assert np.isfinite(report["validation_loss"])


def test_stops_when_the_validation_part_stops_getting_better(train: Labelled) -> None:
    noise = Labelled(train.graphs, np.random.default_rng(0).normal(size=len(train)))
    options = build_options(
        GnnOptions, {"validation": 0.5, "min_steps": 500, "epochs": 1, "lr": 0.01, "patience": 0.05}
    )
    found = GnnPredictor(options)
    report = found.fit(noise, seed=0, device="cpu", progress=silent).values
    assert report["steps"] < 500


def test_tells_its_progress(train: Labelled) -> None:
    told = []
    GnnPredictor(QUICK).fit(
        train, seed=0, device="cpu", progress=lambda done, total, note="": told.append((done, total, note))
    )
    assert told[-1][:2] == (60, 60)
    assert told[0][2].startswith("loss ")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_labels_that_are_not_finite_are_refused(train: Labelled, bad: float) -> None:
    labels = train.labels.copy()
    labels[3] = bad
    with pytest.raises(LabelError, match=rf"label 3 of 60 is {bad}; labels must be finite"):
        fitted(Labelled(train.graphs, labels))


def test_no_labels_are_refused(train: Labelled) -> None:
    with pytest.raises(LabelError, match="no labels to learn from; at least 1 is needed"):
        fitted(train.take(np.arange(0)))


def test_no_graphs_give_no_predictions(train: Labelled, predictor: GnnPredictor) -> None:
    assert predictor.predict(train.graphs.take(np.arange(0))).shape == (0,)


def test_comes_back_from_its_files(train: Labelled, predictor: GnnPredictor, tmp_path: Path) -> None:
    predictor.save(tmp_path)
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1  # who may read one may read all
    other = GnnPredictor(GnnOptions(scaling="none", vocabulary="paper"))
    other.load(tmp_path)
    assert other.options == predictor.options
    assert other.scaling == predictor.scaling
    np.testing.assert_array_equal(other.predict(train.graphs), predictor.predict(train.graphs))


@pytest.mark.parametrize("call", ["predict", "save"])
def test_needs_weights(call: str, graphs: GraphSet, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="'gnn' has no weights yet; call fit, or load a folder"):
        getattr(GnnPredictor(QUICK), call)(graphs if call == "predict" else tmp_path)


@pytest.fixture
def saved(predictor: GnnPredictor, tmp_path: Path) -> Path:
    predictor.save(tmp_path)
    return tmp_path


def load(folder: Path) -> None:
    GnnPredictor(GnnOptions()).load(folder)


@pytest.mark.parametrize("name", ["gnn.json", "gnn.safetensors"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(WeightsError, match=f"{name} does not exist; give the folder"):
        load(saved)


def test_truncated_weights_are_damaged(saved: Path) -> None:
    path = saved / "gnn.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"gnn\.safetensors is damaged .*; fit and save the predictor again"):
        load(saved)


def test_unreadable_settings_are_damaged(saved: Path) -> None:
    (saved / "gnn.json").write_text("{")
    with pytest.raises(WeightsError, match=r"gnn\.json cannot be read"):
        load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "has format 99, this version reads 1 and 2"),
        ({"ops": ["Conv"]}, "knows 1 operations that are not the first of this version's vocabulary 'aiop'"),
        ({"options": {"colour": 1}}, "does not describe a 'gnn' of this version .*unknown option 'colour'"),
        ({"scaling": {"kind": "none", "colour": 1}}, "does not describe a 'gnn' of this version"),
        ({"scaling": {"kind": "half"}}, "label scaling 'half' does not exist"),
    ],
)
def test_settings_of_another_predictor_are_refused(saved: Path, change: dict[str, object], message: str) -> None:
    path = saved / "gnn.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(WeightsError, match=message):
        load(saved)


def test_files_from_before_adapters_are_read(saved: Path, predictor: GnnPredictor, graphs: GraphSet) -> None:
    path = saved / "gnn.json"
    settings = json.loads(path.read_text())
    old = {key: value for key, value in settings.items() if key not in ("adapters", "chosen", "normalise")}
    path.write_text(json.dumps(old | {"format": 1}))
    found = GnnPredictor(GnnOptions())
    found.load(saved)
    np.testing.assert_array_equal(found.predict(graphs), predictor.predict(graphs))


def test_weights_of_another_network_are_refused(
    saved: Path, train: Labelled, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    fitted(train, GnnOptions(vocabulary="paper", min_steps=1, epochs=1)).save(other)
    (saved / "gnn.safetensors").write_bytes((other / "gnn.safetensors").read_bytes())
    with pytest.raises(
        WeightsError, match=r"tensor 'embedding.kernel.weight' has shape \(8, 4\), the network needs \(9, 4\)"
    ):
        load(saved)


def test_a_predictor_of_a_shorter_vocabulary_takes_newer_operations_as_unknown(
    train: Labelled, graphs: GraphSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = VOCABULARIES["aiop"].as_of(VOCABULARIES["aiop"].op_names[:49])
    with monkeypatch.context() as patch:
        patch.setitem(VOCABULARIES, "aiop", old)
        fitted(train, QUICK).save(tmp_path)
    predictor = GnnPredictor(GnnOptions())
    predictor.load(tmp_path)
    op = graphs.columns["op"].copy()
    op[0] = int(Op.Tile)
    newer = dataclasses.replace(graphs, columns={**graphs.columns, "op": op})
    op = op.copy()
    op[0] = int(Op.OOV)
    unknown = dataclasses.replace(graphs, columns={**graphs.columns, "op": op})
    np.testing.assert_array_equal(predictor.predict(newer), predictor.predict(unknown))
    predictor.save(tmp_path)
    assert len(json.loads((tmp_path / "gnn.json").read_text())["ops"]) == 49
