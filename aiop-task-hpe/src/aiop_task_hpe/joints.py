"""The joints of each data set, how they mirror, and which of them measure a body."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Skeleton:
    """The joints of a data set in its order; left and right are the person's own.

    Attributes:
        names: unique; those with a counterpart begin with ``l_`` and ``r_``.
        limbs: pairs of joints to draw a line between.
        head: the joints whose distance is the length of the head.
    """

    names: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    head: tuple[int, int]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def flip(self) -> tuple[int, ...]:
        """Joint ``i`` of a mirrored image is joint ``flip[i]`` of the original."""
        other = {"l_": "r_", "r_": "l_"}
        return tuple(self.names.index(other.get(name[:2], name[:2]) + name[2:]) for name in self.names)


LSP = Skeleton(
    names=(
        "r_ankle",
        "r_knee",
        "r_hip",
        "l_hip",
        "l_knee",
        "l_ankle",
        "r_wrist",
        "r_elbow",
        "r_shoulder",
        "l_shoulder",
        "l_elbow",
        "l_wrist",
        "neck",
        "head_top",
    ),
    limbs=(
        *((0, 1), (1, 2), (3, 4), (4, 5), (2, 3)),
        *((6, 7), (7, 8), (9, 10), (10, 11), (8, 12), (12, 9), (12, 13)),
        *((8, 2), (9, 3)),
    ),
    head=(12, 13),
)
"""Of Leeds Sports Pose, its extended sets and the synthetic figures: the order of ``joints.mat``."""

MPII = Skeleton(
    names=(
        "r_ankle",
        "r_knee",
        "r_hip",
        "l_hip",
        "l_knee",
        "l_ankle",
        "pelvis",
        "thorax",
        "neck",
        "head_top",
        "r_wrist",
        "r_elbow",
        "r_shoulder",
        "l_shoulder",
        "l_elbow",
        "l_wrist",
    ),
    limbs=(
        *((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5)),
        *((10, 11), (11, 12), (12, 7), (7, 13), (13, 14), (14, 15)),
        *((6, 7), (7, 8), (8, 9)),
    ),
    head=(8, 9),
)
"""Of MPII Human Pose: the ids of its points, in all of its formats. ``neck`` is its *upper neck*."""


def skeleton_of(data: str) -> Skeleton:
    """That of a data set by the name that the option ``data`` has for it."""
    return MPII if data == "mpii" else LSP
