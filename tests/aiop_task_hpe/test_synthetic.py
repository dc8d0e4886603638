"""Figures: the same for the same seed, quick, with every limb where the joints say."""

import time

import numpy as np
import pytest
import torch

from aiop_task_hpe.joints import LSP
from aiop_task_hpe.pck import pck
from aiop_task_hpe.synthetic import SyntheticFigures


def test_an_image_depends_on_seed_and_number_alone():
    figures = SyntheticFigures(20, 64, seed=3)
    patch = figures.patch(7)
    again = SyntheticFigures(1, 64, seed=3, first=7).patch(0)
    assert np.array_equal(patch.image, again.image)
    assert np.array_equal(patch.joints, again.joints)
    assert patch.annotated.all()
    assert not np.array_equal(patch.image, figures.patch(8).image)
    assert not np.array_equal(patch.image, SyntheticFigures(20, 64, seed=4).patch(7).image)


def test_bytes_of_the_asked_size_with_all_joints_inside():
    for size in (64, 96):
        for index in range(30):
            patch = SyntheticFigures(30, size, seed=0).patch(index)
            image, joints = patch.image, patch.joints
            assert image.shape == (size, size, 3)
            assert image.dtype == np.uint8
            assert joints.shape == (14, 2)
            assert (joints > -0.5).all()
            assert (joints < size - 0.5).all()


def test_size_changes_resolution_not_content():
    patch = SyntheticFigures(1, 64, seed=0).patch(0)
    small, joints = patch.image, patch.joints
    patch = SyntheticFigures(1, 128, seed=0).patch(0)
    large, joints_large = patch.image, patch.joints
    assert np.allclose((joints_large + 0.5) / 2 - 0.5, joints, atol=0.15)
    halved = large.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.corrcoef(halved.ravel(), small.ravel())[0, 1] > 0.9


def test_the_shirt_is_between_the_shoulders():
    """Red on average where the torso is, neither there nor blue elsewhere: image and joints belong together."""
    torso, knees, corner = [], [], []
    for index in range(60):
        patch = SyntheticFigures(60, 64, seed=1).patch(index)
        image, joints = patch.image, patch.joints
        for where, values in ((joints[[8, 9, 2, 3]].mean(axis=0), torso), (joints[1], knees), (np.zeros(2), corner)):
            x, y = np.round(where).astype(int)
            values.append(image[y, x].astype(float))
    red, blue = np.mean(torso, axis=0), np.mean(knees, axis=0)
    assert red[0] > red[2] + 30
    assert blue[2] > blue[0] + 30
    assert abs(np.mean(corner, axis=0)[0] - np.mean(corner, axis=0)[2]) < 30


def test_poses_vary_so_that_their_mean_is_a_poor_answer():
    joints = torch.from_numpy(np.stack([SyntheticFigures(200, 64, seed=0).patch(i).joints for i in range(200)]))
    annotated = torch.ones(200, 14, dtype=torch.bool)
    constant = pck(joints.mean(dim=0).expand_as(joints), joints, annotated).mean
    assert 0.03 < constant < 0.2


def test_both_sides_appear_on_both_sides():
    joints = np.stack([SyntheticFigures(200, 64, seed=0).patch(i).joints for i in range(200)])
    from_behind = (joints[:, LSP.names.index("r_hip"), 0] > joints[:, LSP.names.index("l_hip"), 0]).mean()
    assert 0.25 < from_behind < 0.55


def test_drawing_is_quick():
    figures = SyntheticFigures(60, 64, seed=0)
    start = time.process_time()
    for index in range(60):
        figures.patch(index)
    assert 60 / (time.process_time() - start) > 50  # about 1,000 on an idle core, without shape checks


@pytest.mark.parametrize("index", [0, 5])
def test_no_global_randomness(index):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    SyntheticFigures(10, 64, seed=0).patch(index)
    assert np.array_equal(before, np.random.get_state()[1])
