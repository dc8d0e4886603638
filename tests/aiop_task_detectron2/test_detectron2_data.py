"""Data sets in detectron2's catalogue: drawn ones, COCO's layout, and others' by name."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from aiop_coco.splits import coco2017
from aiop_core.errors import DataError, OptionError

pytestmark = pytest.mark.usefixtures("detectron2")


def opened(options):
    from aiop_task_detectron2.data import open_data

    return open_data(options)


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def instances(folder, side="train"):
    return folder / "coco" / "annotations" / f"instances_{side}2017.json"


def panoptic(folder, side="train"):
    return folder / "coco" / "annotations" / f"panoptic_{side}2017.json"


def registered():
    from detectron2.data import DatasetCatalog

    return sorted(DatasetCatalog.list())


@pytest.fixture
def of_coco(quick, coco, tmp_path):
    """``of_coco(…)``: options of data in COCO's layout that the test may change."""
    return lambda **changes: quick(data="coco", data_dir=coco, cache_dir=tmp_path / "cache", **changes)


@pytest.fixture
def catalogue():
    """``catalogue(name, records, **metadata)`` registers a data set, for the test alone."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    names = []

    def register(name, records, **metadata):
        names.append(name)
        DatasetCatalog.register(name, records if callable(records) else lambda: records)
        MetadataCatalog.get(name).set(**metadata)

    yield register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_drawn_images_are_complete(quick):
    train, val = opened(quick())
    assert (len(train.records), len(val.records)) == (6, 3)
    for part in (train, val):
        assert all(os.path.exists(r["file_name"]) and os.path.exists(r["sem_seg_file_name"]) for r in part.records)
        assert any(r["annotations"] for r in part.records)
        assert part.metadata.stuff_classes[0] == "things"
        assert len(part.metadata.thing_classes) > 2
    assert train.mark != val.mark


def test_opening_again_registers_nothing_more(quick):
    first = opened(quick())
    names = registered()
    again = opened(quick())
    assert registered() == names
    assert [part.name for part in again] == [part.name for part in first]
    assert again[0].records == first[0].records


def test_parts_without_stuff_read_no_masks(quick):
    train, _ = opened(quick(parts=("obj_det",)))
    assert "sem_seg_file_name" not in train.records[0]
    assert train.metadata.get("stuff_classes") is None


def test_cocos_layout_wherever_it_lies(of_coco, drawn, quick, monkeypatch):
    here, there = opened(of_coco()), opened(quick(data="coco", data_dir=drawn / "coco"))
    for ours, theirs in zip(here, there, strict=True):
        assert ours.mark == theirs.mark
        assert ours.records[0]["file_name"] != theirs.records[0]["file_name"]
    monkeypatch.setenv("DETECTRON2_DATASETS", str(drawn))
    assert opened(quick(data="coco"))[0].records == there[0].records


def test_a_copy_does_not_read_the_original(quick, coco, tmp_path):
    elsewhere = shutil.copytree(coco, tmp_path / "elsewhere")
    opened(quick(data="coco", data_dir=elsewhere))
    shutil.rmtree(elsewhere)
    assert str(coco) in opened(quick(data="coco", data_dir=coco))[0].records[0]["file_name"]


def test_changed_annotations_are_other_data(of_coco, coco):
    before = opened(of_coco())[0].mark
    edit(instances(coco), lambda content: content["annotations"].pop())
    assert opened(of_coco())[0].mark != before


def test_coco_without_a_folder(quick, monkeypatch):
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    with pytest.raises(OptionError, match=r"data coco needs data_dir, .* or the variable DETECTRON2_DATASETS;"):
        opened(quick(data="coco"))


@pytest.mark.parametrize("file", ["instances_train2017.json", "instances_val2017.json", "panoptic_val2017.json"])
def test_a_missing_annotation_file_is_named(of_coco, coco, file):
    (coco / "coco" / "annotations" / file).unlink()
    shutil.rmtree(coco / "coco" / "panoptic_stuff_val2017")
    with pytest.raises(DataError, match=rf"{file} is missing .* published at https://cocodataset.org"):
        opened(of_coco())


def test_missing_images_are_named(of_coco, coco):
    shutil.rmtree(coco / "coco" / "val2017")
    with pytest.raises(DataError, match=r"val2017 is missing \(images\)"):
        opened(of_coco())


def test_boxes_alone_need_no_panoptic_files(of_coco, coco):
    panoptic(coco).unlink()
    panoptic(coco, "val").unlink()
    shutil.rmtree(coco / "coco" / "panoptic_stuff_train2017")
    assert len(opened(of_coco(parts=("obj_det", "inst_seg")))[0].records) == 6
    with pytest.raises(DataError, match=r"panoptic_train2017 .*is missing|panoptic_train2017.json is missing"):
        opened(of_coco(parts=("pan_seg",)))


def test_each_image_with_panoptic_segments_to_find_must_be_there(of_coco, coco):
    def without_last(content):
        last = content["images"].pop()["id"]
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != last]

    edit(instances(coco, "val"), without_last)
    with pytest.raises(DataError, match=r"panoptic_val2017\.json has segments of 1 images that .*, such as 500003"):
        opened(of_coco())
    assert len(opened(of_coco(parts=("obj_det", "sem_seg")))[1].records) == 2


def test_missing_stuff_masks_are_made_once_into_the_cache(of_coco, coco, tmp_path):
    from aiop_task_detectron2.data import open_data

    original = coco / "coco" / "panoptic_stuff_train2017"
    wanted = {path.name: path.read_bytes() for path in original.iterdir()}
    shutil.rmtree(original)
    seen = []
    train, _ = open_data(of_coco(), lambda done, total, note="": seen.append((done, total)))
    assert seen[-1] == (6, 6)
    made = {os.path.basename(r["sem_seg_file_name"]): r["sem_seg_file_name"] for r in train.records}
    assert all(path.startswith(str(tmp_path / "cache")) for path in made.values())
    assert {name: Path(path).read_bytes() for name, path in made.items()} == wanted
    assert not original.exists()
    before = {path: os.stat(path).st_mtime_ns for path in made.values()}
    opened(of_coco())
    assert {path: os.stat(path).st_mtime_ns for path in before} == before


@pytest.mark.parametrize("crowds", [False, True])
def test_images_without_things(of_coco, coco, crowds):
    def spoil(content):
        content["annotations"] = [a | {"iscrowd": 1} for a in content["annotations"]] if crowds else []

    edit(instances(coco), spoil)
    with pytest.raises(DataError, match=r"none of the 6 images of aiop_train2017_\w+ has an annotated thing; "):
        opened(of_coco(parts=("obj_det",)))
    assert len(opened(of_coco(parts=("sem_seg",)))[0].records) == 6


def test_two_sides_of_other_classes(of_coco, coco):
    for path in (instances(coco, "val"), panoptic(coco, "val")):
        edit(path, lambda content: content["categories"][0].update(name="unicorn"))
    with pytest.raises(DataError, match=r"differ in category \d+ \('.*'\)"):
        opened(of_coco())


def test_annotations_that_detectron2_refuses(of_coco, coco):
    edit(instances(coco), lambda content: content["annotations"][1].update(id=content["annotations"][0]["id"]))
    with pytest.raises(DataError, match=r"instances_train2017.json is not as detectron2 wants it \(.*unique") as caught:
        opened(of_coco(parts=("obj_det",)))
    assert "\n" not in str(caught.value)


# --- By name ----------------------------------------------------------------------


def thing(**more):
    return {"bbox": [4, 4, 20, 20], "bbox_mode": 1, "category_id": 0, "iscrowd": 0} | more


@pytest.fixture
def records(drawn):
    """Of three drawn images in detectron2's standard format, a box in each."""
    images = sorted(coco2017(drawn)[0].images.iterdir())[:3]
    return [
        {"file_name": str(path), "height": 64, "width": 64, "image_id": n, "annotations": [thing()]}
        for n, path in enumerate(images)
    ]


