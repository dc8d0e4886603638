"""MPII: three formats of one truth, their splits, and every way in which a folder can be wrong."""

import json

import h5py
import numpy as np
import pytest
import scipy.io

from aiop_core.errors import DataError
from aiop_task_hpe.joints import MPII
from aiop_task_hpe.mpii import read_mpii
from aiop_task_hpe.mpii_formats import read_annotations
from aiop_task_hpe.options import PoseOptions
from aiop_task_hpe.task import PoseTask


@pytest.fixture
def people(mpii_person):
    """Six persons in four images; person ``n`` lacks joint ``n``, the second image shows three."""
    rng = np.random.default_rng(0)
    images = ("0.jpg", "1.jpg", "1.jpg", "1.jpg", "2.jpg", "3.jpg")
    made = []
    for n, image in enumerate(images):
        joints = {i: (float(x), float(y)) for i, (x, y) in enumerate(rng.integers(20, 100, (16, 2))) if i != n}
        box = ((20.0 + n, 10.0), (50.0 + n, 50.0))  # a diagonal of 50
        joints[8], joints[9] = (50.0, 50.0), (50.0, 10.0)  # 0.8 diagonals apart, as published
        made.append(mpii_person(image, joints, (60.0 + n, 50.0), 0.3 + n / 100, box))
    return made


@pytest.fixture
def folder(mpii_writer, people):
    """All formats, with the last two persons for validation."""
    rng = np.random.default_rng(1)
    for name in sorted({p.image for p in people}):
        mpii_writer.image(name, rng.integers(0, 255, (110, 130, 3), dtype=np.uint8))
    for write, suffix in ((mpii_writer.json, "json"), (mpii_writer.h5, "h5")):
        write(f"train.{suffix}", people[:4])
        write(f"valid.{suffix}", people[4:])
    mpii_writer.mat(people)
    return mpii_writer.folder


def read(folder, annotations="any", train_share=0.5):
    return read_mpii(folder, size=96, annotations=annotations, train_share=train_share)


def test_the_formats_say_the_same(folder, people):
    found = {kind: sum(read(folder, kind)[1:], read(folder, kind)[0]) for kind in ("json", "h5", "mat")}
    for kind, all_of_them in found.items():
        assert len(all_of_them) == 6, kind
        assert [f.name for f in all_of_them.files] == [p.image for p in people]
        assert np.array_equal(all_of_them.annotated, ~np.eye(16, dtype=bool)[:6])
        assert all_of_them.joints[2, 7].tolist() == [v - 1 for v in people[2].joints[7]]
        assert all_of_them.joints[2, 2].tolist() == [0, 0]
        centres = [(p.centre[0] - 1, p.centre[1] - 1 + 15 * p.scale) for p in people]
        assert np.allclose(all_of_them.centres, centres)
        assert np.allclose(all_of_them.sides, [250 * p.scale for p in people])
        assert np.allclose(all_of_them.heads, 0.6 * 50), kind


def test_heads_are_given_in_pixels_of_the_patch(folder, people):
    patch = read(folder)[0].patch(0)
    assert patch.head == pytest.approx(0.6 * 50 / (250 * people[0].scale * 1.5 / 96))


def test_the_mat_is_split_between_images_and_has_no_test_persons(folder, mpii_writer, people):
    train, val = read(folder, "mat", train_share=0.5)  # the third person's image has a fourth
    assert (len(train), len(val)) == (4, 2)
    assert not set(train.files) & set(val.files)
    mpii_writer.mat(people, test_images=("2.jpg",))
    assert "2.jpg" not in {f.name for part in read(folder, "mat") for f in part.files}


def test_val_and_trainval_are_understood_and_nobody_is_on_both_sides(folder, mpii_writer, people):
    annot = folder / "annot"
    (annot / "valid.json").rename(annot / "val.json")
    (annot / "train.json").unlink()
    mpii_writer.json("trainval.json", people)
    train, val = read(folder.parent)
    assert (len(train), len(val)) == (4, 2)


def test_nobody_on_an_image_that_is_measured_is_trained_on(folder, mpii_writer, people):
    mpii_writer.json("train.json", people[:3])
    mpii_writer.json("valid.json", people[3:])  # whose first shares its image with two of the others
    train, val = read(folder)
    assert [file.name for file in train.files] == ["0.jpg"]
    assert len(val) == 3
    mpii_writer.json("train.json", people[1:])
    mpii_writer.json("valid.json", people)
    with pytest.raises(DataError, match=r"all images of train.json are in valid.json too; take both from one place"):
        read(folder)


def test_any_takes_what_is_there(folder):
    annot = folder / "annot"
    for name in ("train.json", "train.h5"):
        (annot / name).unlink()
    assert len(read(folder)[0]) == 4
    (folder / "mpii_human_pose_v1_u12_1.mat").unlink()
    with pytest.raises(DataError, match=r"no annotations of MPII in .*mpii; .*annot/train.json.*mpi-inf.mpg.de"):
        read(folder)
    with pytest.raises(DataError, match=r"there is no .*train.h5; put MPII's annotations there: .*Newell"):
        read(folder, "h5")


