"""Augmentation: joints follow the image, mirroring is its own inverse, chance comes from the generator."""

import math

import numpy as np
import pytest
import torch

from aiop_task_hpe.augment import Change, Strength, cut, heat_maps, mirrored, normalised
from aiop_task_hpe.joints import LSP, MPII
from aiop_task_hpe.patches import Patches


def dots(where, extent=96):
    """A black patch with a bright blob at each joint, blob ``i`` alone in patch ``i``."""
    y, x = torch.meshgrid(torch.arange(extent), torch.arange(extent), indexing="ij")
    images = torch.stack([255 * torch.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * 1.5**2)) for a, b in where])
    joints = torch.as_tensor(where, dtype=torch.float32)
    return Patches(
        images[:, None].expand(-1, 3, -1, -1).to(torch.uint8),
        joints[None].repeat(len(where), 1, 1),
        torch.ones(len(where), len(where), dtype=torch.bool),
        torch.full((len(where),), 10.0),
        LSP,
    )


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    return dots(rng.uniform(30, 66, (14, 2)).tolist())


def centre(image):
    """(x, y) of an image's centre of mass."""
    mass = image[0].float()
    mass = torch.where(mass > 20, mass, 0)
    steps = torch.arange(mass.shape[-1], dtype=torch.float32)
    return torch.stack([(mass.sum(0) * steps).sum(), (mass.sum(1) * steps).sum()]) / mass.sum()


@pytest.mark.parametrize("angle", [0.0, 25.0, -40.0])
@pytest.mark.parametrize("scale", [0.8, 1.0, 1.3])
@pytest.mark.parametrize("flip", [False, True])
def test_joints_follow_the_image(blobs, angle, scale, flip):
    change = Change(
        torch.full((14,), flip),
        torch.full((14,), scale),
        torch.full((14,), math.radians(angle)),
        torch.ones(14, 3, 1, 1),
    )
    out = cut(blobs, change, 64)
    seen = 0
    for i in range(14):
        joint = LSP.flip[i] if flip else i  # the blob of joint i is what a mirrored image calls joint LSP.flip[i]
        where = out.joints[i, joint]
        if ((where > 6) & (where < 57)).all():
            assert torch.allclose(centre(out.images[i]), where, atol=0.35)
            seen += 1
    assert seen >= 6


@pytest.mark.parametrize("skeleton", [LSP, MPII])
def test_mirroring_twice_is_the_identity(skeleton):
    generator = torch.Generator().manual_seed(0)
    n = len(skeleton)
    before = Patches(
        torch.randint(0, 256, (1, 3, 64, 64), generator=generator, dtype=torch.uint8),
        64 * torch.rand(1, n, 2, generator=generator),
        torch.rand(1, n, generator=generator) < 0.5,
        torch.full((1,), torch.nan),
        skeleton,
    )
    flip = torch.ones(1, dtype=torch.bool)
    once = mirrored(before, flip)
    twice = mirrored(once, flip)
    assert not torch.equal(once.images, before.images)
    left, right = skeleton.names.index("l_ankle"), skeleton.names.index("r_ankle")
    assert torch.equal(
        once.joints[0, right], before.joints[0, left] * torch.tensor([-1.0, 1]) + torch.tensor([63.0, 0])
    )
    assert once.annotated[0, right] == before.annotated[0, left]
    assert torch.equal(twice.images, before.images)
    assert torch.allclose(twice.joints, before.joints, atol=1e-5)
    assert torch.equal(twice.annotated, before.annotated)


def test_heads_are_scaled_with_the_image(blobs):
    change = Change(
        torch.zeros(14, dtype=torch.bool), torch.full((14,), 1.25), torch.zeros(14), torch.ones(14, 3, 1, 1)
    )
    assert torch.allclose(cut(blobs, change, 64).heads, torch.full((14,), 8.0))


def test_no_change_is_the_middle_of_the_patch(blobs):
    out = cut(blobs, Change.none(14), 64)
    assert torch.equal(out.images, blobs.images[:, :, 16:80, 16:80])
    assert torch.allclose(out.joints, blobs.joints - 16)


def test_joints_outside_the_cut_do_not_count(blobs):
    blobs.joints[0, 3] = torch.tensor([5.0, 50.0])
    out = cut(blobs, Change.none(14), 64)
    assert not out.annotated[0, 3]
    assert out.annotated[1:].all()


def test_chance_comes_from_the_generator():
    strength = Strength(flip=0.5, scale=0.25, rotation=30, color=0.2)
    draws = [Change.draw(200, strength, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0].angle, draws[1].angle)
    assert not torch.equal(draws[0].angle, draws[2].angle)
    assert 0.3 < draws[0].flip.float().mean() < 0.7
    assert draws[0].scale.min() == pytest.approx(0.75)
    assert draws[0].angle.abs().max() <= math.radians(60)
    assert 0.2 < (draws[0].angle == 0).float().mean() < 0.6
    assert (draws[0].gain - 1).abs().max() <= 0.2


def test_heat_maps_are_gaussians_around_the_joints():
    joint = torch.tensor([[[9.5, 21.5]]])  # the centre of pixel (2, 5) at stride 4
    maps = heat_maps(joint, size=32, stride=4, sigma=1.0)[0, 0]
    assert maps.shape == (8, 8)
    assert maps[5, 2] == 1
    assert maps[5, 3] == pytest.approx(math.exp(-0.5))
    assert maps[7, 2] == pytest.approx(math.exp(-2.0))


def test_networks_read_imagenet_statistics_with_channels_last():
    images = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    out = normalised(images, "cpu")
    assert out[0, :, 0, 0].tolist() == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    assert out.is_contiguous(memory_format=torch.channels_last)
