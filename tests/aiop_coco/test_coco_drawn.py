"""The files of the drawn data set."""

import errno
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

import aiop_coco.drawn
import aiop_coco.split_writer
from aiop_coco.drawn import FIRST_IDS, default_cache, describe, drawn_root, drawn_set
from aiop_coco.panoptic import read_ids
from aiop_core.errors import DataError


def content(folder):
    """Every file below a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_lie_in_detectron2s_layout(drawn, small):
    for split, count in zip(drawn, (small["train"], small["val"]), strict=True):
        stems = {f"{FIRST_IDS[split.name] + i:012d}" for i in range(count)}
        coco = split.images.parent
        assert coco.name == "coco"
        assert {path.name for path in (coco / split.name).iterdir()} == {f"{stem}.jpg" for stem in stems}
        for folder in (f"panoptic_{split.name}", f"panoptic_stuff_{split.name}"):
            assert {path.name for path in (coco / folder).iterdir()} == {f"{stem}.png" for stem in stems}
        for kind in ("instances", "panoptic"):
            assert (coco / "annotations" / f"{kind}_{split.name}.json").is_file()


def test_instances_panoptic_and_stuff_agree_on_every_pixel(drawn):
    for split in drawn:
        instances, panoptic = (json.loads(path.read_bytes()) for path in (split.instances, split.panoptic))
        assert [c["id"] for c in instances["categories"]] == [1, 2, 3, 4]
        assert [a["id"] for a in instances["annotations"]] == list(range(1, len(instances["annotations"]) + 1))
        for image, annotation in zip(panoptic["images"], panoptic["annotations"], strict=True):
            ids = read_ids(split.panoptic_masks / annotation["file_name"])
            pixels = np.asarray(Image.open(split.images / image["file_name"]))
            assert pixels.shape == (image["height"], image["width"], 3) == (64, 64, 3)
            stuff = np.asarray(Image.open(split.stuff_masks / annotation["file_name"]))
            expected = np.full(ids.shape, 255)
            boxes = [a for a in instances["annotations"] if a["image_id"] == image["id"]]
            things = [s for s in annotation["segments_info"] if s["category_id"] <= 4]
            for segment in annotation["segments_info"]:
                expected[ids == segment["id"]] = max(0, segment["category_id"] - 4)
            for segment, box in zip(things, boxes, strict=True):
                code = rle.merge(rle.frPyObjects(box["segmentation"], *ids.shape))
                np.testing.assert_array_equal(rle.decode(code).astype(bool), ids == segment["id"])
                assert (box["category_id"], box["bbox"]) == (segment["category_id"], segment["bbox"])
                assert box["area"] == segment["area"] == rle.area(code)
                assert box["bbox"] == rle.toBbox(code).tolist()
                assert box["iscrowd"] == 0
            np.testing.assert_array_equal(stuff, expected)


def test_a_larger_set_begins_with_a_smaller_one_and_splits_and_seeds_differ(drawn, small, tmp_path):
    larger = drawn_set(tmp_path, **small | {"train": 6})
    other = drawn_set(tmp_path, **small | {"seed": 8})
    first = [content(splits[0].images) for splits in (drawn, larger, other)]
    assert first[0].items() < first[1].items()
    assert not set(first[0].values()) & set(first[2].values())
    assert not set(first[0].values()) & set(content(drawn[1].images).values())


def test_a_set_that_is_there_is_not_drawn_again(drawn, small, monkeypatch):
    def fail(*_):
        raise AssertionError("drawn again")

    monkeypatch.setattr(aiop_coco.drawn, "draw_scene", fail)
    assert drawn_set(drawn[0].images.parents[2], **small) == drawn


def test_a_killed_drawing_goes_on(drawn, small, place, tmp_path, monkeypatch):
    seen = []

    def killed(done, total, note=""):
        seen.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drawn_set(tmp_path, **small, progress=killed)
    assert seen == [(1, 8), (2, 8), (3, 8), (4, 8)]
    there = {path: path.stat().st_mtime_ns for path in place(tmp_path).rglob("*.jpg")}
    assert len(there) == 4
    drawn_set(tmp_path, **small)
    assert content(place(tmp_path)) == content(drawn[0].images.parents[1])
    assert {path: path.stat().st_mtime_ns for path in there} == there


@pytest.mark.parametrize("damage", ["truncate", "delete", "edit", "card"])
def test_damage_is_noticed_and_mended(damage, drawn, small, place, tmp_path):
    splits = drawn_set(tmp_path, **small)
    if damage == "truncate":
        image = next(splits[0].images.iterdir())
        image.write_bytes(image.read_bytes()[:100])
    elif damage == "delete":
        next(splits[1].stuff_masks.iterdir()).unlink()
    elif damage == "edit":
        splits[0].instances.write_text(splits[0].instances.read_text().replace('"iscrowd":0', '"iscrowd":1', 1))
    else:
        (place(tmp_path) / "card.json").write_text("{")
    drawn_set(tmp_path, **small)
    assert content(place(tmp_path)) == content(drawn[0].images.parents[1])


def draw_in(folder: Path, small: dict[str, int]) -> None:
    drawn_set(folder, **small)


def test_two_processes_at_once_do_no_harm(drawn, small, place, tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=draw_in, args=(tmp_path, small)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert content(place(tmp_path)) == content(drawn[0].images.parents[1])


def test_a_full_disk_is_one_line_and_nothing_is_lost(small, place, tmp_path, monkeypatch):
    written = []

    def full(path, pixels):
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        write(path, pixels)

    write = aiop_coco.split_writer.write_png
    monkeypatch.setattr(aiop_coco.split_writer, "write_png", full)
    with pytest.raises(DataError, match=r"cannot be written to .*drawn.*No space left on device.*AIOP_CACHE$"):
        drawn_set(tmp_path, **small)
    assert len(list(place(tmp_path).rglob("*.jpg"))) == 2
    assert not list(place(tmp_path).rglob("*.part"))


@pytest.mark.parametrize(
    ("name", "value", "least"), [("train", 0, 1), ("val", 0, 1), ("size", 16, 32), ("seed", -1, 0)]
)
def test_numbers_that_are_too_small(name, value, least, small, tmp_path):
    with pytest.raises(DataError, match=f"with {name} {value} cannot be drawn; {name} is at least {least}"):
        drawn_set(tmp_path, **small | {name: value})


def test_each_set_has_its_place(tmp_path):
    places = {
        drawn_root(tmp_path, train=train, val=2, size=size, seed=seed)
        for train in (1, 2)
        for size in (32, 64)
        for seed in (0, 1)
    }
    assert len(places) == 8


def test_the_card_says_what_is_there(drawn):
    root = drawn[0].images.parents[1]
    assert json.loads((root / "card.json").read_text()) == describe(root)
    assert describe(root)["files"] == 3 * 8 + 4


def test_the_cache_is_where_the_variables_say(monkeypatch, tmp_path):
    monkeypatch.setenv("AIOP_CACHE", str(tmp_path / "a"))
    assert default_cache() == tmp_path / "a"
    monkeypatch.delenv("AIOP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "aiop"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "aiop"
