"""LSPET's layout, and every way in which a folder can be wrong."""

import numpy as np
import pytest
import scipy.io
from PIL import Image

from aiop_core.errors import DataError
from aiop_task_hpe.datasets import read_data
from aiop_task_hpe.lsp import read_extended, read_lsp
from aiop_task_hpe.options import PoseOptions, resolve
from aiop_task_hpe.persons import PATCH_MARGIN


def read(folder, **how):
    return read_extended("lsp_extended", folder, **{"size": 96, "train_share": 0.8, **how})


def test_only_existing_images_in_their_order(lspet_folder):
    (lspet_folder / "images" / "im00002.jpg").unlink()
    train, val = read(lspet_folder, train_share=0.75)
    assert [f.name for f in train.files] == ["im00001.jpg", "im00003.jpg", "im00004.jpg"]
    assert [f.name for f in val.files] == ["im00005.jpg"]


def test_folder_above_or_itself(lspet_folder):
    assert read(lspet_folder)[0].files == read(lspet_folder.parent)[0].files


def test_coordinates_count_from_zero_and_the_flag_says_annotated(lspet_folder):
    table = scipy.io.loadmat(lspet_folder / "joints.mat")["joints"]
    train, _ = read(lspet_folder)
    assert np.allclose(train.joints[2, 5], table[5, :2, 2] - 1, atol=1e-4)
    assert not train.annotated[2, 2]
    assert train.annotated[2].sum() == 13


def test_a_patch_shows_the_person_where_the_joints_are(lspet_folder):
    train, _ = read(lspet_folder)
    patch = train.patch(0)
    assert patch.image.shape == (96, 96, 3)
    inner = patch.joints[patch.annotated]
    low, high = inner.min(axis=0), inner.max(axis=0)
    assert np.allclose((low + high) / 2, 47.5, atol=1e-3)
    assert (high - low).max() == pytest.approx(96 / PATCH_MARGIN / 1.25, rel=1e-4)


def test_a_patch_and_its_joints_have_the_same_geometry(lspet_folder):
    """A white square drawn around a joint is found around that joint of the patch."""
    from PIL import Image, ImageDraw

    train, _ = read(lspet_folder)
    x, y = np.round(train.joints[0, 7])
    image = Image.new("RGB", (60, 80))
    ImageDraw.Draw(image).rectangle([x - 2, y - 2, x + 2, y + 2], fill=(255, 255, 255))
    image.save(train.files[0], quality=100, subsampling=0)
    cut = train.patch(0)
    patch, joints = cut.image, cut.joints
    mass = np.where(patch[..., 0] > 60, patch[..., 0], 0).astype(float)
    steps = np.arange(96)
    found = np.array([(mass.sum(0) * steps).sum(), (mass.sum(1) * steps).sum()]) / mass.sum()
    scale = (joints[3] - joints[4])[0] / (train.joints[0, 3] - train.joints[0, 4])[0]
    assert np.allclose(found, joints[7] + ([x, y] - train.joints[0, 7]) * scale, atol=0.3)


def test_persons_without_extent_are_left_out(lspet_folder):
    table = scipy.io.loadmat(lspet_folder / "joints.mat")["joints"]
    table[1:, 2, 1] = 0
    scipy.io.savemat(lspet_folder / "joints.mat", {"joints": table})
    train, val = read(lspet_folder)
    assert "im00002.jpg" not in [f.name for f in (*train.files, *val.files)]


def test_missing_folder_says_what_belongs_where_and_where_it_is_published(tmp_path):
    with pytest.raises(DataError, match=r"there is no .*joints.mat; give as data_dir .*Sam Johnson"):
        read(tmp_path / "nowhere")


def test_no_images(lspet_folder):
    for file in (lspet_folder / "images").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"no image im00001.jpg … in .*images; put the images"):
        read(lspet_folder)


def test_too_few_images_to_split(lspet_folder):
    with pytest.raises(DataError, match=r"5 usable persons in .* cannot be split 0.05 to 0.95"):
        read(lspet_folder, train_share=0.05)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((3, 14, 2000), r"shape \(3, 14, 2000\), which is LSP, not lsp_extended"), ((5, 3, 10), r"expected \(14, 3, n\)")],
)
def test_joints_of_another_data_set(lspet_folder, shape, message):
    scipy.io.savemat(lspet_folder / "joints.mat", {"joints": np.zeros(shape)})
    with pytest.raises(DataError, match=message):
        read(lspet_folder)


def test_joints_that_are_no_matlab_file(lspet_folder):
    (lspet_folder / "joints.mat").write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match=r"joints.mat is not a MATLAB file with 'joints'"):
        read(lspet_folder)
    scipy.io.savemat(lspet_folder / "joints.mat", {"points": np.zeros(3)})
    with pytest.raises(DataError, match=r"not a MATLAB file with 'joints'"):
        read(lspet_folder)


def test_joints_that_are_cut_off(lspet_folder):
    path = lspet_folder / "joints.mat"
    scipy.io.savemat(path, {"joints": np.random.default_rng(0).random((14, 3, 10))}, do_compression=True)
    whole = path.read_bytes()
    for kept in (60, 140, len(whole) // 2):
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match=r"not a MATLAB file with 'joints'"):
            read(lspet_folder)
    path.write_bytes(whole[:200] + bytes(8) + whole[208:])
    with pytest.raises(DataError, match=r"not a MATLAB file with 'joints'"):
        read(lspet_folder)


