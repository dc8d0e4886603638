"""Every command of docs/from-the-paper-detection.md runs in its order, on few drawn images instead of real ones."""

import os
import re
import shlex
from pathlib import Path

import pytest

from aiop_core.errors import PluginError
from aiop_core.options import option_fields
from aiop_core.plugins import installed_sources
from aiop_task_detectron2 import installed, sharing_options
from aiop_task_detectron2.options import Detectron2Options
from aiop_task_detectron2.sharing_options import HeadOptions, SharedOptions

PAGE = (Path(__file__).parents[2] / "docs" / "from-the-paper-detection.md").read_text(encoding="utf-8")

SMALL = {
    "--weights official": "",
    "--data coco --data-dir datasets": "--task.train-images 8 --task.val-images 4 --task.input-size 64 "
    "--task.iterations 1 --task.batch 2",
    "--head.per-stratum 3 --head.iterations 250000 --head.steps 166000,222000 --head.batch 8": "--head.per-stratum 1 "
    "--head.iterations 2 --head.steps 1 --head.batch 2",
    "--shared.iterations 750 --shared.steps 465,635": "--shared.iterations 2 --shared.steps 1",
    "--labels shared --count 20": "--labels shared --head.iterations 1 --shared.iterations 1 --count 4",
    "--count 10": "--count 2",
    "--start 10 --count 15": "--start 1 --count 2",
    "--gpus 2": "",
}
"""What is real and large in the page, and what stands for it here."""

GENERAL = set("family task out head start count seed mode reprofile suffix metric".split())
"""Flags of the commands themselves."""


@pytest.fixture
def sources():
    try:
        installed.require()
    except PluginError as error:
        if os.environ.get("AIOP_REQUIRE_DETECTRON2") == "1":
            raise
        pytest.skip(str(error))
    return installed_sources()


def commands():
    lines = "\n".join(re.findall(r"```sh\n(aiop .*?)```", PAGE, re.DOTALL)).replace("\\\n", " ").splitlines()
    return [shlex.split(_small(re.sub(" +", " ", line))) for line in lines if line]


def _small(text):
    for real, small in SMALL.items():
        text = text.replace(real, small)
    return text


def test_every_command_runs(aiop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOP_CACHE", str(tmp_path / "cache"))
    assert [command[1] for command in commands()] == [
        *("doctor", "data", "label", "head", "label", "profile", "cache", "run")
    ]
    for command in commands():
        done = aiop(*command[1:])
        assert done.code == 0, (command, done.out, done.err)
        assert "Warning" not in done.err, (command, done.err)
    names = ("obj_det_AP", "inst_seg_AP", "sem_seg_mIoU", "pan_seg_PQ")
    assert {path.name for path in (tmp_path / "caches").glob("*.safetensors")} == {
        f"ofa_mbv3_{name}_coco_shared.safetensors" for name in names
    }
    assert (tmp_path / "runs" / "chain" / "report.html").is_file()


def test_no_example_is_left_as_large_as_it_is():
    for real in SMALL:
        assert real in re.sub(r" *\\\n *", " ", PAGE), f"{real} is not in the page any more"


@pytest.mark.parametrize("family", ["ofa_pn", "ofa_mbv3", "ofa_resnet"])
def test_the_tables_say_the_defaults(family):
    head = sharing_options.head_schedule(HeadOptions(), family, drawn=False)
    tuning = sharing_options.tuning_schedule(family, drawn=False)
    rows = re.findall(rf"^\| `{family}` \| (\d+) \| (\S+) \| (\S+) \|$", PAGE, re.MULTILINE)
    assert rows == [
        (str(schedule.iterations), ",".join(map(str, schedule.steps)), str(schedule.batch or "-"))
        for schedule in (head, tuning)
    ]


def test_every_flag_exists():
    known = GENERAL | {field.flag for field in option_fields(Detectron2Options)}
    known |= {f"head.{field.flag}" for field in option_fields(HeadOptions)}
    known |= {f"shared.{field.flag}" for field in option_fields(SharedOptions)}
    ours = "".join(line.split("|")[2] for line in PAGE.split("## Flags")[1].splitlines() if line.startswith("|"))
    found = set(re.findall(r"--([a-z][a-z.-]*)", ours))
    assert len(found) > 20
    assert found <= known
