"""Where files lie, and what the json files must hold."""

import re

import pytest

from aiop_coco.annotations import read_annotations
from aiop_coco.categories import read_categories
from aiop_coco.mark import LENGTH, mark
from aiop_coco.splits import PARTS, CocoSplit, coco2017
from aiop_core.errors import DataError


def test_the_layout_is_detectron2s(tmp_path):
    train, val = coco2017(tmp_path)
    assert (train.name, val.name) == ("train2017", "val2017")
    told = {name: getattr(train, name).relative_to(tmp_path).as_posix() for name in PARTS}
    assert told == {
        "images": "coco/train2017",
        "instances": "coco/annotations/instances_train2017.json",
        "panoptic": "coco/annotations/panoptic_train2017.json",
        "panoptic_masks": "coco/panoptic_train2017",
        "stuff_masks": "coco/panoptic_stuff_train2017",
    }


def test_the_folder_itself_may_be_named(root, drawn):
    assert coco2017(root / "coco") == coco2017(root)
    assert coco2017(drawn[0].images.parent) == drawn


def test_images_may_lie_one_folder_deeper(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images" / "val2017").mkdir(parents=True)
    train, val = coco2017(tmp_path)
    assert (train.images, val.images) == (tmp_path / "train2017", tmp_path / "images" / "val2017")


def test_a_part_is_there_or_said_to_be_missing(train, tmp_path):
    assert train.part("instances") == train.instances
    train.panoptic.unlink()
    said = r"train2017: .*/panoptic_train2017\.json is missing \(panoptic json\).*https.* do without"
    with pytest.raises(DataError, match=said):
        train.part("panoptic")
    with pytest.raises(DataError, match="mine has no instances json; choose metrics that do without"):
        CocoSplit("mine", tmp_path).part("instances")


@pytest.mark.parametrize(
    ("change", "lack"),
    [
        (lambda c: c.pop("categories"), "it has no list 'categories'"),
        (lambda c: c.update(images={}), "it has no list 'images'"),
        (lambda c: c["images"].clear(), "its list 'images' is empty"),
        (lambda c: c["categories"].clear(), "its list 'categories' is empty"),
        (lambda c: c["images"][1].pop("height"), "entry 1 of 'images' has no 'height'"),
        (lambda c: c["annotations"][0].pop("bbox"), "entry 0 of 'annotations' has no 'bbox'"),
        (lambda c: c["annotations"][1].pop("area"), "entry 1 of 'annotations' has no 'area'"),
        (lambda c: c["annotations"][0].pop("iscrowd"), "entry 0 of 'annotations' has no 'iscrowd'"),
        (lambda c: c["annotations"].insert(2, 3), "entry 2 of 'annotations' has no 'area'"),
    ],
)
def test_json_of_another_format(change, lack, train, edit):
    edit(train.instances, change)
    with pytest.raises(DataError, match=f"not in COCO's instances format: {re.escape(lack)}; what it must hold"):
        read_annotations(train.instances, "instances")


def test_json_that_is_no_object(train):
    train.panoptic.write_text("[]")
    with pytest.raises(DataError, match="panoptic format: it is no object with images, annotations and categories"):
        read_annotations(train.panoptic, "panoptic")


def test_a_segment_must_say_whether_it_is_a_crowd(train, edit):
    edit(train.panoptic, lambda c: c["annotations"][1]["segments_info"][0].pop("iscrowd"))
    with pytest.raises(DataError, match="panoptic format: a segment of entry 1 of 'annotations' has no 'iscrowd'"):
        read_annotations(train.panoptic, "panoptic")


def test_instances_are_not_panoptic(train):
    with pytest.raises(DataError, match="panoptic format: entry 0 of 'annotations' has no 'file_name'"):
        read_annotations(train.instances, "panoptic")


def test_json_that_is_cut_off_or_missing(train):
    train.instances.write_bytes(train.instances.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"instances_train2017.json is damaged \(.*replace it by the original: https"):
        read_annotations(train.instances, "instances")
    train.instances.unlink()
    with pytest.raises(DataError, match=r"cannot be read \(No such file.*put COCO's instances json there: https"):
        read_annotations(train.instances, "instances")


def test_categories_of_the_drawn_set(drawn):
    found = read_categories(*drawn)
    assert found.things == ("ball", "crate", "tent", "flower")
    assert found.stuff == ("sky", "water", "ground")
    assert found.thing_ids == {1: 0, 2: 1, 3: 2, 4: 3}
    assert found.stuff_ids == {5: 1, 6: 2, 7: 3}


def test_categories_are_in_the_order_of_their_ids(train, edit):
    def renumber(content):
        content["categories"].reverse()
        for category in content["categories"]:
            category["id"] = 100 - 7 * category["id"]

    edit(train.instances, renumber)
    edit(train.panoptic, renumber)
    found = read_categories(train)
    assert found.things == ("flower", "tent", "crate", "ball")
    assert found.thing_ids == {72: 0, 79: 1, 86: 2, 93: 3}
    assert found.stuff_ids == {51: 1, 58: 2, 65: 3}


def test_categories_of_what_is_there(train):
    train.panoptic.unlink()
    assert read_categories(train).stuff == ()
    assert len(read_categories(train).things) == 4


def test_panoptic_categories_suffice(train):
    train.instances.unlink()
    assert read_categories(train).thing_ids == {1: 0, 2: 1, 3: 2, 4: 3}
    train.panoptic.unlink()
    assert read_categories(train).things == ()


@pytest.mark.parametrize(
    ("file", "change", "odd"),
    [
        ("instances", lambda c: c["categories"][2].update(name="hut"), r"category 3 \('hut'\)"),
        ("instances", lambda c: c["categories"].pop(), r"category 4 \('flower'\)"),
        ("panoptic", lambda c: c["categories"][5].update(id=9), r"category 6 \('water'\)"),
    ],
)
def test_splits_of_different_categories(file, change, odd, root, edit):
    train, val = coco2017(root)
    edit(getattr(val, file), change)
    message = f"{file}_val2017.json and .*_train2017.json differ in {odd}; both must list the same ids and names"
    with pytest.raises(DataError, match=message):
        read_categories(train, val)


def test_an_id_for_two_categories(train, edit):
    edit(train.instances, lambda c: c["categories"][1].update(id=1))
    with pytest.raises(DataError, match="gives several categories one id; give each its own"):
        read_categories(train)


def test_a_mark_is_of_what_is_annotated_not_of_where(drawn, root, edit):
    here, there = coco2017(root)[0], drawn[0]
    assert mark(here) == mark(there)
    assert len(mark(here)) == LENGTH
    assert mark(drawn[0]) != mark(drawn[1])
    edit(here.panoptic, lambda c: c["annotations"][0]["segments_info"].pop())
    assert mark(here) != mark(there)


def test_a_mark_needs_annotations(train):
    train.panoptic.unlink()
    first = mark(train)
    train.instances.unlink()
    with pytest.raises(DataError, match=r"instances_train2017\.json is missing"):
        mark(train)
    train.instances.mkdir()
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\); make it readable"):
        mark(train)
    assert first
