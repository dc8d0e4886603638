"""Every state comes back from its files; what is no such file is refused."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.aiop_predictor_gp.cells import adapt, fit, labelled, tune

from aiop_core.contracts import Labelled, silent
from aiop_core.errors import WeightsError
from aiop_predictor_gp.options import GpOptions, GpTuneOptions
from aiop_predictor_gp.predictor import ARRAYS_FILE, FORMAT, SETTINGS_FILE, GpPredictor

STATES = ("fitted", "several processes", "several sets", "adapted", "aligned", "tuned", "scaled", "scored", "one graph")


@pytest.fixture(scope="module")
def target() -> Labelled:
    return labelled(20, seed=5, width=64, head=4)


def in_state(state: str, train: Labelled, target: Labelled) -> GpPredictor:
    """A predictor as somebody may save it."""
    few = train.take(np.arange(20))
    options = GpOptions("raw", capacity=10 if state == "several processes" else 2000)
    if state == "scored":
        scores = {"b": np.arange(20.0), "a": np.where(np.arange(20) < 5, np.nan, 1e9 * few.labels)}
        few = replace(few, graphs=replace(few.graphs, scores=scores))
    if state == "several sets":
        few = replace(few, sets=np.arange(20) % 2)
    if state == "one graph":
        few = few.take(np.arange(1))
    predictor = fit(few, options)
    if state in ("adapted", "aligned", "tuned", "scaled"):
        adapt(predictor, "other / ü", train.take(np.arange(20, 40)))
    if state == "aligned":
        predictor.align(target.graphs, GpTuneOptions(adapter="other / ü"))
    if state in ("tuned", "scaled"):
        tune(predictor, target.take(np.arange(8)), "all" if state == "tuned" else "scaling", "other / ü")
    return predictor


def loaded(folder: Path) -> GpPredictor:
    found = GpPredictor(GpOptions(target="rank", scores=False))
    found.load(folder)
    return found


@pytest.mark.parametrize("state", STATES)
def test_every_state_comes_back(state: str, train: Labelled, target: Labelled, tmp_path: Path) -> None:
    predictor = in_state(state, train, target)
    graphs = replace(target.graphs, scores={"a": np.linspace(0, 1e9, 20)})
    first, again = tmp_path / "first", tmp_path / "again"
    for folder, saved in ((first, predictor), (again, None)):
        folder.mkdir()
        (saved or loaded(first)).save(folder)
        found = loaded(folder)
        np.testing.assert_allclose(found.predict(graphs), predictor.predict(graphs), rtol=1e-9)
        np.testing.assert_allclose(found.spread(graphs), predictor.spread(graphs), rtol=1e-6)
        assert found.options == predictor.options
    assert {path.name for path in first.iterdir()} == {ARRAYS_FILE, SETTINGS_FILE}
    assert len({path.stat().st_mode for path in first.iterdir()}) == 1  # who may read one may read all


@pytest.mark.parametrize("state", ["fitted", "aligned", "scaled"])
def test_what_is_loaded_learns_on(state: str, train: Labelled, target: Labelled, tmp_path: Path) -> None:
    predictor = in_state(state, train, target)
    predictor.save(tmp_path)
    few, found = target.take(np.arange(5)), []
    for each in (predictor, loaded(tmp_path)):
        adapt(each, "last", train.take(np.arange(30, 50)))
        each.align(target.graphs, GpTuneOptions())
        tune(each, few)
        found.append(each.predict(target.graphs))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-7)


def test_what_is_aligned_may_be_tuned_later(train: Labelled, target: Labelled, tmp_path: Path) -> None:
    predictor = in_state("aligned", train, target)
    predictor.save(tmp_path)
    few, found = target.take(np.arange(3)), []
    for each in (predictor, loaded(tmp_path)):
        tune(each, few, "scaling")
        found.append(each.predict(target.graphs))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-7)


def test_loading_replaces_all_that_was(train: Labelled, target: Labelled, tmp_path: Path) -> None:
    predictor = in_state("fitted", train, target)
    predictor.save(tmp_path)
    other = in_state("scaled", train, target)
    other.load(tmp_path)
    np.testing.assert_allclose(other.predict(target.graphs), predictor.predict(target.graphs), rtol=1e-9)
    assert [*other.sources] == ["pretraining"]


@pytest.mark.parametrize("several", [True, False])
def test_fitting_replaces_all_that_was(several: bool, train: Labelled, target: Labelled) -> None:
    few = train.take(np.arange(20))
    few = replace(few, sets=np.arange(20) % 2) if several else few
    other = in_state("tuned", train, target)
    other.fit(few, seed=0, device="cpu", progress=silent)
    new = fit(few, other.options)
    np.testing.assert_array_equal(other.predict(target.graphs), new.predict(target.graphs))
    assert [*other.sources] == [*new.sources]


# --- What is refused ----------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(train: Labelled, target: Labelled) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        in_state("scaled", train, target).save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture
def folder(saved: dict[str, bytes], tmp_path: Path) -> Path:
    for name, content in saved.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def change(folder: Path, **values: Any) -> None:
    path = folder / SETTINGS_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("name", [ARRAYS_FILE, SETTINGS_FILE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(WeightsError, match=rf"{name}.* does not exist; give the folder that a fitted 'gp' was saved"):
        loaded(folder)


def test_another_format_is_refused(folder: Path) -> None:
    change(folder, format=FORMAT + 1)
    with pytest.raises(WeightsError, match=rf"has format {FORMAT + 1}, this version reads {FORMAT}; fit it again"):
        loaded(folder)


DAMAGED = r"(?s)'gp' in .* is damaged \(.*\); fit and save it again"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '"x"', f'{{"format": {FORMAT}}}'])
def test_settings_that_are_none_are_refused(folder: Path, text: str) -> None:
    (folder / SETTINGS_FILE).write_text(text)
    with pytest.raises(WeightsError, match=DAMAGED):
        loaded(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"options": {"colour": 1}},
        {"options": {"target": "blue"}},
        {"tuning": []},
        {"sources": ["a", "b", "c", "d"]},
        {"words": 9},
        {"scores": ["x"]},
        {"learner": {"blocks": ["paths"], "processes": 1}},
        {"line": [1]},
        {"line": "ab"},
        {"words": "2"},
    ],
    ids=str,
)
def test_settings_that_do_not_belong_to_the_arrays_are_refused(folder: Path, values: dict[str, Any]) -> None:
    change(folder, **values)
    with pytest.raises(WeightsError, match=DAMAGED):
        loaded(folder)


def test_a_file_that_was_cut_is_refused(folder: Path) -> None:
    path = folder / ARRAYS_FILE
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(WeightsError, match=DAMAGED):
        loaded(folder)


@pytest.mark.parametrize("name", ["source0.labels", "target.paths", "source1.learner.kernel.2", "word1"])
def test_arrays_that_are_missing_are_named(folder: Path, name: str) -> None:
    arrays = load_file(folder / ARRAYS_FILE)
    del arrays[name]
    save_file(arrays, folder / ARRAYS_FILE)
    with pytest.raises(WeightsError, match=rf"damaged .*{name}"):
        loaded(folder)


def test_arrays_that_are_no_numbers_are_refused(folder: Path) -> None:
    arrays = load_file(folder / ARRAYS_FILE)
    name = "source0.learner.process0.0"
    save_file(arrays | {name: np.full_like(arrays[name], np.nan)}, folder / ARRAYS_FILE)
    with pytest.raises(WeightsError, match=DAMAGED):
        loaded(folder)


def test_a_predictor_is_what_it_was_if_loading_fails(folder: Path, train: Labelled, target: Labelled) -> None:
    predictor = in_state("fitted", train, target)
    before = predictor.predict(target.graphs)
    change(folder, words=9)
    with pytest.raises(WeightsError, match=DAMAGED):
        predictor.load(folder)
    np.testing.assert_array_equal(predictor.predict(target.graphs), before)
