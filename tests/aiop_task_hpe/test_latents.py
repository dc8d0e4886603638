"""Latents are what the paper's order gives, whole after a kill, and refused where they do not fit."""

import json
import resource
import shutil
import signal

import numpy as np
import pytest
import torch

from aiop_core.capabilities import Population
from aiop_core.contracts import Level, silent
from aiop_core.errors import ContractError, DataError, OptionError
from aiop_core.sharing.bodies import FrozenBodies
from aiop_task_hpe import latent_files
from aiop_task_hpe import latents as latents_module
from aiop_task_hpe.augment import Change, cut, normalised
from aiop_task_hpe.latent_files import level_names
from aiop_task_hpe.latents import Latents, calibration_images, collect_latents
from aiop_task_hpe.options import PoseOptions
from aiop_task_hpe.sharing_options import LatentsOptions
from aiop_task_hpe.task import PoseTask

LEVELS = (Level(4, 4), Level(6, 8), Level(8, 16))
SMALL = PoseOptions(train_images=13, val_images=5, input_size=32, filters=8)


class KilledError(Exception):
    """Stands for a kill."""


def stop_at(step):
    def progress(done, total, note=""):
        if done == step:
            raise KilledError

    return progress


@pytest.fixture
def task():
    return PoseTask(SMALL)


@pytest.fixture
def bodies(tiny_bodies):
    return tiny_bodies()


