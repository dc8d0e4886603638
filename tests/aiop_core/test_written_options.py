"""The options that a command writes are a config file of the same command."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.conftest import Aiop

from aiop_core.hookspecs import hookimpl
from aiop_core.options import option
from aiop_core.plugins import PluginSource
from aiop_core.testing import reference, reference_sharing

WHAT = ("--task", "reference_shared", "--family", "reference", "--images", 16, "--seed", 3)
RUN = ("run", *WHAT, "--count", 5, "--folds", 2, "--predictor", "reference")
HEAD = ("--head.steps", 7, "--latents.per-stratum", 4)


@pytest.fixture(autouse=True)
def shared_task(sources: list[PluginSource]) -> None:
    sources.append(PluginSource("shared", "aiop-shared", "0.1", lambda: reference_sharing))


@pytest.fixture
def head(aiop: Aiop, tmp_path: Path) -> Path:
    """A head of other than the default options, and latents beside it."""
    latents = ("--latents", tmp_path / "latents")
    assert aiop("latents", *WHAT, "--per-stratum", 4, "--out", tmp_path / "latents").code == 0
    assert aiop("head", *WHAT, *latents, "--steps", 7, "--out", tmp_path / "head").code == 0
    return tmp_path / "head"


def options(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "options.json").read_text())
    return found


@pytest.mark.parametrize("step", ["latents", "head"])
def test_latents_and_heads(aiop: Aiop, head: Path, step: str) -> None:
    folder = head.parent / step
    again = aiop(step, "--config", folder / "options.json", "--out", folder)
    assert again.code == 0, again.err
    assert f"{step}: finished before" in again.err


@pytest.mark.parametrize("mode", ["individual", "shared"])
def test_labels(aiop: Aiop, head: Path, tmp_path: Path, mode: str) -> None:
    how = ("--mode", "shared", "--head", head, "--shared.epochs", 2) if mode == "shared" else ()
    out = tmp_path / "labels"
    assert aiop("label", *WHAT, *how, "--start", 1, "--count", 2, "--out", out).code == 0
    again = aiop("label", "--config", out / "options.json", "--out", out)
    assert again.code == 0, again.err
    assert "2 were labelled before and skipped" in again.out


def test_a_run_with_a_head_of_its_own(aiop: Aiop, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert aiop(*RUN, "--labels", "shared", *HEAD, "--shared.epochs", 2, "--out", out).code == 0
    told = options(out)
    assert (told["labels"], told["latents"], told["shared"]) == ("shared", {"per_stratum": 4}, {"epochs": 2})
    assert told["head"] == {"method": "sample", "steps": 7}
    again = aiop("run", "--config", out / "options.json", "--out", out)
    assert again.code == 0, again.err
    assert "latents: finished before" in again.err
    assert "head: finished before" in again.err
    assert "5 were labelled before and skipped" in again.err
    assert options(out) == told
    dry = json.loads(aiop("run", "--config", out / "options.json", "--out", out, "--dry-run").out)
    assert {key: value for key, value in dry.items() if key not in ("out", "device")} == told


def test_a_run_with_a_head_that_was_given(aiop: Aiop, head: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert aiop(*RUN, "--labels", "shared", "--head", head, "--out", out).code == 0
    assert options(out)["head"] == str(head)
    again = aiop("run", "--config", out / "options.json", "--out", out)
    assert again.code == 0, again.err
    assert "5 were labelled before and skipped" in again.err
    assert not (out / "head").exists()


def test_an_agreement(aiop: Aiop, tmp_path: Path) -> None:
    command = ("agreement", *WHAT, "--count", 3, "--methods", "swap", "--head.steps", 2)
    dry = json.loads(aiop(*command, "--out", tmp_path / "a", "--dry-run").out)
    assert (dry["methods"], dry["head"]["steps"], dry["count"]) == ("swap", 2, 3)
    assert not (tmp_path / "a").exists()
    assert aiop(*command, "--out", tmp_path / "a").code == 0
    again = aiop("agreement", "--config", tmp_path / "a" / "options.json", "--out", tmp_path / "a")
    assert again.code == 0, again.err
    assert "head: finished before" in again.err


def test_a_run_that_was_cut_short(aiop: Aiop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The options tell what was asked for before anything is fitted."""

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("aiop_core.pipeline.run.collect", killed)
        assert aiop(*RUN, "--count", 4, "--out", tmp_path).code == 130
    again = aiop("run", "--config", tmp_path / "options.json", "--count", 5, "--out", tmp_path)
    assert again.code == 0, again.err
    assert "4 were labelled before and skipped" in again.err


def test_what_two_runs_leave_is_not_mixed(aiop: Aiop, head: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert aiop(*RUN, "--out", one).code == 0
    assert aiop(*RUN, "--labels", "shared", "--head", head, "--out", two).code == 0
    for first in (one, one / "graphs.safetensors"):
        done = aiop("cache", "build", first, two / "graphs.safetensors", "--out", tmp_path / "caches")
        assert done.code == 1
        assert "head is null there and" in done.err


def test_labels_of_other_defaults_are_not_mixed(aiop: Aiop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that is left open counts as what it came to."""

    @dataclass(frozen=True)
    class Open(reference.TaskOptions):
        pace: int | None = option(None, "left open", minimum=1)

    (registered,) = reference_sharing.aiop_register_tasks()
    hook = hookimpl(lambda: [replace(registered, options=Open)])
    monkeypatch.setattr(reference_sharing, "aiop_register_tasks", hook)
    label, default = ("label", *WHAT, "--out", tmp_path), {"pace": 3}
    monkeypatch.setattr(reference_sharing.SharedReferenceTask, "resolved", lambda task: default, raising=False)
    assert aiop(*label, "--count", 1).code == 0
    assert json.loads((tmp_path / "store.json").read_text())["identity"]["task"]["pace"] == 3
    default["pace"] = 4
    refused = aiop(*label, "--count", 2)
    assert "task.pace is 3 there and 4 here" in refused.err


def test_what_open_options_came_to(aiop: Aiop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a task that says it; the others' options say all."""
    label = ("label", *WHAT, "--count", 1)
    assert aiop(*label, "--out", tmp_path / "silent").code == 0
    assert not (tmp_path / "silent" / "resolved.json").exists()
    told = {"epochs": 3, "sizes": [1, 2]}
    monkeypatch.setattr(reference_sharing.SharedReferenceTask, "resolved", lambda task: told, raising=False)
    assert aiop(*label, "--out", tmp_path / "told").code == 0
    assert json.loads((tmp_path / "told" / "resolved.json").read_text()) == told
