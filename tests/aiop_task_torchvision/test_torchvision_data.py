"""Files in COCO's format as torch samples; each fault of the files in one line."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from aiop_core.errors import DataError
from aiop_task_torchvision.data import View, batches, in_batches, mirror
from aiop_task_torchvision.options import PARTS


def edit(folder, split, change):
    """Change what instances_SPLIT.json holds."""
    file = folder / "coco" / "annotations" / f"instances_{split}2017.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_boxes_hold_their_masks_and_classes_count_from_one(make_task):
    task = make_task()
    for images in task.images:
        for index in range(len(images)):
            pixels, target = images[View(index)]
            assert pixels.shape == (3, 64, 64)
            assert 0 <= pixels.min() < pixels.max() <= 1
            for box, label, mask in zip(target["boxes"], target["labels"], target["masks"], strict=True):
                y, x = mask.nonzero().T
                assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
                assert 1 <= label <= len(task.categories.things)
            things = target["masks"].bool().any(0)
            assert (target["semantic"][things] == 0).all()
            assert target["semantic"].max() <= 255


def test_only_what_the_parts_need_is_read(make_task):
    keys = {part: set(make_task(parts=(part,)).images[0][View(0)][1]) for part in PARTS}
    assert keys == {"obj_det": {"boxes", "labels"}, "inst_seg": {"boxes", "labels", "masks"}, "sem_seg": {"semantic"}}


def test_a_mirror_image_mirrors_all_and_twice_is_none(make_task):
    images = make_task().images[0]
    pixels, target = images[View(0)]
    flipped, mirrored = images[View(0, mirrored=True)]
    assert torch.equal(flipped, pixels.flip(-1))
    for box, mask in zip(mirrored["boxes"], mirrored["masks"], strict=True):
        y, x = mask.nonzero().T
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    again = mirror((flipped, mirrored))
    assert all(torch.equal(again[1][name], target[name]) for name in target)


def test_images_are_kept_as_far_as_there_is_room(make_task):
    for cache_mb, kept in ((0, 0), (100, 8)):
        images = make_task(cache_mb=cache_mb).images[0]
        samples = [images[View(index)] for index in range(8)]
        assert len(images._kept) == kept
        assert all(torch.equal(images[View(i)][0], sample[0]) for i, sample in enumerate(samples))


def test_worker_processes_give_the_same_batches(make_task):
    images = make_task().images[0]
    views = in_batches([View(index, index % 2 == 0) for index in range(3)], 2)
    for alone, helped in zip(batches(images, views, 0), batches(images, views, 1), strict=True):
        assert all(torch.equal(a[0], b[0]) for a, b in zip(alone, helped, strict=True))


def test_images_without_a_box_are_dropped_or_kept(coco_folder, coco_task):
    def no_boxes(content):
        first = content["images"][0]["id"]
        crowd = next(a for a in content["annotations"] if a["image_id"] == first)
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != first]
        content["annotations"].append(crowd | {"iscrowd": 1})

    for split in ("train", "val"):
        edit(coco_folder, split, no_boxes)
    assert [len(images) for images in coco_task().images] == [7, 4]
    kept = coco_task(empty="keep").images[0]
    assert len(kept) == 8
    target = kept[View(0)][1]
    assert target["boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, 64, 64)
    assert len(coco_task(parts=("sem_seg",)).images[0]) == 8


def test_nothing_but_images_without_boxes_is_an_error(coco_folder, coco_task):
    edit(coco_folder, "train", lambda content: content["annotations"].clear())
    with pytest.raises(DataError, match=r"none of the 8 images in .*instances_train2017\.json is annotated"):
        coco_task().prepare()


@pytest.mark.parametrize("name", ["instances_train2017.json", "instances_val2017.json"])
def test_a_missing_annotation_file_is_named_with_its_place(coco_folder, coco_task, name):
    (coco_folder / "coco" / "annotations" / name).unlink()
    with pytest.raises(DataError, match=rf"annotations/{name} is missing .* published at"):
        coco_task().prepare()


def test_classes_come_from_the_files_that_the_parts_need(coco_folder, coco_task, tiny_backbone):
    (coco_folder / "coco" / "annotations" / "panoptic_val2017.json").unlink()
    with pytest.raises(DataError, match=r"annotations/panoptic_val2017\.json is missing .* published at"):
        coco_task().model(tiny_backbone())
    assert (
        coco_task(parts=("obj_det",)).model(tiny_backbone()).heads.roi_heads.box_predictor.cls_score.out_features == 5
    )


def test_categories_that_differ_between_the_files_are_an_error(coco_folder, coco_task):
    edit(coco_folder, "val", lambda content: content["categories"][0].update(name="cube"))
    with pytest.raises(DataError, match=r"differ in category 1 \('.*'\); both must list the same"):
        coco_task().prepare()


def test_an_annotation_of_no_listed_category_is_an_error(coco_folder, coco_task):
    edit(coco_folder, "train", lambda content: content["annotations"][0].update(category_id=77))
    with pytest.raises(DataError, match=r"annotation .* is of category 77, which is not listed"):
        coco_task().prepare()


def test_objects_without_segmentation_have_boxes_only(coco_folder, coco_task):
    edit(coco_folder, "train", lambda content: content["annotations"][0].pop("segmentation"))
    with pytest.raises(DataError, match=r"has objects without segmentation; leave inst_seg out of parts"):
        coco_task().prepare()
    coco_task(parts=("obj_det",)).prepare()


def test_missing_images_are_counted(coco_folder, coco_task):
    first = sorted((coco_folder / "coco" / "train2017").iterdir())[0]
    first.unlink()
    with pytest.raises(DataError, match=rf"1 of 8 files are missing in .*train2017, the first {first.name}; put them"):
        coco_task().prepare()


def test_a_truncated_image_is_named(coco_folder, coco_task):
    first = sorted((coco_folder / "coco" / "train2017").iterdir())[0]
    first.write_bytes(first.read_bytes()[:300])
    with pytest.raises(DataError, match=rf"{first.name} is damaged .*; replace it by the original"):
        coco_task().images[0][View(0)]


def test_an_error_of_a_worker_process_is_one_line(coco_folder, coco_task):
    first = sorted((coco_folder / "coco" / "train2017").iterdir())[0]
    first.write_bytes(first.read_bytes()[:300])
    with pytest.raises(DataError, match=rf"{first.name} is damaged .*; replace it by the original") as caught:
        list(batches(coco_task().images[0], in_batches([View(1), View(0)], 2), 1))
    assert "\n" not in str(caught.value)


def test_an_image_of_another_size_is_an_error(coco_folder, coco_task):
    first = sorted((coco_folder / "coco" / "train2017").iterdir())[0]
    Image.new("RGB", (50, 40)).save(first)
    with pytest.raises(DataError, match=r"is 50 × 40 pixels, its annotations say 64 × 64; put the original there"):
        coco_task().images[0][View(0)]


def test_stuff_masks_are_made_where_they_are_missing(coco_folder, coco_task, tmp_path):
    whole = coco_task().images[0][View(0)][1]["semantic"]
    for split in ("train", "val"):
        masks = coco_folder / "coco" / f"panoptic_stuff_{split}2017"
        for mask in masks.iterdir():
            mask.unlink()
        masks.rmdir()
    made = coco_task(cache_dir=tmp_path / "made").images[0][View(0)][1]["semantic"]
    assert torch.equal(made, whole)
    assert len([*(tmp_path / "made").iterdir()]) == 2


def test_a_mask_of_an_unknown_class_is_an_error(coco_folder, coco_task):
    mask = sorted((coco_folder / "coco" / "panoptic_stuff_train2017").iterdir())[0]
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(mask)
    with pytest.raises(DataError, match=r"holds the class 9, allowed are 0 to 3 and 255; delete the folder"):
        coco_task().images[0][View(0)]


def test_preparation_tells_how_far_it_is(coco_folder, coco_task, make_task, tmp_path):
    for split in ("train", "val"):
        shutil.rmtree(coco_folder / "coco" / f"panoptic_stuff_{split}2017")
    told = []
    for task in (coco_task(cache_dir=tmp_path / "made"), make_task(cache_dir=tmp_path / "drawn")):
        told.append([])
        task.prepare_data(progress=lambda done, total, note="": told[-1].append((done, total)))
    assert {(8, 8), (4, 4)} <= set(told[0])
    assert told[1][-1] == (12, 12)
    assert len([*(tmp_path / "made").iterdir()]) == 2


@pytest.mark.data
def test_real_images_keep_their_boxes_inside(shared_data, make_task):
    folder = shared_data / "coco" / "tinycoco"
    images = make_task(data="coco", data_dir=folder, parts=("obj_det", "inst_seg")).images[0]
    assert len(images) == 30
    for index in range(0, 30, 10):
        pixels, target = images[View(index)]
        height, width = pixels.shape[1:]
        assert (target["boxes"] >= 0).all()
        assert (target["boxes"] <= torch.tensor([width, height, width, height])).all()
        assert target["masks"].shape == (len(target["boxes"]), height, width)
        assert target["masks"].flatten(1).any(1).all()
