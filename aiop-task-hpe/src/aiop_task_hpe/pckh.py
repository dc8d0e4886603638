"""PCKh: PCK with a length of the head, as MPII is measured, and the files that hold its truth.

A joint counts as found within half of 0.6 times the diagonal of the annotated head box.
Pelvis and thorax stay out of the mean.

Source: Andriluka et al., "2D Human Pose Estimation: New Benchmark and State of the Art
Analysis", CVPR 2014; bias, joints left out and layout of the file as in ``evaluate`` of
HRNet's ``lib/dataset/mpii.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aiop_core.errors import DataError
from aiop_task_hpe.matlab import DAMAGE
from aiop_task_hpe.pck import Pck, pck

THRESHOLD = 0.5

HEAD_SHARE = 0.6
"""Of the head box's diagonal: the published evaluation's ``SC_BIAS``."""

LEFT_OUT = ("pelvis", "thorax")
"""They have a share of their own and none in the mean."""

WHERE = (
    "it is published with HRNet's MPII annotations (gt_valid.mat) and in anewell/pose-hg-train's evaluation "
    "(detections_our_format.mat)"
)

_NAMES = {
    "rank": "r_ankle",
    "rkne": "r_knee",
    "rhip": "r_hip",
    "lhip": "l_hip",
    "lkne": "l_knee",
    "lank": "l_ankle",
    "pelv": "pelvis",
    "thor": "thorax",
    "neck": "neck",
    "head": "head_top",
    "rwri": "r_wrist",
    "relb": "r_elbow",
    "rsho": "r_shoulder",
    "lsho": "l_shoulder",
    "lelb": "l_elbow",
    "lwri": "l_wrist",
}


def head_length(boxes: Float[Tensor, "n 2 2"]) -> Float[Tensor, " n"]:
    """0.6 times the diagonal of each head's box, given by two corners; NaN where it has none."""
    length = HEAD_SHARE * (boxes[:, 1] - boxes[:, 0]).norm(dim=-1)
    return torch.where(length > 0, length, torch.nan)


def pckh(
    found: Float[Tensor, "n joints 2"],
    joints: Float[Tensor, "n joints 2"],
    annotated: Bool[Tensor, "n joints"],
    *,
    length: Float[Tensor, " n"],
    threshold: float = THRESHOLD,
    names: Sequence[str],
) -> Pck:
    """PCKh with the lengths of ``head_length``; all in the same pixels."""
    return pck(found, joints, annotated, length=length, threshold=threshold, names=names, left_out=LEFT_OUT)


@dataclass(frozen=True)
class HeadedTruth:
    """What the published evaluation compares with: n persons in the pixels of their images.

    Attributes:
        names: of the joints.
        joints: x and y counted from 0.
        annotated: which of them count.
        head_boxes: two corners, counted from 0.
    """

    names: tuple[str, ...]
    joints: Float[Tensor, "n joints 2"]
    annotated: Bool[Tensor, "n joints"]
    head_boxes: Float[Tensor, "n 2 2"]


def read_headed_truth(path: Path) -> HeadedTruth:
    """Read ``gt_valid.mat`` or ``detections_our_format.mat``.

    Raises:
        DataError: if the file is missing, unreadable, or of something else.
    """
    if not path.is_file():
        raise DataError(f"there is no {path}; put the ground truth of MPII's evaluation there: {WHERE}")
    try:
        read = scipy.io.loadmat(path)
        missing, joints, boxes = (
            np.asarray(read[key], dtype=np.float64) for key in ("jnt_missing", "pos_gt_src", "headboxes_src")
        )
        words = [str(np.squeeze(word)) for word in _flat(read["dataset_joints"])]
    except DAMAGE as error:
        raise DataError(
            f"{path} is not a MATLAB file with dataset_joints, jnt_missing, pos_gt_src and headboxes_src ({error}); "
            f"take the original: {WHERE}"
        ) from error
    n, count = joints.shape[-1], len(words)
    shapes = {"jnt_missing": missing.shape, "pos_gt_src": joints.shape, "headboxes_src": boxes.shape}
    expected = {"jnt_missing": (count, n), "pos_gt_src": (count, 2, n), "headboxes_src": (2, 2, n)}
    if wrong := [key for key, shape in shapes.items() if shape != expected[key]]:
        raise DataError(
            f"{path} has '{wrong[0]}' of the shape {shapes[wrong[0]]}, expected {expected[wrong[0]]}; "
            f"take the original: {WHERE}"
        )
    if unknown := sorted(set(words) - set(_NAMES)):
        raise DataError(f"{path} has a joint '{unknown[0]}', expected {', '.join(_NAMES)}; take the original: {WHERE}")
    return HeadedTruth(
        tuple(_NAMES[word] for word in words),
        torch.from_numpy(joints.transpose(2, 0, 1) - 1.0),
        torch.from_numpy(missing.T == 0),
        torch.from_numpy(boxes.transpose(2, 0, 1) - 1.0),
    )


def _flat(words: Any) -> list[Any]:
    """The cells of a MATLAB cell array, or the rows of a character matrix."""
    return list(np.asarray(words).ravel())
