"""Shared weights through the command, on a family that only notes what it is told."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Aiop

from aiop_core.capabilities import SupernetRegistration
from aiop_core.contracts import Family, FitReport, Progress, Registration, Task
from aiop_core.errors import DataError
from aiop_core.hookspecs import hookimpl
from aiop_core.options import option
from aiop_core.plugins import PluginSource
from aiop_core.testing.reference import ReferenceFamily, ReferenceTask, TaskOptions


@dataclass(frozen=True)
class SupernetOptions:
    steps: int = option(3, "steps of training", minimum=1)
    workers: int = option(1, "threads", runtime=True)


class SharingFamily(ReferenceFamily):
    def train_supernet(
        self, lesson: Any, out: Path, options: SupernetOptions, *, seed: int, device: str, progress: Progress
    ) -> FitReport:
        if lesson is None:
            raise DataError("nothing to learn from")
        begun = (out / "weights").exists()
        (out / "weights").write_text(f"{lesson}, {options.steps} steps, seed {seed}, {device}")
        progress(options.steps, options.steps)
        return FitReport({"loss": 0.25, "resumed": float(begun)})


class TeachingTask(ReferenceTask):
    def lesson(self) -> str:
        return f"{self.options.images} images"


class Plugin:
    @staticmethod
    @hookimpl
    def aiop_register_families() -> Sequence[Registration[Family[Any]]]:
        return [
            SupernetRegistration("sharing", "A family.", lambda _: SharingFamily(), supernet_options=SupernetOptions)
        ]

    @staticmethod
    @hookimpl
    def aiop_register_tasks() -> Sequence[Registration[Task]]:
        return [Registration("teaching", "A task.", TeachingTask, TaskOptions)]


@pytest.fixture(autouse=True)
def plugin(sources: list[PluginSource]) -> None:
    sources.append(PluginSource("sharing", "aiop-sharing", "0.1", lambda: Plugin))


WHAT = ("supernet", "train", "--family", "sharing", "--task", "teaching", "--device", "cpu")


def test_a_task_teaches_a_family(aiop: Aiop, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = aiop(*WHAT, "--out", out, "--supernet.steps", 5, "--task.images", 9, "--seed", 4)
    assert done.code == 0, done.err
    assert done.out == f"Shared weights: {out} (loss 0.25, resumed 0)\n"
    assert (out / "weights").read_text() == "9 images, 5 steps, seed 4, cpu"
    plan = json.loads((out / "card.json").read_text())
    assert plan["identity"]["supernet"] == {"steps": 5}
    assert plan["provenance"]["versions"]["aiop-core"]


def test_the_same_command_goes_on_and_another_is_refused(aiop: Aiop, tmp_path: Path) -> None:
    assert json.loads(aiop(*WHAT, "--out", tmp_path, "--json").out) == {
        "out": str(tmp_path),
        "report": {"loss": 0.25, "resumed": 0.0},
    }
    assert json.loads(aiop(*WHAT, "--out", tmp_path, "--workers", 7, "--json").out)["report"]["resumed"] == 1.0
    for change in (("--seed", 1), ("--task.images", 9), ("--supernet.steps", 4)):
        refused = aiop(*WHAT, "--out", tmp_path, *change)
        assert refused.code == 1
        assert "was made with other options (" in refused.err
        assert "give those, or another folder with --out" in refused.err
        assert refused.err.count("\n") == 1


def test_a_mistake_does_not_take_the_folder(aiop: Aiop, tmp_path: Path) -> None:
    refused = aiop("supernet", "train", "--family", "sharing", "--out", tmp_path)
    assert (refused.code, refused.err) == (1, "Error: nothing to learn from\n")
    assert aiop(*WHAT, "--out", tmp_path).code == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": "x"}, "holds something else than supernet; name an empty folder with --out"),
        ({"card.json": "{", "weights": "x"}, "card.json is damaged ("),
    ],
)
def test_folders_of_something_else(aiop: Aiop, tmp_path: Path, content: dict[str, str], message: str) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    refused = aiop(*WHAT, "--out", tmp_path)
    assert refused.code == 1
    assert message in refused.err


def test_a_folder_that_cannot_be_made(aiop: Aiop, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = aiop(*WHAT, "--out", tmp_path / "file" / "out")
    assert refused.code == 1
    assert "cannot be made: Not a directory; name another folder" in refused.err


def test_families_and_tasks_that_cannot(aiop: Aiop, tmp_path: Path) -> None:
    refused = aiop("supernet", "train", "--family", "reference", "--task", "teaching", "--out", tmp_path)
    assert (refused.code, refused.err) == (
        1,
        "Error: the family 'reference' does not offer 'supernet'; installed ones that do: sharing\n",
    )
    refused = aiop("supernet", "train", "--family", "sharing", "--task", "reference", "--out", tmp_path)
    assert refused.code == 1
    assert "shared weights cannot be trained on the task 'reference'; name another" in refused.err


def test_dry_run_and_help(aiop: Aiop, tmp_path: Path) -> None:
    told = json.loads(aiop(*WHAT, "--dry-run", "--out", tmp_path / "out").out)
    assert (told["supernet"], told["family"]["name"]) == ({"steps": 3, "workers": 1}, "sharing")
    assert not (tmp_path / "out").exists()
    assert "--supernet.steps" in aiop("supernet", "train", "--family", "sharing", "--help").out
    assert "train" in aiop("supernet", "--help").out