def test_data_sets_by_name_without_any_file(catalogue, records, quick):
    for name in ("mine_train", "mine_val"):
        catalogue(name, records, thing_classes=["box"])
    train, val = opened(quick(data="mine_train, mine_val", parts=("obj_det",)))
    assert (train.name, len(val.records)) == ("mine_train", 3)
    written = json.loads(Path(val.metadata.json_file).read_text())
    assert [c["name"] for c in written["categories"]] == ["box"]
    assert len(written["annotations"]) == 3
    assert train.mark == val.mark
    records[0]["annotations"].append(thing(category_id=0, bbox=[0, 0, 9, 9]))
    assert opened(quick(data="mine_train,mine_val", parts=("obj_det",)))[0].mark != train.mark


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("coco_2017_trian,coco_2017_val", "catalogue has no data set coco_2017_trian; did you mean 'coco_2017_train'"),
        ("coco_2017_train", "'coco_2017_train' is neither synthetic nor coco nor two names .* with a comma"),
        ("a,b,c", "neither synthetic nor coco nor two names"),
    ],
)
def test_names_that_are_none(quick, data, said):
    with pytest.raises(OptionError, match=said):
        opened(quick(data=data))


def test_a_builtin_data_set_that_is_not_there(quick):
    with pytest.raises(DataError, match=r"data set coco_2017_train .* cannot be read .*DETECTRON2_DATASETS") as caught:
        opened(quick(data="coco_2017_train,coco_2017_val", parts=("obj_det",)))
    assert "\n" not in str(caught.value)


