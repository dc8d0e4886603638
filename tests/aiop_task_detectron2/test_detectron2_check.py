"""``aiop data``: what of the data is there, what is missing, and what it looks like."""

import json
import shutil

import pytest
from PIL import Image

from aiop_core.plugins import PluginSource
from aiop_task_detectron2 import plugin


@pytest.fixture
def sources(detectron2):
    return [PluginSource("detectron2", "aiop-task-detectron2", "0", lambda: plugin)]


@pytest.fixture(autouse=True)
def nothing_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    monkeypatch.setenv("AIOP_CACHE", str(tmp_path / "cache"))


SMALL = ("--train-images", 4, "--val-images", 2, "--input-size", 64)


def check(aiop, *args, name="detectron2"):
    done = aiop("data", "check", name, *args, "--json")
    return done.code, {f["name"]: f for f in json.loads(done.out)["findings"]}


def test_drawn_images_are_there_and_coco_may_be(aiop):
    code, found = check(aiop, *SMALL)
    assert code == 0
    assert found["train2017"]["found"] == "4 of 4 images"
    assert not found["coco"]["required"]
    assert "published at https://cocodataset.org" in found["coco"]["advice"]


def test_coco_that_is_there_and_its_sheet(aiop, coco, tmp_path):
    sheet = tmp_path / "sheet.png"
    done = aiop("data", "check", "detectron2", "--data", "coco", "--data-dir", coco, "--draw", sheet, "--examples", 2)
    assert (done.code, "nothing is missing" in done.out) == (0, True), done.err
    with Image.open(sheet) as image:
        assert image.size[0] == 512


def test_a_sheet_waits_for_no_masks_of_stuff(aiop, coco, tmp_path):
    for side in ("train", "val"):
        shutil.rmtree(coco / "coco" / f"panoptic_stuff_{side}2017")
    of_coco = ("detectron2", "--data", "coco", "--data-dir", coco)
    sheets = [tmp_path / "before.png", tmp_path / "after.png"]
    assert aiop("data", "check", *of_coco, "--draw", sheets[0]).code == 0
    assert not [*(tmp_path / "cache").glob("*")]
    assert aiop("data", "prepare", *of_coco).code == 0
    assert aiop("data", "check", *of_coco, "--draw", sheets[1]).code == 0
    assert sheets[0].read_bytes() != sheets[1].read_bytes(), "stuff is drawn where there are masks"


def test_the_sheet_of_drawn_images(aiop, tmp_path):
    done = aiop("data", "check", "detectron2", *SMALL, "--draw", tmp_path / "sheet.png")
    assert done.code == 0, done.err
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_what_is_missing_depends_on_the_parts(aiop, coco):
    (coco / "coco" / "annotations" / "panoptic_val2017.json").unlink()
    (coco / "coco" / "annotations" / "instances_train2017.json").unlink()
    code, found = check(aiop, "--data", "coco", "--data-dir", coco, "--parts", "obj_det")
    assert code == 1
    missing = {name for name, finding in found.items() if finding["required"] and finding["found"] is None}
    assert "annotations/instances_train2017.json" in missing
    assert "annotations/panoptic_val2017.json" not in missing
    code, found = check(aiop, "--data", "coco", "--data-dir", coco, "--parts", "sem_seg")
    missing = {name for name, finding in found.items() if finding["required"] and finding["found"] is None}
    assert {"annotations/instances_train2017.json", "annotations/panoptic_val2017.json"} <= missing


def test_coco_without_a_folder_is_missing(aiop):
    code, found = check(aiop, "--data", "coco")
    assert (code, found["coco"]["required"]) == (1, True)
    assert "--data-dir, or the variable DETECTRON2_DATASETS" in found["coco"]["advice"]


def test_semantic_masks_are_prepared_on_request(aiop, coco, tmp_path):
    for side in ("train", "val"):
        shutil.rmtree(coco / "coco" / f"panoptic_stuff_{side}2017")
    arguments = ("--data", "coco", "--data-dir", coco)
    code, found = check(aiop, *arguments)
    assert code == 0
    assert found["panoptic_stuff_train2017"]["found"] == (
        "0 of 6 stuff masks; made from the panoptic files at first use"
    )
    done = aiop("data", "prepare", "detectron2", *arguments)
    assert done.code == 0, done.err
    assert len(list((tmp_path / "cache").glob("panoptic_stuff_train2017_*/*.png"))) == 6
    assert len(list((tmp_path / "cache").glob("panoptic_stuff_val2017_*/*.png"))) == 3


def test_data_by_name(aiop, drawn, tmp_path):
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.data.datasets import register_coco_instances

    folder = drawn / "coco"
    register_coco_instances(
        "check_train", {}, str(folder / "annotations" / "instances_train2017.json"), str(folder / "train2017")
    )
    try:
        arguments = ("--data", "check_train,check_train", "--parts", "obj_det")
        code, found = check(aiop, *arguments)
        assert (code, found["check_train"]["found"]) == (0, "6 images")
        done = aiop("data", "check", "detectron2", *arguments, "--draw", tmp_path / "sheet.png")
        assert done.code == 1
        assert "cannot be drawn here, only synthetic and coco; detectron2's visualize_data.py can" in done.err
        code, found = check(aiop, "--data", "check_train,check_train", "--parts", "pan_seg")
        assert code == 1
        assert "has no semantic masks" in found["check_train,check_train"]["advice"]
    finally:
        DatasetCatalog.remove("check_train")
        MetadataCatalog.remove("check_train")