def test_a_truncated_image_is_named_and_the_others_stay_readable(lspet_folder):
    train, _ = read(lspet_folder)
    whole = train.files[1].read_bytes()
    train.files[1].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"image .*im00002.jpg cannot be read .*replace it by the original"):
        train.patch(1)
    train.patch(0)
    assert train.files[1].is_file()


@pytest.fixture
def lsp_folder(tmp_path):
    """Four small images of LSP, two of each side of its split; person ``n`` has an occluded joint ``n % 14``."""
    folder = tmp_path / "data" / "lsp"
    (folder / "images").mkdir(parents=True)
    table = np.random.default_rng(2).uniform(5, 40, (3, 14, 2000))
    table[2] = np.arange(2000) % 14 == np.arange(14)[:, None]
    scipy.io.savemat(folder / "joints.mat", {"joints": table})
    for number in (1, 1000, 1001, 2000):
        Image.new("RGB", (50, 50)).save(folder / "images" / f"im{number:04d}.jpg")
    return folder


def test_lsp_counts_occluded_joints_and_splits_in_the_middle(lsp_folder):
    table = scipy.io.loadmat(lsp_folder / "joints.mat")["joints"]
    train, val = read_lsp(lsp_folder.parent, size=96)
    assert [f.name for f in (*train.files, *val.files)] == ["im0001.jpg", "im1000.jpg", "im1001.jpg", "im2000.jpg"]
    assert train.annotated.all()
    assert np.allclose(val.joints[1, 5], table[:2, 5, 1999] - 1)


def test_lsp_is_trained_with_the_extended_set(lsp_folder, lspet_folder):
    def sizes(extension):
        options = PoseOptions(data="lsp", data_dir=lsp_folder.parent, extension=extension)
        return [len(part) for part in read_data(resolve(options))]

    assert sizes("lsp_extended") == [7, 2]
    assert sizes("nothing") == [2, 2]
    with pytest.raises(DataError, match=r"there is no .*hr_lspet.joints.mat"):
        sizes("hr_lspet")


def test_lsp_needs_both_sides(lsp_folder):
    for number in (1001, 2000):
        (lsp_folder / "images" / f"im{number}.jpg").unlink()
    with pytest.raises(DataError, match=r"has 2 of LSP's training images .* and 0 of its test images .*sam.johnson.io"):
        read_lsp(lsp_folder, size=96)


@pytest.fixture
def hr_folder(tmp_path):
    """Three persons whose numbers have gaps; the table has one column for each image."""
    folder = tmp_path / "hr_lspet"
    folder.mkdir()
    table = np.random.default_rng(3).uniform(5, 40, (14, 3, 3))
    table[:, 2] = 1
    scipy.io.savemat(folder / "joints.mat", {"joints": table})
    for number in (2, 5, 9):
        Image.new("RGB", (50, 50)).save(folder / f"im{number:05d}.png")
    return folder


def test_the_columns_of_hr_lspet_follow_its_images(hr_folder):
    table = scipy.io.loadmat(hr_folder / "joints.mat")["joints"]
    train, val = read_extended("hr_lspet", hr_folder.parent, size=96, train_share=0.7)
    assert [f.name for f in train.files] == ["im00002.png", "im00005.png"]
    assert np.allclose(val.joints[0], table[:, :2, 2] - 1)


def test_hr_lspet_with_images_missing_cannot_be_told(hr_folder):
    (hr_folder / "im00005.png").unlink()
    with pytest.raises(DataError, match=r"has 3 persons, and 2 images up to im00009.png lie there; its columns follow"):
        read_extended("hr_lspet", hr_folder, size=96, train_share=0.7)


def test_more_images_than_persons(lspet_folder):
    table = scipy.io.loadmat(lspet_folder / "joints.mat")["joints"]
    scipy.io.savemat(lspet_folder / "joints.mat", {"joints": table[..., :3]})
    with pytest.raises(DataError, match=r"has 3 persons, and 5 images up to im00005.jpg lie there; take both from one"):
        read(lspet_folder)


def test_the_table_of_another_order_is_refused(lspet_folder):
    scipy.io.savemat(lspet_folder / "joints.mat", {"joints": np.zeros((14, 3, 9428))})
    with pytest.raises(DataError, match="has 9,428 persons, as HR-LSPET's table, whose order is another one; take the"):
        read(lspet_folder)


@pytest.mark.data
def test_real_lspet(shared_data):
    train, val = read(shared_data / "pose")
    assert (train.files[0].name, train.files[-1].name) == ("im00001.jpg", "im00800.jpg")
    assert (val.files[0].name, val.files[-1].name) == ("im00801.jpg", "im01000.jpg")
    patch = train.patch(0)
    assert patch.image.shape == (96, 96, 3)
    assert patch.annotated.sum() == 13  # its first joint is not annotated


@pytest.mark.data
def test_real_lsp_is_refused(shared_data):
    with pytest.raises(DataError, match=r"which is LSP, not lsp_extended"):
        read(shared_data / "pose" / "lsp")