def collect(task, bodies, out, progress=silent, **options):
    out.mkdir(exist_ok=True)
    collect_latents(task, bodies, out, LatentsOptions(**options), device="cpu", progress=progress)
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("hold", [1, 3])
def test_they_equal_one_image_at_a_time_over_the_population(task, bodies, tmp_path, hold):
    out = collect(task, bodies, tmp_path / "out", per_stratum=2, dtype="float32", mirrored=True, hold=hold)
    assert max(n for number, n in bodies.made.items() if number) == 1
    population = Population(FrozenBodies(bodies, (), "cpu", calibration_images(task, "cpu")), 2)
    images = [cut(store.get([i]), Change.none(1), 32) for store in task.stores for i in range(len(store))]
    found = [np.concatenate([np.load(out / f"{split}_{name}.npy") for split in ("train", "val")]) for name in NAMES]
    for number, patches in enumerate(images):
        for view in (0, 1):
            image = normalised(patches.images, "cpu")
            image = image.flip(-1) if view else image
            with torch.no_grad():
                features = [body(image) for body in population.at(number // hold)]
            for level in range(3):
                stacked = torch.cat([each[level] for each in features])
                assert len(stacked) == 4
                deviation, mean = torch.std_mean(stacked, dim=0, unbiased=True)
                np.testing.assert_allclose(found[2 * level][number, view], mean, atol=1e-5)
                np.testing.assert_allclose(found[2 * level + 1][number, view], deviation, atol=1e-5)
        np.testing.assert_array_equal(found[6][number, 0, :, :2], patches.joints[0])


NAMES = [f"{level}_{kind}" for level in ("p2", "p3", "p4") for kind in ("mean", "deviation")] + ["joints"]


def test_mirrored_joints_change_sides(task, bodies, tmp_path):
    out = collect(task, bodies, tmp_path / "out", mirrored=True)
    joints = np.load(out / "val_joints.npy")
    flip = list(task.skeleton.flip)
    np.testing.assert_allclose(joints[:, 1, :, 0], 31 - joints[:, 0][:, flip, 0], atol=1e-4)


def test_the_head_says_which_levels_are_kept(tiny_bodies, tmp_path):
    for head, levels, kept in (("deconv", None, 1), ("skip", None, 3), ("deconv", "all", 3), ("skip", "coarsest", 1)):
        task = PoseTask(PoseOptions(train_images=2, val_images=1, input_size=32, filters=8, head=head))
        out = collect(task, tiny_bodies(), tmp_path / f"{head}-{levels}", levels=levels)
        assert len(Latents.open(out).levels) == kept
        assert Latents.open(out).levels[-1] == LEVELS[-1]
        assert np.load(out / "train_p4_mean.npy").dtype == np.float16


def test_levels_are_named_as_in_the_paper(pn_levels):
    assert level_names(pn_levels) == ["p2", "p3", "p4", "p4_2", "p5"]


@pytest.mark.parametrize("killed", [1, 7, 15])
def test_a_killed_collection_goes_on_to_the_same_files(task, bodies, tmp_path, monkeypatch, killed):
    whole = contents(collect(task, bodies, tmp_path / "whole", hold=2))
    monkeypatch.setattr(latents_module, "FLUSH_SECONDS", 0.0)
    with pytest.raises(KilledError):
        collect(task, bodies, tmp_path / "killed", progress=stop_at(killed), hold=2)
    done = json.loads((tmp_path / "killed" / "done.json").read_text())["done"]
    assert killed - 2 <= done < killed
    if killed == 7:
        with pytest.raises(DataError, match="are of 6 of 18 images; repeat the command"):
            Latents.open(tmp_path / "killed")
    seen = []
    collect(task, bodies, tmp_path / "killed", progress=lambda done, total, note="": seen.append(done), hold=2)
    assert seen[0] == done + 1
    assert contents(tmp_path / "killed") == whole


def test_what_is_finished_is_not_made_again(task, bodies, tmp_path):
    out = collect(task, bodies, tmp_path / "out")
    bodies.made.clear()
    collect(task, bodies, out)
    assert set(bodies.made) == {0}


def test_varying_widths_are_padded_with_zeros(tiny_bodies, tmp_path):
    varying = tiny_bodies(levels=lambda n: (Level(4 - n % 2, 4), Level(6, 8), Level(8 - n % 3, 16)))
    wide = PoseTask(PoseOptions(train_images=3, val_images=1, input_size=32, filters=8, head_widths=(5, 6, 9)))
    out = collect(wide, varying, tmp_path / "out")
    assert np.load(out / "train_p2_mean.npy").shape[2] == 5
    assert not np.load(out / "train_p4_mean.npy")[:, :, 8].any()
    assert np.load(out / "train_p4_deviation.npy")[:, :, 7].any()


def test_a_family_that_says_how_wide_it_gets_needs_no_option(task, tiny_bodies, tmp_path):
    widest = (Level(4, 4), Level(6, 8), Level(8, 16))
    varying = tiny_bodies(levels=lambda n: (Level(4 - n % 2, 4), Level(6, 8), Level(8, 16)), widest=widest)
    assert np.load(collect(task, varying, tmp_path / "out") / "train_p2_mean.npy").shape[2] == 4


def test_varying_widths_without_room_name_what_is_needed(task, tiny_bodies, tmp_path):
    varying = tiny_bodies(levels=lambda n: (Level(4, 4), Level(6 + n % 2, 8), Level(8, 16)))
    with pytest.raises(OptionError, match=r"body 1 of tiny has levels of 4, 7, 8 .* \(none\).* need 4,7,8"):
        collect(task, varying, tmp_path / "out")
    short = PoseTask(PoseOptions(train_images=3, val_images=1, input_size=32, filters=8, head_widths=(9, 9)))
    with pytest.raises(OptionError, match="are 2 numbers, but bodies of tiny have 3 levels; give 4,7,8"):
        collect(short, varying, tmp_path / "other")


def test_a_body_must_be_a_module(task, tiny_bodies, tmp_path):
    class Plain(tiny_bodies):
        def body(self, number):
            return type("Body", (), {"levels": LEVELS})()

    with pytest.raises(ContractError, match=r"body is a Body; a family must give a torch.nn.Module"):
        collect(task, Plain(), tmp_path / "out")


def test_one_body_has_no_deviation(task, tiny_bodies, tmp_path):
    with pytest.raises(OptionError, match="has no deviation; give per_stratum of at least 2"):
        collect(task, tiny_bodies(strata=1), tmp_path / "out", per_stratum=1)


def test_an_image_size_between_two_strides_is_refused_before_anything_is_written(tiny_bodies, tmp_path):
    task = PoseTask(PoseOptions(train_images=3, val_images=1, input_size=40, filters=8))
    with pytest.raises(OptionError, match=r"size 40 is not a multiple of 16, the stride of .*; give 32 or 48"):
        collect(task, tiny_bodies(), tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())


def test_levels_of_other_sizes_than_announced_are_refused(task, tiny_bodies, tmp_path):
    class Cropping(tiny_bodies):
        def body(self, number):
            body = super().body(number)
            body.blocks[-1].append(torch.nn.AvgPool2d(2))
            return body

    with pytest.raises(ContractError, match=r"has the shape \(8, 1, 1\), but .* announce \(8, 2, 2\); a family must"):
        collect(task, Cropping(), tmp_path / "out")


def test_features_that_are_not_finite_are_not_kept(task, bodies, tmp_path, tiny_bodies):
    class Huge(tiny_bodies):
        def body(self, number):
            body = super().body(number)
            torch.nn.init.constant_(body.blocks[-1][-2].bias, 1e6)
            return body

    with pytest.raises(DataError, match="train image 0 are not finite as float16; use dtype float32"):
        collect(task, Huge(), tmp_path / "out")
    collect(task, Huge(), tmp_path / "other", dtype="float32")


@pytest.mark.parametrize(
    ("options", "changes", "said"),
    [
        ({}, {"family": "other"}, "made of family other, but tiny is wanted"),
        ({}, {"offset": 100}, "made of other weights: answer"),
        ({"input_size": 64}, {}, "made of input_size 64, but 32 is wanted"),
        ({"train_images": 12}, {}, "made of train_images 12, but 13 is wanted"),
        ({"data_seed": 3}, {}, "made of annotations"),
    ],
)
def test_latents_of_something_else_are_refused(task, bodies, tiny_bodies, tmp_path, options, changes, said):
    other = PoseTask(PoseOptions(**{"train_images": 13, "val_images": 5, "input_size": 32, "filters": 8} | options))
    out = collect(other, tiny_bodies(**changes), tmp_path / "out")
    with pytest.raises(DataError, match=said):
        collect(task, bodies, out)
    with pytest.raises(DataError, match=said):
        Latents.open(out).require(task, bodies)


def test_latents_with_other_options_are_not_gone_on_with(task, bodies, tmp_path):
    out = collect(task, bodies, tmp_path / "out")
    with pytest.raises(DataError, match=r"made of dtype float16, but float32 is wanted; give another folder"):
        collect(task, bodies, out, dtype="float32")


def test_a_skip_head_needs_all_levels(task, bodies, tmp_path):
    out = collect(task, bodies, tmp_path / "out", levels="coarsest")
    with pytest.raises(DataError, match="have 1 of the 3 levels that head 'skip' needs; collect latents with levels"):
        Latents.open(out).require(task, bodies)


def test_damaged_files_are_said(task, bodies, tmp_path):
    out = collect(task, bodies, tmp_path / "out")
    array = out / "train_p4_mean.npy"
    whole = array.read_bytes()
    array.write_bytes(whole[:-10])
    with pytest.raises(DataError, match=r"train_p4_mean.npy is missing or damaged .* collect the latents anew"):
        Latents.open(out)
    array.unlink()
    with pytest.raises(DataError, match=r"train_p4_mean.npy is missing or damaged"):
        Latents.open(out)
    np.save(array, np.zeros(3))
    with pytest.raises(DataError, match=r"has shape \(3,\) and float64, latents.json says"):
        Latents.open(out)
    (out / "done.json").write_text("{")
    with pytest.raises(DataError, match=r"done.json cannot be read"):
        Latents.open(out)
    (out / "latents.json").write_text('{"format": 2, "spec": "0"}')
    with pytest.raises(DataError, match=r"latents.json says nothing of data, input_size, .*; give a folder that"):
        Latents.open(out)
    (out / "latents.json").write_text('{"format": 9}')
    with pytest.raises(DataError, match=r"latents.json has format 9, this version reads 2"):
        Latents.open(out)
    with pytest.raises(DataError, match=r"latents.json does not exist; give a folder that 'aiop latents' wrote"):
        Latents.open(tmp_path)


def test_a_full_disk_is_found_before_anything_is_collected(task, bodies, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(DataError, match=r"latents of .* GB cannot be written to .* make room, or collect fewer"):
            collect(task, bodies, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage._replace(free=10))
    with pytest.raises(DataError, match="1e-08 GB are free"):
        collect(task, bodies, tmp_path / "out")
    monkeypatch.undo()
    collect(task, bodies, tmp_path / "out")
    Latents.open(tmp_path / "out")


def test_what_an_interrupted_creation_left_does_not_count_as_used(task, bodies, tmp_path, monkeypatch):
    left = tmp_path / "out" / "train_p2_mean.npy"
    left.parent.mkdir()
    left.write_bytes(b"half")
    usage = shutil.disk_usage(tmp_path)
    asked = lambda folder: usage._replace(free=10 if left.exists() else usage.free)  # noqa: E731
    monkeypatch.setattr("shutil.disk_usage", asked)
    collect(task, bodies, tmp_path / "out")


def test_a_failed_creation_leaves_nothing_and_fewer_latents_can_follow(task, bodies, tmp_path, monkeypatch):
    real = latent_files.write_json

    def full(path, values):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(latent_files, "write_json", full)
    with pytest.raises(DataError, match="No space left on device"):
        collect(task, bodies, tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())
    monkeypatch.setattr(latent_files, "write_json", real)
    collect(task, bodies, tmp_path / "out", levels="coarsest")


def test_a_disk_that_fills_up_later_keeps_what_is_there(task, bodies, tmp_path, monkeypatch):
    monkeypatch.setattr(latents_module, "FLUSH_SECONDS", 0.0)
    real = latents_module.write_json

    def full(path, values):
        if values.get("done", 0) > 4:
            raise OSError(28, "No space left on device")
        real(path, values)

    monkeypatch.setattr(latents_module, "write_json", full)
    with pytest.raises(DataError, match=r"done.json cannot be written .* make room and repeat the command"):
        collect(task, bodies, tmp_path / "out", hold=1)
    assert json.loads((tmp_path / "out" / "done.json").read_text())["done"] == 4
