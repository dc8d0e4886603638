"""PCK by other lengths than the torso's, and all measures at once."""

import numpy as np
import pytest
import torch

from aiop_task_hpe.joints import LSP, MPII
from aiop_task_hpe.measures import measure
from aiop_task_hpe.pck import Pck, box_length, pck, torso_length
from aiop_task_hpe.pckh import pckh

ALL = torch.ones(1, 14, dtype=torch.bool)


def spread(width: float, height: float):
    """All joints at the origin but two that span a box."""
    joints = torch.zeros(1, 14, 2)
    joints[0, 3], joints[0, 7] = torch.tensor([width, 0.0]), torch.tensor([0.0, height])
    return joints


def test_the_box_is_as_long_as_its_longer_side():
    assert box_length(spread(30, 70), ALL).tolist() == [70]
    assert box_length(spread(90, 70), ALL).tolist() == [90]


def test_the_box_holds_annotated_joints_only():
    annotated = ALL.clone()
    annotated[0, 7] = False
    assert box_length(spread(30, 70), annotated).tolist() == [30]
    annotated[0, 3] = False
    assert box_length(spread(30, 70), torch.cat([annotated, ~ALL])[:1]).isnan().all()
    assert box_length(spread(30, 70), ~ALL).isnan().all()


def test_distances_up_to_a_share_of_any_length_count():
    joints = spread(100, 50)
    found = joints.clone()
    found[0, 0, 0], found[0, 1, 0] = 10.0, 10.1
    length = box_length(joints, ALL)
    result = pck(found, joints, ALL, length=length, threshold=0.1)
    assert result.mean == pytest.approx(13 / 14)
    assert (result.by_joint["r_ankle"], result.by_joint["r_knee"]) == (1, 0)
    assert pck(found, joints, ALL, length=torch.tensor([torch.nan])) == Pck(0.0, {}, 0)


def test_the_torso_is_found_by_the_names():
    joints = torch.zeros(1, 16, 2)
    joints[0, MPII.names.index("l_shoulder")] = torch.tensor([3.0, 4.0])
    annotated = torch.ones(1, 16, dtype=torch.bool)
    assert torso_length(joints, annotated, names=MPII.names).tolist() == [5]
    assert pck(joints, joints, annotated, names=MPII.names).by_joint == dict.fromkeys(MPII.names, 1.0)


def test_parts_are_the_mean_of_both_sides():
    result = Pck(0.5, {"r_knee": 0.5, "l_knee": 1.0, "neck": 0.25}, 3)
    assert result.by_part == {"knee": 0.75, "neck": 0.25}


def test_all_measures_have_their_names():
    generator = torch.Generator().manual_seed(0)
    joints = 100 * torch.rand(20, 16, 2, generator=generator)
    found = joints + 5 * torch.randn(20, 16, 2, generator=generator)
    annotated = torch.rand(20, 16, generator=generator) < 0.8
    heads = torch.full((20,), 9.0)
    result = measure(found, joints, annotated, names=MPII.names, heads=heads)
    assert list(result) == ["PCK@0.2 torso", "PCK@0.1 box", "PCP@0.5 strict", "PCKh@0.5"]
    assert result["PCK@0.2 torso"] == pck(found, joints, annotated, names=MPII.names)
    assert all(0 < value.mean < 1 for value in result.values())
    assert result["PCKh@0.5"] == pckh(found, joints, annotated, length=heads, names=MPII.names)
    for unknown in (None, torch.full((20,), torch.nan)):
        assert "PCKh@0.5" not in measure(found, joints, annotated, names=MPII.names, heads=unknown)


def test_by_the_torso_as_the_published_evaluation():
    """Restated: W. Yang, eval_pose, PDJ with right hip and left shoulder as the scale."""
    rng = np.random.default_rng(1)
    joints = rng.uniform(0, 200, (50, 14, 2))
    found = joints + rng.normal(0, 15, joints.shape)
    scale = np.linalg.norm(joints[:, 2] - joints[:, 9], axis=-1)
    expected = (np.linalg.norm(found - joints, axis=-1) / scale[:, None] <= 0.2).mean(axis=0)
    result = pck(torch.from_numpy(found), torch.from_numpy(joints), ALL.expand(50, 14))
    assert list(result.by_joint) == list(LSP.names)
    assert list(result.by_joint.values()) == pytest.approx(expected.tolist())
    assert result.mean == pytest.approx(expected.mean())
