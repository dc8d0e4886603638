"""``kill -9`` in the middle of ``aiop run``, then the same command again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COUNT = 6


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which the reference plugin is installed, and nothing else."""
    info = tmp_path / "site" / "aiop_reference-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aiop-reference\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[aiop]\nreference = aiop_core.testing.reference\n")
    return {**os.environ, "PYTHONPATH": str(info.parent), "AIOP_LOAD_PLUGINS": "reference", "OMP_NUM_THREADS": "1"}


def lines(run: Path) -> list[str]:
    path = run / "records.jsonl"
    return path.read_text().splitlines(keepends=True) if path.is_file() else []


def test_no_label_is_lost_and_none_trained_twice(tmp_path: Path, environment: dict[str, str]) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", "from aiop_core.cli import main; main()", "run"]
    command += ["--task", "reference", "--family", "reference", "--count", str(COUNT), "--folds", "2"]
    command += ["--images", "512", "--epochs", "30", "--out", str(run)]
    for finished in (1, 3):  # killed twice, at different places
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while len(lines(run)) < finished and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    before = [line for line in lines(run) if line.endswith("\n")]
    assert 3 <= len(before) < COUNT

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    after = lines(run)
    assert after[: len(before)] == before
    specs = [json.loads(line)["record"]["spec"] for line in after]
    assert len(specs) == len(set(specs)) == COUNT
    assert f"{len(before)} of {COUNT} architectures are labelled already: skipped" in done.stderr
    assert f"labels: {COUNT - len(before)} labelled, {len(before)} were labelled before and skipped" in done.stderr
    assert (run / "report.html").is_file()
