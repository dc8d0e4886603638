"""A dry run refuses what the run would refuse."""

import json

import pytest

from aiop_core.plugins import PluginSource
from aiop_core.testing import reference
from aiop_task_detectron2 import plugin


@pytest.fixture
def sources(detectron2):
    return [
        PluginSource("detectron2", "aiop-task-detectron2", "0", lambda: plugin),
        PluginSource("reference", "aiop-reference", "0", lambda: reference),
    ]


@pytest.mark.parametrize("command", ["label", "run", "head", "agreement"])
def test_odd_overrides_are_told(aiop, command, tmp_path):
    given = (command, "--task", "detectron2", "--family", "reference", "--out", tmp_path / "out", "--dry-run")
    given += () if command == "head" else ("--count", 4)
    right = aiop(*given, "--overrides", "SOLVER.MAX_ITER 5")
    assert right.code == 0, right.err
    assert json.loads(right.out)["task"]["overrides"] == "SOLVER.MAX_ITER 5"
    done = aiop(*given, "--overrides", "SOLVER.MAX_ITR 5")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "no key SOLVER.MAX_ITR; did you mean SOLVER.MAX_ITER?" in done.err
    assert not (tmp_path / "out").exists()
