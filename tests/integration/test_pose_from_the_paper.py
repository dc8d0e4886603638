"""Every command of docs/from-the-paper-pose.md runs in its order, on few drawn images instead of real ones."""

import re
import shlex
from pathlib import Path

import pytest

from aiop_core.plugins import installed_sources

PAGE = (Path(__file__).parents[2] / "docs" / "from-the-paper-pose.md").read_text(encoding="utf-8")

SMALL = {
    "--weights official": "",
    "--data lsp_extended --data-dir data/HPE": "--train-images 16 --val-images 8 --input-size 32 --filters 8",
    "--head.epochs 5000 --head.batch 256": "--head.epochs 1 --head.batch 8",
    "--shared.epochs 10": "--shared.epochs 1",
    "--latents.per-stratum 5": "--latents.per-stratum 1",
    "--count 20": "--count 4",
    "--count 10": "--count 2",
    "--start 10 --count 15": "--start 1 --count 2",
}
"""What is real and large in the page, and what stands for it here."""


@pytest.fixture
def sources():
    return installed_sources()


def commands():
    blocks = re.findall(r"```sh\n(aiop .*?)```", PAGE, re.DOTALL)
    return [shlex.split(block.replace("\\\n", " ")) for block in (_small(b) for b in blocks)]


def _small(text):
    text = re.sub(r" *\\\n *", " ", text)
    for real, small in SMALL.items():
        text = text.replace(real, small)
    return text


def test_every_command_runs(aiop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "HPE").mkdir(parents=True)
    assert [command[1] for command in commands()] == [
        *("data", "label", "latents", "head", "label", "profile", "cache", "agreement", "run")
    ]
    for command in commands():
        done = aiop(*command[1:])
        assert done.code == 0, (command, done.err)
    what = shlex.split(f"--family ofa_mbv3 --task hpe2d {SMALL['--data lsp_extended --data-dir data/HPE']}")
    for command in (
        ("supernet", "train", *what, "--supernet.steps", 1, "--supernet.networks", 1, "--out", "runs/supernet"),
        ("head", *what, "--head.method", "swap", "--head.swap", 1, "--head.epochs", 1, "--out", "runs/swapped"),
        ("label", *what, "--weights", "runs/supernet", "--count", 1, "--out", "runs/inherited"),
        ("profile", "runs/shared", "--profiler", "thop"),
    ):
        done = aiop(*command)
        assert done.code == 0, (command, done.err)
    assert (tmp_path / "sheet.png").is_file()
    assert (tmp_path / "caches" / "ofa_mbv3_val_PCK_lsp_shared.safetensors").is_file()
    assert (tmp_path / "runs" / "chain" / "report.html").is_file()


def test_no_example_is_left_as_large_as_it_is():
    for real in SMALL:
        assert real in re.sub(r" *\\\n *", " ", PAGE), f"{real} is not in the page any more"
