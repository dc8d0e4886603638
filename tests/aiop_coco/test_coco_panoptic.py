"""Stuff masks out of panoptic files."""

import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import aiop_coco.panoptic
from aiop_coco.categories import read_categories
from aiop_coco.panoptic import id_colors, prepare_stuff, read_ids, segment_values, stuff_mask
from aiop_coco.splits import CocoSplit
from aiop_core.errors import DataError

KINDS = ((1, "cat", 1), (5, "grass", 0), (3, "sky", 0), (9, "dog", 1))


def write_split(folder, images, categories=KINDS):
    """A panoptic split: of each image its pixels and segments ``{id: category}``."""
    masks = folder / "panoptic_mine"
    masks.mkdir(parents=True)
    for number, (ids, _) in enumerate(images):
        Image.fromarray(id_colors(np.array(ids, dtype=np.uint32))).save(masks / f"{number}.png")
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 2, "width": 3} for i in range(len(images))],
        "annotations": [
            {
                "image_id": i,
                "file_name": f"{i}.png",
                "segments_info": [{"id": k, "category_id": c, "iscrowd": 0} for k, c in segments.items()],
            }
            for i, (_, segments) in enumerate(images)
        ],
        "categories": [{"id": i, "name": name, "isthing": thing} for i, name, thing in categories],
    }
    (folder / "panoptic_mine.json").write_text(json.dumps(content))
    return CocoSplit("mine", folder, panoptic=folder / "panoptic_mine.json", panoptic_masks=masks)


BIG = 7 + 256 * 3 + 65536 * 200
IMAGES = [([[0, 4, 4], [BIG, 8, 77]], {4: 5, BIG: 1, 8: 3}), ([[4, 4, 4], [4, 4, 4]], {4: 9})]


def pixels(path):
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image).tolist()


def test_pixels_worked_out_by_hand(tmp_path):
    """Stuff in the order of the ids (sky 3, grass 5) is 1 and 2; id 0 and the unlisted 77 are not annotated."""
    split = write_split(tmp_path, IMAGES)
    seen = []
    prepare_stuff(split, tmp_path / "out" / "stuff", lambda done, total, note="": seen.append((done, total)))
    assert pixels(tmp_path / "out" / "stuff" / "0.png") == [[255, 2, 2], [0, 1, 255]]
    assert pixels(tmp_path / "out" / "stuff" / "1.png") == [[0, 0, 0], [0, 0, 0]]
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_what_is_there_stays_and_the_rest_is_made(tmp_path):
    split, out, seen = write_split(tmp_path, IMAGES * 100), tmp_path / "out", []

    def killed(done, total, note=""):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_stuff(split, out, killed)
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert {"0.png", "1.png"} <= set(times) < {f"{i}.png" for i in range(200)}
    prepare_stuff(split, out, lambda done, total, note="": seen.append(done))
    assert seen == list(range(len(times), 201))
    assert len(list(out.iterdir())) == 200
    assert {name: (out / name).stat().st_mtime_ns for name in times} == times


def test_several_workers_give_the_same(drawn, tmp_path):
    seen = []
    prepare_stuff(drawn[0], tmp_path, lambda done, total, note="": seen.append(done), workers=2)
    assert sorted(seen) == seen
    assert (seen[0], seen[-1]) == (0, 5)
    made = {path.name: pixels(path) for path in tmp_path.iterdir()}
    assert made == {path.name: pixels(path) for path in drawn[0].stuff_masks.iterdir()}


def test_ids_go_through_colours():
    ids = np.array([[0, 255, 256], [65535, 65536, 256**3 - 1]], dtype=np.uint32)
    assert id_colors(ids)[0, 2].tolist() == [0, 1, 0]
    assert id_colors(ids)[1, 1].tolist() == [0, 0, 1]


def test_faults_in_several_threads_are_one_line(drawn, tmp_path):
    split = replace(drawn[0], panoptic_masks=tmp_path)
    with pytest.raises(DataError, match=r"\d+\.png is missing"):
        prepare_stuff(split, tmp_path / "out", workers=2)


@pytest.mark.parametrize("damage", [b"", b"\x89PNG\r\n\x1a\n rubbish", None])
def test_damaged_png_files(damage, tmp_path):
    split = write_split(tmp_path, IMAGES)
    file = split.panoptic_masks / "1.png"
    file.write_bytes(file.read_bytes()[:45] if damage is None else damage)
    with pytest.raises(DataError, match=r"1\.png is damaged \(.*\); replace it by the original: https"):
        prepare_stuff(split, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.png"]  # and no part of the other


def test_a_png_file_that_is_missing(tmp_path):
    split = write_split(tmp_path, IMAGES)
    (split.panoptic_masks / "0.png").unlink()
    with pytest.raises(DataError, match=r"0\.png is missing; put COCO's panoptic PNG files there: https"):
        prepare_stuff(split, tmp_path / "out")


@pytest.mark.parametrize("segment", [{"id": 4, "category_id": 2, "iscrowd": 0}, {"id": 4, "iscrowd": 0}])
def test_a_segment_of_no_known_category(segment, tmp_path, edit):
    split = write_split(tmp_path, IMAGES)
    edit(split.panoptic, lambda c: c["annotations"][1]["segments_info"].append(segment))
    with pytest.raises(DataError, match=r"a segment in 1\.png has no known category \(.*\); take the original file"):
        prepare_stuff(split, tmp_path / "out")


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    split = write_split(tmp_path, IMAGES)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/out cannot be written \(.*run the same command again"):
        prepare_stuff(split, tmp_path / "file" / "out")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(aiop_coco.panoptic, "write_png", full)
    with pytest.raises(DataError, match=r"0\.png cannot be written \(No space left on device\)"):
        prepare_stuff(split, tmp_path / "out")


@pytest.mark.data
def test_cocos_own_examples(shared_data, tmp_path):
    """Against the loop over segments that detectron2's script is, and COCO's two-channel form of the same images."""
    folder = shared_data / "coco" / "panoptic_samples"
    split = CocoSplit(
        "samples",
        folder / "input_images",
        panoptic=folder / "panoptic_examples.json",
        panoptic_masks=folder / "panoptic_examples",
    )
    prepare_stuff(split, tmp_path)
    content = json.loads(split.panoptic.read_text())
    categories = read_categories(split)
    assert (len(categories.things), len(categories.stuff)) == (80, 53)
    stuff = [c["id"] for c in content["categories"] if not c["isthing"]]
    assert len(content["annotations"]) == 2
    for annotation in content["annotations"]:
        ids = read_ids(folder / "panoptic_examples" / annotation["file_name"])
        expected = np.full(ids.shape, 255)
        for segment in annotation["segments_info"]:
            category = segment["category_id"]
            expected[ids == segment["id"]] = stuff.index(category) + 1 if category in stuff else 0
            assert (ids == segment["id"]).sum() == segment["area"]
        made = np.array(pixels(tmp_path / annotation["file_name"]))
        np.testing.assert_array_equal(made, expected)
        assert len(np.unique(made)) > 3
        with Image.open(folder / "panoptic_examples_2ch_format" / annotation["file_name"]) as image:
            semantic = np.asarray(image)[..., 0]
        for number, category in enumerate(stuff, start=1):
            np.testing.assert_array_equal(made == number, semantic == category)


def test_masks_of_unlisted_ids_are_not_annotated(drawn):
    categories = read_categories(*drawn)
    values = segment_values([{"id": 5, "category_id": 7}], categories)
    assert values == {5: 3}
    assert stuff_mask(np.array([[5, 6]], dtype=np.uint32), values).tolist() == [[3, 255]]
