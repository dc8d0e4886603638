"""What is said of files that are there, missing or damaged."""

import pytest

import aiop_coco.check
from aiop_coco.check import find_coco
from aiop_coco.splits import PUBLISHED, coco2017


def told(root, **required):
    return {finding.name: finding for finding in find_coco(root, **required)}


def test_a_whole_set(root):
    found = told(root)
    assert {name: finding.found for name, finding in found.items() if "val" not in name} == {
        "train2017": "5 of 5 images",
        "annotations/instances_train2017.json": found["annotations/instances_train2017.json"].found,
        "annotations/panoptic_train2017.json": "5 images, 5 annotations, 7 categories",
        "panoptic_train2017": "5 of 5 panoptic PNG files",
        "panoptic_stuff_train2017": "5 of 5 stuff masks",
        "categories": "4 of things, 3 of stuff",
    }
    assert len(found) == 11
    assert not any(finding.advice for finding in found.values())
    assert all(finding.path.exists() and finding.required for finding in found.values())


def test_nothing_there(tmp_path):
    found = told(tmp_path)
    assert len(found) == 11
    assert all(finding.found is None and "\n" not in finding.advice for finding in found.values())
    for name, finding in found.items():
        assert PUBLISHED in finding.advice or name.startswith("panoptic_stuff")
    assert found["train2017"].path == tmp_path / "coco" / "train2017"
    assert str(found["annotations/panoptic_val2017.json"].path) in found["annotations/panoptic_val2017.json"].advice


@pytest.mark.parametrize(("things", "stuff"), [(True, False), (False, True), (False, False)])
def test_what_is_required(root, things, stuff):
    found = told(root, things=things, stuff=stuff)
    assert found["train2017"].required == found["categories"].required == (things or stuff)
    assert found["annotations/instances_val2017.json"].required == things
    for name in ("annotations/panoptic_val2017.json", "panoptic_val2017", "panoptic_stuff_val2017"):
        assert found[name].required == stuff


def test_stuff_masks_are_made_later(root):
    masks = sorted((root / "coco" / "panoptic_stuff_train2017").iterdir())
    masks[0].unlink()
    finding = told(root)["panoptic_stuff_train2017"]
    assert (finding.found, finding.advice) == ("4 of 5 stuff masks; made from the panoptic files at first use", "")


def test_missing_and_damaged_images(root):
    first, second, *_ = sorted((root / "coco" / "train2017").iterdir())
    second.write_bytes(second.read_bytes()[:500])
    finding = told(root)["train2017"]
    assert finding.found is None
    assert finding.advice.startswith(
        f"1 of 5 images that were opened are faulty, the first: {second} is damaged; replace"
    )
    first.unlink()
    assert f"1 of 5 images are missing, the first {first}; put them there" in told(root)["train2017"].advice


def test_images_of_another_size(root, train, edit):
    edit(train.instances, lambda c: c["images"][2].update(height=65))
    advice = told(root)["train2017"].advice
    assert "000000000003.jpg is 64 × 64 pixels, not 64 × 65; replace" in advice


def test_of_many_images_some_are_opened(root, monkeypatch):
    monkeypatch.setattr(aiop_coco.check, "OPENED", 2)
    first, *_, last = sorted((root / "coco" / "train2017").iterdir())
    for file in (first, last):
        file.write_bytes(b"rubbish")
    assert "2 of 2 images that were opened are faulty" in told(root)["train2017"].advice


def test_missing_panoptic_png(root):
    file = sorted((root / "coco" / "panoptic_val2017").iterdir())[1]
    file.unlink()
    assert f"1 of 3 panoptic PNG files are missing, the first {file}" in told(root)["panoptic_val2017"].advice


def test_truncated_json(root, train):
    train.instances.write_bytes(train.instances.read_bytes()[:2000])
    found = told(root)
    assert "instances_train2017.json is damaged" in found["annotations/instances_train2017.json"].advice
    assert found["train2017"].found == "5 of 5 images"  # the panoptic file lists them too
    assert "is damaged" in found["categories"].advice


def test_images_without_annotations_are_counted(root, train, edit):
    edit(train.instances, lambda c: c.update(annotations=[a for a in c["annotations"] if a["image_id"] != 2]))
    found = told(root)["annotations/instances_train2017.json"].found
    assert found is not None
    assert found.endswith("4 categories, 1 images without annotations")


@pytest.mark.parametrize(
    ("part", "change", "odd"),
    [
        ("instances", lambda c: c["annotations"][0].update(category_id=77), "category 77"),
        ("instances", lambda c: c["annotations"][0].update(image_id=66), "image 66"),
        ("panoptic", lambda c: c["annotations"][1]["segments_info"][0].update(category_id=55), "category 55"),
    ],
)
def test_annotations_of_what_is_not_listed(part, change, odd, root, train, edit):
    edit(getattr(train, part), change)
    finding = told(root)[f"annotations/{part}_train2017.json"]
    assert finding.found is None
    assert f"has an annotation of {odd}, which it does not list; replace it by the original" in finding.advice


def test_categories_that_differ(root, edit):
    edit(coco2017(root)[1].instances, lambda c: c["categories"][0].update(name="sphere"))
    finding = told(root)["categories"]
    assert finding.found is None
    assert "differ in category 1 ('ball'); both must list" in finding.advice


@pytest.mark.data
def test_a_part_of_coco(shared_data):
    found = told(shared_data / "coco" / "tinycoco", stuff=False)
    assert found["train2017"].found == "32 of 32 images"
    assert found["annotations/instances_train2017.json"].found == (
        "32 images, 288 annotations, 80 categories, 2 images without annotations"
    )
    assert not [f for f in found.values() if f.required and f.found is None]
