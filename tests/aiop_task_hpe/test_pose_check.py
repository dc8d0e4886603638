"""What is there, what is missing, and a sheet to look at."""

import json

import numpy as np
import pytest
import scipy.io
from PIL import Image

from aiop_core.errors import DataError
from aiop_core.plugins import PluginSource
from aiop_task_hpe import plugin
from aiop_task_hpe.check import is_whole
from aiop_task_hpe.joints import LSP
from aiop_task_hpe.options import PoseOptions
from aiop_task_hpe.patches import Patch
from aiop_task_hpe.persons import read_image
from aiop_task_hpe.sheet import CELL, HEADING, drawn
from aiop_task_hpe.task import PoseTask


@pytest.fixture
def sources():
    return [PluginSource("hpe", "aiop-task-hpe", "0", lambda: plugin)]


def findings(**options):
    return {f.name: f for f in PoseTask(PoseOptions(**options)).check_data()}


def missing(found):
    return [f.name for f in found.values() if f.required and f.found is None]


def test_nothing_is_needed_for_synthetic_and_every_set_is_told():
    found = findings()
    assert missing(found) == []
    assert found["synthetic"].found
    assert found["lsp"].advice.startswith("give data_dir, the folder that holds lsp/: it is published as 'Leeds Sports")
    assert {"lsp", "lsp_extended", "hr_lspet", "mpii"} < set(found)


def test_what_is_there_is_counted(lspet_folder):
    found = findings(data="lsp_extended", data_dir=lspet_folder.parent)
    assert missing(found) == []
    assert found["lsp_extended/joints.mat"].found == "10,000 persons, 65 of 140,000 joints annotated"
    assert found["lsp_extended/images"].found == "5 of 10,000 images"
    assert "sam.johnson.io" in found["lsp_extended/images"].advice
    assert found["lsp/joints.mat"].found is None
    assert not found["lsp/joints.mat"].required


def test_a_folder_that_is_not_there_is_said(aiop, tmp_path):
    done = aiop("data", "check", "hpe2d", "--data-dir", tmp_path / "nope")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "nope does not exist; name the folder that holds the data sets" in done.err


def test_what_is_absent_is_told_from_what_is_missing(aiop, lspet_folder):
    done = aiop("data", "check", "hpe2d", "--data-dir", lspet_folder.parent)
    assert done.code == 0
    assert "nothing is missing\nwhat is absent belongs to other data than these options name" in done.out


def test_a_table_is_one_set_s_alone(lspet_folder):
    found = findings(data="lsp_extended", data_dir=lspet_folder)
    assert missing(found) == []
    assert found["hr_lspet/joints.mat"].found is None


def test_lsp_needs_its_extension(lspet_folder):
    found = findings(data="lsp", data_dir=lspet_folder.parent)
    assert missing(found) == ["lsp/joints.mat", "lsp/images"]
    assert found["lsp_extended/joints.mat"].required
    assert not findings(data="lsp", data_dir=lspet_folder.parent, extension="nothing")["lsp_extended/images"].required


def test_damage_is_missing(lspet_folder):
    file = lspet_folder / "images" / "im00003.jpg"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    scipy.io.savemat(lspet_folder / "joints.mat", {"joints": np.zeros((3, 14, 2000))})
    found = findings(data="lsp_extended", data_dir=lspet_folder.parent)
    assert missing(found) == ["lsp_extended/joints.mat", "lsp_extended/images"]
    assert "which is LSP, not lsp_extended" in found["lsp_extended/joints.mat"].advice
    assert "1 of 5 images are damaged, the first" in found["lsp_extended/images"].advice
    assert "im00003.jpg; replace" in found["lsp_extended/images"].advice


def test_whole_images_with_something_behind_them_are_whole(tmp_path):
    for name in ("a.jpg", "a.png"):
        file = tmp_path / name
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(file)
        whole = file.read_bytes()
        assert is_whole(file)
        file.write_bytes(whole + b"more")
        assert is_whole(file)
        file.write_bytes(whole[:-200])
        assert not is_whole(file)
        file.write_bytes(b"")
        assert not is_whole(file)


def test_mpii(mpii_writer, mpii_person):
    one = mpii_person("1.jpg", {0: (20.0, 30.0), 1: (40.0, 60.0)}, (30.0, 45.0), 0.3)
    mpii_writer.json("train.json", [one])
    folder = mpii_writer.folder
    found = findings(data="mpii", data_dir=folder.parent)
    assert missing(found) == ["mpii/annot/valid.json", "mpii/images"]
    assert found["mpii/annot/train.json"].found == "1 persons in 1 images, 2 of 16 joints annotated"
    assert "1 of 1 annotated images are missing" in found["mpii/images"].advice
    assert found["mpii/annot/valid.json"].required
    mpii_writer.json("val.json", [one])
    mpii_writer.image("1.jpg", np.zeros((80, 80, 3), dtype=np.uint8))
    mpii_writer.mat([one])
    (folder / "annot" / "gt_valid.mat").write_bytes(b"no")
    found = findings(data="mpii", data_dir=folder)
    assert missing(found) == ["mpii/annot/gt_valid.mat"]
    assert found["mpii/images"].found == "1 of 1 images"
    assert not found["mpii/mpii_human_pose_v1_u12_1.mat"].required
    assert findings(data="mpii", data_dir=folder, annotations="mat")["mpii/mpii_human_pose_v1_u12_1.mat"].required


