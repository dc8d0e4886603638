"""PCP: the share of limbs of which both ends are found (strict), within half the limb's length.

Source: Ferrari, Marin-Jimenez and Zisserman, "Progressive Search Space Reduction for Human
Pose Estimation", CVPR 2008; the ten sticks as the LSP evaluations of Yang and Ramanan and of
W. Yang draw them, and strict as there: each end counts by itself, not the mean of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aiop_task_hpe.joints import LSP

THRESHOLD = 0.5

End = tuple[str, ...]
"""Joints; of several the end is their middle."""

LIMBS: Mapping[str, tuple[End, End]] = {
    "head": (("head_top",), ("neck",)),
    "torso": (("r_shoulder", "l_shoulder"), ("r_hip", "l_hip")),
    "r_upper_arm": (("r_shoulder",), ("r_elbow",)),
    "r_lower_arm": (("r_elbow",), ("r_wrist",)),
    "l_upper_arm": (("l_shoulder",), ("l_elbow",)),
    "l_lower_arm": (("l_elbow",), ("l_wrist",)),
    "r_upper_leg": (("r_hip",), ("r_knee",)),
    "r_lower_leg": (("r_knee",), ("r_ankle",)),
    "l_upper_leg": (("l_hip",), ("l_knee",)),
    "l_lower_leg": (("l_knee",), ("l_ankle",)),
}


@dataclass(frozen=True)
class Pcp:
    """Shares of limbs found, in [0, 1].

    Attributes:
        mean: over all annotated limbs of all persons; 0 if there is none.
        by_limb: for each limb by its name; absent where it is never annotated.
        persons: how many had a limb to find.
    """

    mean: float
    by_limb: dict[str, float]
    persons: int


def pcp(
    found: Float[Tensor, "n joints 2"],
    joints: Float[Tensor, "n joints 2"],
    annotated: Bool[Tensor, "n joints"],
    *,
    threshold: float = THRESHOLD,
    names: Sequence[str] = LSP.names,
) -> Pcp:
    """Measure ``found`` against ``joints``, whose ``names`` are given; all in the same pixels.

    A limb counts if all joints of both ends are annotated and it has a length.
    """
    right, counted = [], []
    for ends in LIMBS.values():
        chosen = [[names.index(name) for name in end] for end in ends]
        truth = [joints[:, end].mean(dim=1) for end in chosen]
        errors = [(found[:, end].mean(dim=1) - place).norm(dim=-1) for end, place in zip(chosen, truth, strict=True)]
        length = (truth[0] - truth[1]).norm(dim=-1)
        counted.append(annotated[:, chosen[0] + chosen[1]].all(dim=1) & (length > 0))
        right.append((torch.maximum(*errors) <= threshold * length) & counted[-1])
    hits, total = (torch.stack(of_limbs).sum(dim=1).tolist() for of_limbs in (right, counted))
    return Pcp(
        sum(hits) / max(sum(total), 1),
        {name: hit / n for name, hit, n in zip(LIMBS, hits, total, strict=True) if n},
        int(torch.stack(counted).any(dim=0).sum()),
    )
