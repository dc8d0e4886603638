"""PCK: the share of joints found within a fraction of the torso's length.

A joint counts as found if its distance to the annotation is at most ``threshold`` times
the torso diagonal, left shoulder to right hip, as is usual on LSP (PCK@0.2). Where one of
the two is not annotated the other diagonal stands in; a person with neither has no scale
and is left out. Only annotated joints count.

The research code calls its value ``val_PCK`` too, but the library that computes it was
never published. The code it builds on (pytorch-pose-hg-3d) measures distances on the
heat map against half a tenth of the map's size, from maps averaged over the mirrored
image. We follow it in decoding (highest place, a quarter pixel towards the higher
neighbour) and in the mirrored average, and deviate in the normalisation: ours is a length
of the body, so that it does not change with the crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aiop_task_hpe.joints import JOINTS, L_HIP, L_SHOULDER, R_HIP, R_SHOULDER

THRESHOLD = 0.2


@dataclass(frozen=True)
class Pck:
    """Shares of joints found, in [0, 1].

    Attributes:
        mean: over all annotated joints of all persons.
        by_joint: for each joint by its name; absent where it is never annotated.
        persons: how many had a scale.
    """

    mean: float
    by_joint: dict[str, float]
    persons: int


def torso_length(joints: Float[Tensor, "n 14 2"], annotated: Bool[Tensor, "n 14"]) -> Float[Tensor, " n"]:
    """Left shoulder to right hip, else right shoulder to left hip, else NaN; in pixels."""

    def diagonal(shoulder: int, hip: int) -> Tensor:
        length = (joints[:, shoulder] - joints[:, hip]).norm(dim=-1)
        known = annotated[:, shoulder] & annotated[:, hip] & (length > 0)
        return torch.where(known, length, torch.nan)

    first, second = diagonal(L_SHOULDER, R_HIP), diagonal(R_SHOULDER, L_HIP)
    return torch.where(first.isnan(), second, first)


def pck(
    found: Float[Tensor, "n 14 2"],
    joints: Float[Tensor, "n 14 2"],
    annotated: Bool[Tensor, "n 14"],
    *,
    threshold: float = THRESHOLD,
) -> Pck:
    """Measure ``found`` against ``joints``; all in the same pixels."""
    length = torso_length(joints, annotated)
    counted = annotated & ~length.isnan()[:, None]
    right = ((found - joints).norm(dim=-1) <= threshold * length[:, None]) & counted
    hits, total = right.sum(dim=0).tolist(), counted.sum(dim=0).tolist()
    return Pck(
        sum(hits) / max(sum(total), 1),
        {name: hit / n for name, hit, n in zip(JOINTS, hits, total, strict=True) if n},
        int((~length.isnan()).sum()),
    )


def decode(maps: Float[Tensor, "n joints h w"], *, stride: int) -> Float[Tensor, "n joints 2"]:
    """Where each map is highest, as (x, y) in input pixels, a quarter pixel towards the higher neighbour."""
    height, width = maps.shape[-2:]
    flat = maps.flatten(2)
    best = flat.argmax(dim=-1)
    x, y = best % width, best // width

    def slope(place: Tensor, size: int, step: int) -> Tensor:
        """Which neighbour along one axis is higher: -1, 0 or 1; 0 on the border."""
        inner = (place > 0) & (place < size - 1)
        after = flat.gather(2, (best + step * inner)[..., None])[..., 0]
        before = flat.gather(2, (best - step * inner)[..., None])[..., 0]
        return torch.sign(after - before)

    shift = 0.25 * torch.stack([slope(x, width, 1), slope(y, height, width)], dim=-1)
    return (torch.stack([x, y], dim=-1) + shift) * stride + (stride - 1) / 2