def test_published_head_boxes_win(folder):
    names = ["rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor", "neck", "head"]
    names += ["rwri", "relb", "rsho", "lsho", "lelb", "lwri"]

    def write(n):
        boxes = np.zeros((2, 2, n))
        boxes[1] = np.array([[30.0], [40.0]])
        truth = {"jnt_missing": np.zeros((16, n)), "pos_gt_src": np.ones((16, 2, n)), "headboxes_src": boxes}
        cells = np.array(names, dtype=object)[None]
        scipy.io.savemat(folder / "annot" / "gt_valid.mat", {**truth, "dataset_joints": cells})

    write(2)
    assert read(folder)[1].heads.tolist() == [30, 30]
    write(3)
    with pytest.raises(DataError, match=r"gt_valid.mat has 3 persons, valid.json has 2; take both from one place"):
        read(folder)


def test_a_missing_image_is_named(folder):
    (folder / "images" / "1.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of MPII's 2 annotated images are missing, the first .*1.jpg; put them"):
        read(folder)


def damage_json(folder):
    people = json.loads((folder / "annot" / "train.json").read_text())
    people[1]["joints"] = people[1]["joints"][:14]
    (folder / "annot" / "train.json").write_text(json.dumps(people))


def damage_h5(folder):
    with h5py.File(folder / "annot" / "train.h5", "a") as file:
        del file["part"]


def damage_mat(folder):
    scipy.io.savemat(folder / "mpii_human_pose_v1_u12_1.mat", {"joints": np.zeros((14, 3, 10))})


@pytest.mark.parametrize(("kind", "damage"), [("json", damage_json), ("h5", damage_h5), ("mat", damage_mat)])
def test_files_of_something_else(folder, kind, damage):
    damage(folder)
    with pytest.raises(
        DataError, match=rf"is not what MPII's {kind} annotations are .*; take the original: .*published"
    ):
        read(folder, kind)


@pytest.mark.parametrize("kind", ["json", "h5", "mat"])
def test_truncated_files(folder, kind):
    path = folder / ("mpii_human_pose_v1_u12_1.mat" if kind == "mat" else f"annot/train.{kind}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"is not what MPII's {kind} annotations are"):
        read(folder, kind)


def test_nobody_annotated(folder, mpii_writer):
    mpii_writer.json("train.json", [])
    with pytest.raises(DataError, match=r"train.json annotates nobody"):
        read(folder)


def test_from_folder_to_label(folder, tiny_backbone):
    options = PoseOptions(data="mpii", data_dir=folder.parent, input_size=64, epochs=1, batch=2, filters=8)
    task = PoseTask(options)
    task.prepare()
    model = task.model(tiny_backbone())
    task.train(model, seed=0, device="cpu", progress=lambda *_, **__: None)
    assert set(task.evaluate(model, device="cpu")) == {"val_PCK"}
    assert "PCKh@0.5" in task.metrics[0].description
    metrics, details = task.evaluate_in_detail(model, device="cpu")
    assert metrics == {"val_PCK": details["PCKh@0.5"]}
    assert {name.removeprefix("PCKh@0.5/") for name in details if name.startswith("PCKh@0.5/")} <= set(MPII.names)


@pytest.mark.data
def test_real_h5(shared_data):
    found = read_annotations("h5", shared_data / "pose" / "mpii_h5_annotations" / "valid.h5")
    assert (len(found), len(set(found.images))) == (2958, 2729)
    assert (~found.annotated).sum() == 3088
    assert np.isfinite(found.heads).all()


@pytest.mark.data
def test_real_json_agrees_with_the_h5_on_squares_and_heads(shared_data):
    pose = shared_data / "pose"
    whole = read_annotations("h5", pose / "mpii_h5_annotations" / "valid.h5")
    some = read_annotations("json", pose / "mpii_msra" / "test_mpii.json")
    rows = [whole.images.index(name) for name in some.images]
    assert len(rows) == 5
    assert np.allclose(some.centres, whole.centres[rows], atol=1e-4)
    assert np.allclose(some.sides, whole.sides[rows], atol=1e-2)
    assert np.allclose(some.heads, whole.heads[rows], rtol=1e-5)
    assert np.array_equal(some.annotated, whole.annotated[rows])
    apart = np.abs(some.joints - whole.joints[rows])[some.annotated]
    assert apart.max() <= 1  # the h5 has whole pixels


@pytest.mark.data
def test_real_images_show_persons(shared_data, tmp_path):
    """The published persons are cut out so that nearly all of their joints are inside."""
    source = shared_data / "pose" / "mpii_msra"
    (tmp_path / "annot").mkdir()
    (tmp_path / "images").symlink_to(source)
    people = json.loads((source / "test_mpii.json").read_text())
    for name, part in (("train", people[:3]), ("valid", people[3:])):
        (tmp_path / "annot" / f"{name}.json").write_text(json.dumps(part))
    train, val = read(tmp_path)
    assert (len(train), len(val)) == (3, 2)
    for part in (train, val):
        for i in range(len(part)):
            patch = part.patch(i)
            inside = ((patch.joints > 15) & (patch.joints < 81)).all(axis=1)[patch.annotated]  # the network's cut
            assert inside.mean() > 0.9
            assert patch.image.std() > 20
