"""PCKh by hand and as HRNet's evaluation restated; reading the ground truth."""

import numpy as np
import pytest
import scipy.io
import torch

from aiop_core.errors import DataError
from aiop_task_hpe.joints import MPII
from aiop_task_hpe.pckh import head_length, pckh, read_headed_truth

WORDS = "rank rkne rhip lhip lkne lank pelv thor neck head rwri relb rsho lsho lelb lwri".split()
ALL = torch.ones(1, 16, dtype=torch.bool)


def contents(n=40):
    rng = np.random.default_rng(0)
    corner = rng.uniform(100, 300, (1, 2, n))
    return {
        "dataset_joints": np.array([WORDS], dtype=object),
        "jnt_missing": (rng.random((16, n)) < 0.2).astype(np.uint8),
        "pos_gt_src": rng.uniform(1, 600, (16, 2, n)),
        "headboxes_src": np.concatenate([corner, corner + rng.uniform(20, 60, (1, 2, n))]),
    }


def published(preds, gt):
    """Restated: HRNet, lib/dataset/mpii.py, evaluate(); ``preds`` (n, 16, 2) counted from 0."""
    error = np.linalg.norm(np.transpose(preds + 1.0, (1, 2, 0)) - gt["pos_gt_src"], axis=1)
    size = np.linalg.norm(gt["headboxes_src"][1] - gt["headboxes_src"][0], axis=0) * 0.6
    seen = 1 - gt["jnt_missing"]
    count = seen.sum(axis=1)
    share = ((error / size <= 0.5) * seen).sum(axis=1) / count
    kept = np.array([i not in (6, 7) for i in range(16)])
    return share, (share * count)[kept].sum() / count[kept].sum()


@pytest.fixture
def file(tmp_path):
    scipy.io.savemat(tmp_path / "gt_valid.mat", contents())
    return tmp_path / "gt_valid.mat"


def test_half_of_the_head_is_allowed_which_is_six_tenths_of_the_diagonal():
    boxes = torch.tensor([[[10.0, 10.0], [40.0, 50.0]]])  # a diagonal of 50
    length = head_length(boxes)
    assert length.tolist() == pytest.approx([30])
    joints = torch.zeros(1, 16, 2)
    found = joints.clone()
    found[0, 0, 0], found[0, 1, 0] = 15.0, 15.1
    result = pckh(found, joints, ALL, length=length, names=MPII.names)
    assert (result.by_joint["r_ankle"], result.by_joint["r_knee"]) == (1, 0)
    assert result.mean == pytest.approx(13 / 14)


def test_pelvis_and_thorax_stay_out_of_the_mean():
    joints = torch.zeros(1, 16, 2)
    found = joints.clone()
    found[0, 6:8] = 100.0
    result = pckh(found, joints, ALL, length=torch.tensor([30.0]), names=MPII.names)
    assert (result.mean, result.by_joint["pelvis"], result.by_joint["thorax"]) == (1, 0, 0)


def test_a_head_without_size_has_no_scale():
    assert head_length(torch.zeros(1, 2, 2)).isnan().all()


def test_as_the_published_evaluation(file):
    truth = read_headed_truth(file)
    gt = contents()
    preds = np.transpose(gt["pos_gt_src"], (2, 0, 1)) - 1 + np.random.default_rng(1).normal(0, 12, (40, 16, 2))
    by_joint, mean = published(preds, gt)
    length = head_length(truth.head_boxes)
    result = pckh(torch.from_numpy(preds), truth.joints, truth.annotated, length=length, names=truth.names)
    assert 0.1 < mean < 0.9
    assert truth.names == MPII.names
    assert [result.by_joint[name] for name in MPII.names] == pytest.approx(by_joint.tolist())
    assert result.mean == pytest.approx(mean)
    parts = result.by_part
    assert parts["shoulder"] == pytest.approx((by_joint[12] + by_joint[13]) / 2)  # "0.5 * (lsho + rsho)"


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(DataError, match=r"there is no .*gt_valid.mat; put the ground truth .* published with HRNet"):
        read_headed_truth(tmp_path / "gt_valid.mat")


def test_a_file_of_something_else_is_said(file):
    file.write_bytes(b"no matlab here" * 20)
    with pytest.raises(
        DataError, match=r"gt_valid.mat is not a MATLAB file with dataset_joints, .*; take the original"
    ):
        read_headed_truth(file)
    scipy.io.savemat(file, {"joints": np.zeros(3)})
    with pytest.raises(DataError, match="is not a MATLAB file with dataset_joints"):
        read_headed_truth(file)
    scipy.io.savemat(file, contents() | {"pos_gt_src": 3.0})
    with pytest.raises(DataError, match="has 'jnt_missing' of the shape"):
        read_headed_truth(file)
    scipy.io.savemat(file, contents())
    whole = file.read_bytes()
    for cut in (200, len(whole) // 2, len(whole) - 30):
        file.write_bytes(whole[:cut])
        with pytest.raises(DataError, match="is not a MATLAB file with"):
            read_headed_truth(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos_gt_src": np.zeros((16, 3, 40))}, r"has 'pos_gt_src' of the shape \(16, 3, 40\), expected \(16, 2, 40\)"),
        ({"headboxes_src": np.zeros((2, 2, 39))}, r"has 'headboxes_src' of the shape \(2, 2, 39\)"),
        ({"dataset_joints": np.array([["nose", *WORDS[1:]]], dtype=object)}, "has a joint 'nose', expected rank, rkne"),
    ],
)
def test_other_shapes_and_joints_are_said(file, change, message):
    scipy.io.savemat(file, contents() | change)
    with pytest.raises(DataError, match=message):
        read_headed_truth(file)
