"""PCK by hand."""

import pytest
import torch

from aiop_task_hpe.augment import heat_maps
from aiop_task_hpe.pck import decode, pck, torso_length


def person(**where):
    """All joints at (50, 50) but the named numbers."""
    joints = torch.full((1, 14, 2), 50.0)
    for number, place in where.items():
        joints[0, int(number[1:])] = torch.tensor(place)
    return joints


STANDING = person(_9=(40.0, 20.0), _2=(60.0, 20.0))  # left shoulder to right hip: 20 pixels, so 4 are allowed
ALL = torch.ones(1, 14, dtype=torch.bool)


def test_distances_up_to_a_fifth_of_the_torso_count():
    found = STANDING.clone()
    found[0, 0, 0] += 4.0
    found[0, 1, 0] += 4.1
    found[0, 13] += torch.tensor([3.0, 3.0])  # 4.24
    result = pck(found, STANDING, ALL)
    assert result.mean == pytest.approx(12 / 14)
    assert result.by_joint["r_ankle"] == 1
    assert result.by_joint["r_knee"] == 0
    assert result.by_joint["head_top"] == 0
    assert result.persons == 1


def test_threshold_is_a_share_of_the_torso():
    found = STANDING + torch.tensor([9.0, 0.0])
    assert pck(found, STANDING, ALL, threshold=0.5).mean == 1
    assert pck(found, STANDING, ALL, threshold=0.4).mean == 0


def test_only_annotated_joints_count():
    annotated = ALL.clone()
    annotated[0, 0] = False
    found = STANDING.clone()
    found[0, :2] += 100
    result = pck(found, STANDING, annotated)
    assert result.mean == pytest.approx(12 / 13)
    assert "r_ankle" not in result.by_joint


def test_the_other_diagonal_stands_in_and_else_the_person_is_left_out():
    joints = torch.cat([person(_9=(40.0, 20.0), _2=(60.0, 20.0), _8=(10.0, 0.0), _3=(10.0, 30.0))] * 3)
    annotated = ALL.repeat(3, 1)
    annotated[1:, 9] = False
    annotated[2, 3] = False
    length = torso_length(joints, annotated)
    assert length[:2].tolist() == [20, 30]
    assert length[2].isnan()
    result = pck(joints, joints, annotated)
    assert result.persons == 2
    assert result.mean == 1


def test_nobody_to_measure():
    result = pck(STANDING, STANDING, ~ALL)
    assert (result.mean, result.persons, result.by_joint) == (0.0, 0, {})


def test_decoding_finds_what_the_heat_map_was_made_of():
    generator = torch.Generator().manual_seed(0)
    joints = 8 + 48 * torch.rand(50, 14, 2, generator=generator)
    for stride, sigma in ((4, 1.0), (2, 2.0)):
        found = decode(heat_maps(joints, size=64, stride=stride, sigma=sigma), stride=stride)
        assert (found - joints).abs().max() <= 0.25 * stride + 1e-3


def test_decoding_moves_a_quarter_pixel_towards_the_higher_neighbour():
    maps = torch.zeros(1, 1, 8, 8)
    maps[0, 0, 3, 5] = 1.0
    maps[0, 0, 3, 6] = 0.5
    maps[0, 0, 2, 5] = 0.5
    assert decode(maps, stride=1)[0, 0].tolist() == [5.25, 2.75]
    edge = torch.zeros(1, 1, 8, 8)
    edge[0, 0, 0, 0] = 1.0
    assert decode(edge, stride=4)[0, 0].tolist() == [1.5, 1.5]
