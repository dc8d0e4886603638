"""Batch-norm statistics recomputed on images."""

import numpy as np
import pytest
import torch
from PIL import Image

from aiop_core.errors import DataError, OptionError
from aiop_family_ofa import calibration
from aiop_family_ofa.calibration import batches
from aiop_family_ofa.family import create
from aiop_family_ofa.options import MobileNetV3Options


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "sub").mkdir()
    for i in range(5):
        pixels = rng.integers(0, 256, (40 + 9 * i, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / ("sub" if i % 2 else "") / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_images_are_cropped_and_normalised(tmp_path):
    """A picture with a red left and right edge that the centre crop removes."""
    pixels = np.full((80, 160, 3), 128, dtype=np.uint8)
    pixels[:, :20] = pixels[:, -20:] = (255, 0, 0)
    Image.fromarray(pixels).convert("L").save(tmp_path / "grey.png")
    Image.fromarray(pixels).save(tmp_path / "red.png")
    (batch,) = batches(tmp_path, 10, (48, 48))
    assert batch.shape == (2, 3, 48, 48)
    grey = [(128 / 255 - mean) / std for mean, std in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]
    assert torch.allclose(batch[1], torch.tensor(grey)[:, None, None].expand(3, 48, 48), atol=1e-5)


def test_batches_and_count(folder, monkeypatch):
    monkeypatch.setattr(calibration, "BATCH", 2)
    assert [len(b) for b in batches(folder, 99, (32, 32))] == [2, 2, 1]
    assert [len(b) for b in batches(folder, 3, (32, 32))] == [2, 1]


@torch.no_grad()
def test_a_calibrated_subnetwork_normalises_its_images(oracle, folder):
    weights = str(oracle("ofa_mbv3").path)
    options = MobileNetV3Options(weights=weights, calibration_images=folder)
    plain, calibrated = create(MobileNetV3Options(weights=weights)), create(options)
    architecture = plain.sample(1, seed=0)[0]
    (images,) = batches(folder, 5, (224, 224))

    def first_norm(family):
        network = family.network(architecture).eval()
        x = network.body.stem["0"].bn(network.body.stem["0"].conv(images))
        bn = network.body.stem["0"].bn
        return (x - bn.bias[:, None, None]) / bn.weight[:, None, None]

    assert first_norm(plain).std((0, 2, 3)).sub(1).abs().max() > 0.1
    assert first_norm(calibrated).std((0, 2, 3)).sub(1).abs().max() < 0.01
    assert first_norm(calibrated).mean((0, 2, 3)).abs().max() < 0.01


def test_bad_folders(tmp_path):
    with pytest.raises(
        DataError, match=r"calibration folder '.*gone' does not exist; give a folder with files ending in"
    ):
        batches(tmp_path / "gone", 3, (32, 32))
    with pytest.raises(DataError, match="has no images; give a folder"):
        batches(tmp_path, 3, (32, 32))


def test_a_truncated_image(folder):
    path = folder / "0.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"calibration image '.*0.png' cannot be read: .*; repair or remove it"):
        list(batches(folder, 3, (32, 32)))


def test_calibration_needs_weights(tmp_path):
    with pytest.raises(
        OptionError, match=r"calibration_images is '.*' but weights is 'none'.*set weights to 'official'"
    ):
        MobileNetV3Options(calibration_images=tmp_path)
