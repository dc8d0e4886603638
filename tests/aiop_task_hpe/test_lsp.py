"""LSPET's layout, and every way in which a folder can be wrong."""

import numpy as np
import pytest
import scipy.io

from aiop_core.errors import DataError
from aiop_task_hpe.lsp import PATCH_MARGIN, read_lsp_extended


def read(folder, **how):
    return read_lsp_extended(folder, **{"size": 96, "train_share": 0.8, **how})


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
    image, joints, annotated = train.patch(0)
    assert image.shape == (96, 96, 3)
    inner = joints[annotated]
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
    patch, joints, _ = train.patch(0)
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
    with pytest.raises(DataError, match=r"there is no .*joints.mat; give as data_dir .*Sam Johnson.*Zenodo"):
        read(tmp_path / "nowhere")


def test_no_images(lspet_folder):
    for file in (lspet_folder / "images").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"no image im00001.jpg … in .*images; put the images"):
        read(lspet_folder)


def test_too_few_images_to_split(lspet_folder):
    with pytest.raises(DataError, match=r"5 usable images in .* cannot be split 0.05 to 0.95"):
        read(lspet_folder, train_share=0.05)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((3, 14, 2000), r"shape \(3, 14, 2000\), which is LSP, not LSP Extended"), ((5, 3, 10), r"expected \(14, 3, n\)")],
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


def test_a_truncated_image_is_named_and_the_others_stay_readable(lspet_folder):
    train, _ = read(lspet_folder)
    whole = train.files[1].read_bytes()
    train.files[1].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"image .*im00002.jpg cannot be read .*replace it by the original"):
        train.patch(1)
    train.patch(0)
    assert train.files[1].is_file()


@pytest.mark.data
def test_real_lspet(shared_data):
    train, val = read(shared_data / "pose")
    assert (train.files[0].name, train.files[-1].name) == ("im00001.jpg", "im00800.jpg")
    assert (val.files[0].name, val.files[-1].name) == ("im00801.jpg", "im01000.jpg")
    image, _, annotated = train.patch(0)
    assert image.shape == (96, 96, 3)
    assert annotated.sum() == 13  # its first joint is not annotated


@pytest.mark.data
def test_real_lsp_is_refused(shared_data):
    with pytest.raises(DataError, match=r"which is LSP, not LSP Extended"):
        read(shared_data / "pose" / "lsp")
