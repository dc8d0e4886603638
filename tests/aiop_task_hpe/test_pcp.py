"""PCP by hand."""

import numpy as np
import pytest
import torch

from aiop_task_hpe.joints import LSP
from aiop_task_hpe.pcp import LIMBS, Pcp, pcp

ALL = torch.ones(1, 14, dtype=torch.bool)
NUMBER = {name: i for i, name in enumerate(LSP.names)}


def standing():
    """Every limb has the length that its ends say: a lower leg 40, a lower arm 20, the head 10, the torso 60."""
    places = {"ankle": 180, "knee": 140, "hip": 100, "shoulder": 40, "elbow": 70, "wrist": 90, "neck": 30}
    joints = torch.zeros(1, 14, 2)
    for name, i in NUMBER.items():
        y = places.get(name[2:], places.get(name, 20))
        joints[0, i] = torch.tensor([{"r": -15.0, "l": 15.0}.get(name[0], 0.0) if name[1] == "_" else 0.0, y])
    return joints


def moved(**by: float):
    found = standing()
    for name, pixels in by.items():
        found[0, NUMBER[name], 0] += pixels
    return found


def test_all_limbs_are_found_where_all_joints_are():
    assert pcp(standing(), standing(), ALL) == Pcp(1.0, dict.fromkeys(LIMBS, 1.0), 1)


def test_half_of_the_length_is_allowed():
    assert pcp(moved(r_ankle=20.0), standing(), ALL).mean == 1
    result = pcp(moved(r_ankle=20.1), standing(), ALL)
    assert result.mean == pytest.approx(9 / 10)
    assert result.by_limb["r_lower_leg"] == 0
    assert pcp(moved(r_ankle=20.1), standing(), ALL, threshold=0.6).mean == 1


def test_each_end_counts_by_itself():
    result = pcp(moved(l_wrist=11.0), standing(), ALL)  # the mean of both ends' errors is 5.5 of 20
    assert result.by_limb["l_lower_arm"] == 0
    elbow = pcp(moved(l_elbow=12.0), standing(), ALL)  # 12 of 20 below, 12 of 30 above
    assert (elbow.by_limb["l_lower_arm"], elbow.by_limb["l_upper_arm"]) == (0, 1)


def test_the_torso_ends_between_the_shoulders_and_between_the_hips():
    assert pcp(moved(r_hip=60.0, l_hip=-60.0), standing(), ALL).by_limb["torso"] == 1
    assert pcp(moved(r_hip=31.0, l_hip=30.0), standing(), ALL).by_limb["torso"] == 0


def test_limbs_without_annotated_ends_or_length_do_not_count():
    annotated = ALL.clone()
    annotated[0, NUMBER["r_hip"]] = False
    joints = standing()
    joints[0, NUMBER["head_top"]] = joints[0, NUMBER["neck"]]
    result = pcp(joints, joints, annotated)
    assert sorted(set(LIMBS) - set(result.by_limb)) == ["head", "r_upper_leg", "torso"]
    assert result.mean == 1
    assert pcp(joints, joints, ~ALL) == Pcp(0.0, {}, 0)


def test_as_the_published_evaluation():
    """Restated: W. Yang, eval_pose, keypoints2sticks and strict PCP."""
    rng = np.random.default_rng(0)
    joints = rng.uniform(0, 100, (60, 14, 2))
    found = joints + rng.normal(0, 12, joints.shape)

    def sticks(k):
        ends = [(0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11), (12, 13)]
        torso = [k[:, 2:4].mean(axis=1), k[:, 8:10].mean(axis=1)]
        return np.stack([[k[:, a], k[:, b]] for a, b in ends] + [torso])  # (10, 2, n, 2)

    truth, other = sticks(joints), sticks(found)
    half = 0.5 * np.linalg.norm(truth[:, 0] - truth[:, 1], axis=-1)
    expected = (np.linalg.norm(other - truth, axis=-1) <= half[:, None]).all(axis=1).mean(axis=1)
    order = [f"{limb}_leg" for limb in ("r_lower", "r_upper", "l_upper", "l_lower")]
    order += [f"{limb}_arm" for limb in ("r_lower", "r_upper", "l_upper", "l_lower")] + ["head", "torso"]
    result = pcp(torch.from_numpy(found), torch.from_numpy(joints), ALL.expand(60, 14))
    assert [result.by_limb[name] for name in order] == pytest.approx(expected.tolist())
    assert result.mean == pytest.approx(expected.mean())
