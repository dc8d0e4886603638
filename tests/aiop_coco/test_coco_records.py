"""Images with their things, and how they are shown."""

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from aiop_coco.categories import read_categories
from aiop_coco.images import fault, read_image
from aiop_coco.panoptic import read_ids
from aiop_coco.records import Instance, load_coco, read_records
from aiop_coco.sheet import CELL, HEADING, draw
from aiop_coco.splits import coco2017
from aiop_core.errors import DataError


def test_records_hold_what_is_drawn(drawn):
    split = drawn[1]
    categories = read_categories(*drawn)
    records = read_records(split, categories, keep_empty=True)
    assert [record.image_id for record in records] == [500_001, 500_002, 500_003]
    for record in records:
        assert (record.height, record.width) == (64, 64)
        assert record.path.is_file()
        ids = read_ids(split.panoptic_masks / f"{record.path.stem}.png")
        things = np.asarray(Image.open(record.stuff_mask)) == 0
        masks = [instance.mask(64, 64) for instance in record.instances]
        np.testing.assert_array_equal(np.any(masks, axis=0), things)
        for instance, mask in zip(record.instances, masks, strict=True):
            assert len(np.unique(ids[mask])) == 1
            assert instance.area == mask.sum()
            assert instance.category in range(4)
            assert not instance.is_crowd


def test_images_without_annotations_are_kept_or_left_out(train, edit):
    def change(content):
        first, second = content["images"][0]["id"], content["images"][1]["id"]
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != first]
        for annotation in content["annotations"]:
            annotation["iscrowd"] = int(annotation["image_id"] == second)

    edit(train.instances, change)
    categories = read_categories(train)
    everything = read_records(train, categories, keep_empty=True)
    assert [len(record.instances) > 0 for record in everything] == [False, True, True, True, True]
    assert all(instance.is_crowd for instance in everything[1].instances)
    assert read_records(train, categories, keep_empty=False) == everything[2:]


def test_nothing_annotated(train, edit):
    edit(train.instances, lambda c: c["annotations"].clear())
    assert len(read_records(train, read_categories(train), keep_empty=True)) == 5
    with pytest.raises(DataError, match=r"none of the 5 images in .*_train2017\.json is annotated; take a file"):
        read_records(train, read_categories(train), keep_empty=False)


def test_things_without_extent_are_left_out(train, edit):
    count = len(read_records(train, read_categories(train), keep_empty=True)[0].instances)
    edit(train.instances, lambda c: c["annotations"][0].update(bbox=[3, 3, 0, 4]))
    assert len(read_records(train, read_categories(train), keep_empty=True)[0].instances) == count - 1


def test_an_annotation_of_an_unlisted_category(train, edit):
    edit(train.instances, lambda c: c["annotations"][1].update(category_id=8))
    with pytest.raises(DataError, match="annotation 2 is of category 8, which is not listed; list it under"):
        read_records(train, read_categories(train), keep_empty=True)


SQUARE = np.zeros((6, 5), dtype=np.uint8, order="F")
SQUARE[1:4, 2:5] = 1
COUNTS = [13, 3, 3, 3, 3, 3, 2]
"""Of ``SQUARE``, down the columns, beginning with zeros."""


@pytest.mark.parametrize(
    "segmentation",
    [
        [[2.0, 1.0, 5.0, 1.0, 5.0, 4.0, 2.0, 4.0]],
        [[2, 1, 4, 1, 4, 4, 2, 4], [4, 1, 5, 1, 5, 4, 4, 4]],
        {"size": [6, 5], "counts": COUNTS},
        rle.encode(SQUARE),
    ],
    ids=["polygon", "parts", "counts", "code"],
)
def test_masks_of_every_form(segmentation):
    instance = Instance(0, (2, 1, 3, 3), segmentation, is_crowd=False, area=9)
    np.testing.assert_array_equal(instance.mask(6, 5), SQUARE.astype(bool))