def test_what_data_by_name_lack(catalogue, records, quick):
    def refused(said, parts, train="one_train", val="one_val"):
        with pytest.raises(DataError, match=said):
            opened(quick(data=f"{train},{val}", parts=parts))

    catalogue("one_train", records, thing_classes=["box"])
    catalogue("one_val", records, thing_classes=["crate"])
    catalogue("empty", [], thing_classes=["box"])
    masked = [r | {"sem_seg_file_name": r["file_name"]} for r in records]
    catalogue("masked", masked, thing_classes=["box"], stuff_classes=["things", "sky"])
    catalogue("labelled", masked, thing_classes=["box"], stuff_classes=["things", "sky"], ignore_label=255)
    refused("one_train and one_val differ in thing_classes: box, crate; .* the same classes", ("obj_det",))
    refused("data set empty has no images; give one that has", ("obj_det",), "empty", "one_train")
    refused(r"data set one_train has no semantic masks; .* \(--parts obj_det\)", ("sem_seg",))
    refused("the metadata of data set masked have no ignore_label", ("sem_seg",), "masked", "masked")
    refused("the metadata of data set labelled have no panoptic_json", ("pan_seg",), "labelled", "labelled")
    assert len(opened(quick(data="labelled,labelled", parts=("sem_seg",)))[0].records) == 3


def test_a_function_that_fails(catalogue, quick):
    catalogue("broken", lambda: {}["no"], thing_classes=["box"])
    with pytest.raises(DataError, match=r"data set broken of detectron2's catalogue cannot be read \(KeyError: 'no'\)"):
        opened(quick(data="broken,broken", parts=("obj_det",)))


def test_modules_are_imported_first(quick, records, tmp_path, monkeypatch):
    from detectron2.data import DatasetCatalog, MetadataCatalog

    (tmp_path / "my_sets.py").write_text(
        "from detectron2.data import DatasetCatalog, MetadataCatalog\n"
        f"DatasetCatalog.register('by_module', lambda: {records!r})\n"
        "MetadataCatalog.get('by_module').thing_classes = ['box']\n"
    )
    (tmp_path / "my_broken_sets.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    options = {"data": "by_module,by_module", "parts": ("obj_det",)}
    try:
        assert len(opened(quick(modules=("my_sets",), **options))[0].records) == 3
    finally:
        sys.modules.pop("my_sets", None)
        DatasetCatalog.remove("by_module")
        MetadataCatalog.remove("by_module")
    for module, said in (("my_lost_sets", "No module named"), ("my_broken_sets", "ZeroDivisionError")):
        with pytest.raises(OptionError, match=rf"modules names {module}, which cannot be imported \(.*{said}.*PATH"):
            opened(quick(modules=(module,), **options))


# --- Classes ----------------------------------------------------------------------


def test_classes_of_coco_need_no_files(quick, tmp_path, monkeypatch):
    from aiop_task_detectron2.data import coco_class_counts

    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    assert coco_class_counts(quick(data="coco")) == (80, 54)
    assert coco_class_counts(quick(data="coco", data_dir=tmp_path)) == (80, 54)


def test_classes_in_cocos_layout_are_those_of_its_files(of_coco, coco):
    from aiop_task_detectron2.data import class_counts, coco_class_counts

    counts = coco_class_counts(of_coco())
    assert counts == class_counts(opened(of_coco())[0], of_coco())
    assert counts[0] < 80
    panoptic(coco, "val").unlink()
    assert coco_class_counts(of_coco()) == (counts[0], 54)


def test_data_without_classes_that_the_parts_need(catalogue, records, quick):
    from aiop_task_detectron2.data import class_counts

    catalogue("boxes_only", records, thing_classes=["box", "crate"])
    part = opened(quick(data="boxes_only,boxes_only", parts=("obj_det",)))[0]
    assert class_counts(part, quick(parts=("obj_det",))) == (2, 1)
    with pytest.raises(DataError, match=r"data set boxes_only has no stuff classes; choose parts that do without"):
        class_counts(part, quick(parts=("pan_seg",)))


@pytest.mark.data
def test_real_images_of_coco(shared_data, quick):
    train, val = opened(quick(data="coco", data_dir=shared_data / "coco" / "tinycoco", parts=("inst_seg",)))
    assert len(train.records) == 32
    assert train.metadata.thing_classes[0] == "person"
    assert len(train.metadata.thing_classes) == 80
    assert val.records
