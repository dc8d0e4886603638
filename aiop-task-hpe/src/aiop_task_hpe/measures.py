"""All measures of found joints at once, each with its name: per joint or limb, and mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Bool, Float
from torch import Tensor

from aiop_task_hpe import pck as body
from aiop_task_hpe import pckh as head
from aiop_task_hpe import pcp as limbs
from aiop_task_hpe.joints import LSP
from aiop_task_hpe.pck import Pck
from aiop_task_hpe.pcp import Pcp

TORSO = f"PCK@{body.THRESHOLD:g} torso"
BOX = f"PCK@{body.BOX_THRESHOLD:g} box"
HEAD = f"PCKh@{head.THRESHOLD:g}"
LIMBS = f"PCP@{limbs.THRESHOLD:g} strict"


def named_shares(measures: Mapping[str, Pck | Pcp]) -> dict[str, float]:
    """Every share by its name: ``PCK@0.2 torso`` is a mean, ``PCK@0.2 torso/l_knee`` a part of it."""
    named: dict[str, float] = {}
    for name, found in measures.items():
        named[name] = found.mean
        parts = found.by_joint if isinstance(found, Pck) else found.by_limb
        named |= {f"{name}/{part}": share for part, share in parts.items()}
    return named


def measure(
    found: Float[Tensor, "n joints 2"],
    joints: Float[Tensor, "n joints 2"],
    annotated: Bool[Tensor, "n joints"],
    *,
    names: Sequence[str] = LSP.names,
    heads: Float[Tensor, " n"] | None = None,
) -> dict[str, Pck | Pcp]:
    """Every measure that the annotation allows, by name; all in the same pixels.

    Args:
        found: by the model.
        joints: the truth.
        annotated: which of them count.
        names: of the joints.
        heads: PCKh's length of each head, NaN where it is not known; without any there is no PCKh.
    """
    length = body.box_length(joints, annotated)
    measures: dict[str, Pck | Pcp] = {
        TORSO: body.pck(found, joints, annotated, names=names),
        BOX: body.pck(found, joints, annotated, length=length, threshold=body.BOX_THRESHOLD, names=names),
        LIMBS: limbs.pcp(found, joints, annotated, names=names),
    }
    if heads is not None and not heads.isnan().all():
        measures[HEAD] = head.pckh(found, joints, annotated, length=heads, names=names)
    return measures