def test_polygons_of_too_few_corners_are_no_mask(train, edit):
    edit(train.instances, lambda c: c["annotations"][0].update(segmentation=[[1, 1, 2, 2]]))
    instance = read_records(train, read_categories(train), keep_empty=True)[0].instances[0]
    assert instance.segmentation is None
    assert not instance.mask(64, 64).any()


def test_cocos_api_is_silent(train, capsys):
    coco = load_coco(train.instances)
    assert len(coco.imgs) == 5
    assert coco.imgToAnns[1]
    assert capsys.readouterr().out == ""
    train.instances.write_text("{}")
    with pytest.raises(DataError, match="it has no list 'images'"):
        load_coco(train.instances)


def test_images_that_cannot_be_read(train):
    first, second, *_ = sorted(train.images.iterdir())
    assert read_image(first).shape == (64, 64, 3)
    first.write_bytes(first.read_bytes()[:900])
    with pytest.raises(DataError, match=r"000000000001.jpg is damaged \(.*\); replace it by the original"):
        read_image(first)
    second.unlink()
    with pytest.raises(DataError, match=r"000000000002.jpg is missing; see what else is with 'aiop data check'"):
        read_image(second)
    assert fault(first, 64, 64) == fault(second, 64, 64) == "is damaged"


def test_faults_of_images(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (20, 10)).save(path)
    assert fault(path, 10, 20) == ""
    assert fault(path, 20, 10) == "is 20 × 10 pixels, not 10 × 20"
    path.write_bytes(path.read_bytes() + b"appended")  # as some cameras do
    assert fault(path, 10, 20) == ""


def test_the_sheet_shows_things_and_stuff(drawn, tmp_path):
    draw(drawn, tmp_path / "sheet.png", 2)
    with Image.open(tmp_path / "sheet.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape == (2 * (CELL + HEADING), 2 * CELL, 3)
    plain = read_image(sorted(drawn[0].images.iterdir())[0])
    shown = sheet[HEADING : HEADING + CELL, :CELL][2::4, 2::4]
    stuff = np.asarray(Image.open(sorted(drawn[0].stuff_masks.iterdir())[0]))
    difference = np.abs(shown.astype(int) - plain).mean(axis=2)
    assert difference[stuff == 0].mean() > 20
    assert difference[(stuff > 0) & (stuff < 255)].mean() > 8


def test_a_sheet_of_few_images_and_without_stuff(train, tmp_path):
    train.panoptic.unlink()
    draw([train], tmp_path / "sheet.png", 9)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.size == (9 * CELL, CELL + HEADING)


def test_a_sheet_that_cannot_be_written(drawn, tmp_path):
    with pytest.raises(DataError, match=r"sheet .*x.png cannot be written \(.*name a .png or .jpg in a folder"):
        draw(drawn, tmp_path / "none" / "x.png", 1)
    with pytest.raises(DataError, match=r"name a \.png or \.jpg"):
        draw(drawn, tmp_path / "x.text", 1)


@pytest.mark.data
def test_real_images(shared_data, tmp_path):
    """Counted in the json file: 32 images, two of them without annotations, 288 annotations."""
    train, val = coco2017(shared_data / "coco" / "tinycoco")
    categories = read_categories(train, val)
    assert len(categories.things) == 80
    assert categories.thing_ids[90] == 79
    records = read_records(train, categories, keep_empty=True)
    assert (len(records), sum(len(record.instances) for record in records)) == (32, 288)
    assert len(read_records(train, categories, keep_empty=False)) == 30
    for record in records:
        assert not fault(record.path, record.height, record.width)
        for instance in record.instances:
            covered = instance.mask(record.height, record.width).sum()
            if instance.is_crowd:
                assert covered == sum(instance.segmentation["counts"][1::2])
            else:
                assert abs(covered - instance.area) < 20 + 0.1 * instance.area
    draw((train, val), tmp_path / "sheet.png", 3)
