"""PCK: the share of joints found within a fraction of a length of the person.

The length is named with the value. ``torso``: the torso diagonal, left shoulder to right hip,
as is usual on LSP (PCK@0.2); where one of the two is not annotated the other diagonal stands
in. ``box``: the longer side of the box around the annotated joints (PCK@0.1; Yang and Ramanan,
"Articulated Human Detection with Flexible Mixtures of Parts", PAMI 2013). A head's is in
:mod:`~aiop_task_hpe.pckh`. A person without the length has no scale and is left out. Only
annotated joints count.

The research code calls its value ``val_PCK`` too, but the library that computes it was
never published. The code it builds on (pytorch-pose-hg-3d) measures distances on the
heat map against half a tenth of the map's size, from maps averaged over the mirrored
image. We follow it in decoding (highest place, a quarter pixel towards the higher
neighbour) and in the mirrored average, and deviate in the normalisation: ours is a length
of the body, so that it does not change with the crop.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aiop_task_hpe.joints import LSP

THRESHOLD = 0.2
"""Of the torso."""

BOX_THRESHOLD = 0.1
"""Of the box."""


@dataclass(frozen=True)
class Pck:
    """Shares of joints found, in [0, 1].

    Attributes:
        mean: over all annotated joints of all persons, but those that the measure leaves out; 0 if there is none.
        by_joint: for each joint by its name; absent where it is never annotated.
        persons: how many had a scale.
    """

    mean: float
    by_joint: dict[str, float]
    persons: int

    @property
    def by_part(self) -> dict[str, float]:
        """Left and right as one, the mean of both, as published tables show them."""
        sides: dict[str, list[float]] = {}
        for name, share in self.by_joint.items():
            sides.setdefault(name.removeprefix("l_").removeprefix("r_"), []).append(share)
        return {name: sum(shares) / len(shares) for name, shares in sides.items()}


def torso_length(
    joints: Float[Tensor, "n joints 2"], annotated: Bool[Tensor, "n joints"], *, names: Sequence[str] = LSP.names
) -> Float[Tensor, " n"]:
    """Left shoulder to right hip, else right shoulder to left hip, else NaN; in pixels."""

    def diagonal(shoulder: str, hip: str) -> Tensor:
        ends = [names.index(shoulder), names.index(hip)]
        length = (joints[:, ends[0]] - joints[:, ends[1]]).norm(dim=-1)
        return torch.where(annotated[:, ends].all(dim=1) & (length > 0), length, torch.nan)

    first, second = diagonal("l_shoulder", "r_hip"), diagonal("r_shoulder", "l_hip")
    return torch.where(first.isnan(), second, first)


def box_length(joints: Float[Tensor, "n joints 2"], annotated: Bool[Tensor, "n joints"]) -> Float[Tensor, " n"]:
    """The longer side of the box around the annotated joints, NaN where it has none; in pixels."""
    absent = ~annotated[..., None]
    sides = joints.masked_fill(absent, -torch.inf).amax(dim=1) - joints.masked_fill(absent, torch.inf).amin(dim=1)
    length = sides.amax(dim=1)
    return torch.where(length > 0, length, torch.nan)


def pck(
    found: Float[Tensor, "n joints 2"],
    joints: Float[Tensor, "n joints 2"],
    annotated: Bool[Tensor, "n joints"],
    *,
    length: Float[Tensor, " n"] | None = None,
    threshold: float = THRESHOLD,
    names: Sequence[str] = LSP.names,
    left_out: Collection[str] = (),
) -> Pck:
    """Measure ``found`` against ``joints``; all in the same pixels.

    Args:
        found: by the model.
        joints: the truth.
        annotated: which of them count.
        length: of each person, NaN for one who is left out; the torso's by default.
        threshold: a joint counts as found up to this share of the length.
        names: of the joints.
        left_out: joints that have a share of their own and none in the mean.
    """
    length = torso_length(joints, annotated, names=names) if length is None else length
    counted = annotated & ~length.isnan()[:, None]
    right = ((found - joints).norm(dim=-1) <= threshold * length[:, None]) & counted
    hits, total = right.sum(dim=0).tolist(), counted.sum(dim=0).tolist()
    meant = [i for i, name in enumerate(names) if name not in left_out]
    return Pck(
        sum(hits[i] for i in meant) / max(sum(total[i] for i in meant), 1),
        {name: hit / n for name, hit, n in zip(names, hits, total, strict=True) if n},
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