def test_the_format_that_is_begun_is_the_one_that_is_needed(mpii_writer, mpii_person):
    mpii_writer.mat([mpii_person("1.jpg", {0: (20.0, 30.0)}, (30.0, 45.0), 0.3)])
    (mpii_writer.folder / "mpii_human_pose_v1_u12_1.mat").rename(mpii_writer.folder / "annot" / "train.h5")
    found = findings(data="mpii", data_dir=mpii_writer.folder.parent)
    assert missing(found) == ["mpii/annot/train.h5", "mpii/annot/valid.h5", "mpii/images"]
    assert "mpii/annot/train.json" not in found


def test_limbs_are_drawn_where_both_ends_are_annotated():
    joints = np.full((14, 2), 10.0, dtype=np.float32)
    joints[0], joints[1], joints[2] = (20, 70), (70, 70), (70, 20)
    annotated = np.zeros(14, dtype=bool)
    annotated[[0, 1]] = True
    sheet = np.asarray(drawn(Patch(np.zeros((96, 96, 3), np.uint8), joints, annotated), LSP))
    assert sheet.shape == (CELL, CELL, 3)
    assert sheet[141, 90].tolist() == [255, 150, 40]  # between the right ankle and knee
    assert not sheet[90, 141].any()  # between the knee and the hip, which is not annotated


def test_the_sheet_has_a_row_for_each_set(lspet_folder, tmp_path):
    path = tmp_path / "sheet.png"
    PoseTask(PoseOptions(data_dir=lspet_folder.parent)).draw_data(path, count=3)
    with Image.open(path) as sheet:
        assert sheet.size == (3 * CELL, 2 * (CELL + HEADING))


def test_a_sheet_of_nothing_or_nowhere(lspet_folder, tmp_path):
    with pytest.raises(DataError, match=r"no data set in .* can be drawn; see what is missing with 'aiop data check'"):
        PoseTask(PoseOptions(data="lsp", data_dir=tmp_path / "empty")).draw_data(tmp_path / "a.png", count=2)
    task = PoseTask(PoseOptions(data_dir=lspet_folder))
    for name in ("a.nothing", "nowhere/a.png"):
        with pytest.raises(DataError, match=r"the sheet .* cannot be written .*; name a .png or .jpg"):
            task.draw_data(tmp_path / name, count=2)


def test_the_command_says_it_and_draws(aiop, lspet_folder, tmp_path):
    sheet = tmp_path / "sheet.png"
    done = aiop("data", "check", "hpe2d", "--data-dir", lspet_folder.parent, "--draw", sheet, "--examples", 2)
    assert (done.code, done.err) == (0, "")
    assert "ok      lsp_extended/images: 5 of 10,000 images" in done.out
    assert "absent  mpii/images" in done.out
    assert sheet.is_file()


def test_the_command_fails_where_something_is_missing(aiop, lspet_folder):
    done = aiop("data", "check", "hpe2d", "--data", "lsp", "--data-dir", lspet_folder.parent)
    assert done.code == 1
    assert "MISSING lsp/joints.mat" in done.out
    assert "need, 2 are missing or damaged" in done.out


def test_the_command_as_json(aiop, lspet_folder):
    done = aiop("data", "check", "--task", "hpe2d", "--task.data-dir", lspet_folder.parent, "--json")
    told = json.loads(done.out)
    assert (done.code, told["task"], told["complete"]) == (0, "hpe2d", True)
    assert {f["name"]: f["found"] for f in told["findings"]}["lsp_extended/images"] == "5 of 10,000 images"


@pytest.mark.data
def test_real_lspet_is_whole_and_lsp_has_no_images(shared_data):
    found = findings(data="lsp", data_dir=shared_data / "pose")
    assert missing(found) == ["lsp/images"]
    assert found["lsp/joints.mat"].found == "2,000 persons, 28,000 of 28,000 joints annotated"
    assert found["lsp_extended/joints.mat"].found == "10,000 persons, 123,213 of 140,000 joints annotated"
    assert found["lsp_extended/images"].found == "1,000 of 10,000 images"


def test_an_image_that_is_too_large_to_be_one_is_damaged(lspet_folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    file = lspet_folder / "images" / "im00001.jpg"
    assert not is_whole(file)
    with pytest.raises(DataError, match=r"im00001.jpg cannot be read .*decompression bomb.*; replace it"):
        read_image(file)
