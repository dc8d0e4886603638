"""What latents and heads were made of, and whether that is what is wanted now."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch

from aiop_core.capabilities import Bodies
from aiop_core.errors import AiopError
from aiop_core.sharing.bodies import FrozenBodies

Origin = dict[str, Any]
"""Plain JSON values by name."""

ELSEWHERE = "give another folder, or empty this one"
"""Advice where a folder holds something else."""

WEIGHTS_TOLERANCE = 1e-2
"""Two machines may differ by this share in what one body answers to the probe."""


def plain(values: Mapping[str, Any]) -> Origin:
    """``values`` as they come back from a JSON file: lists for tuples."""
    found: Origin = json.loads(json.dumps(values))
    return found


def bodies_origin(bodies: Bodies) -> Origin:
    """The family, and what its body 0 answers to a fixed image, which tells other weights."""
    waves = torch.sin(torch.arange(64.0) / 3)
    image = (waves[:, None] * waves[None, :]).expand(1, 3, 64, 64)
    with torch.no_grad():
        answer = FrozenBodies(bodies, (), "cpu").body(0)(image)[-1].abs().mean()
    return {"family": bodies.family, "spec": bodies.spec(0), "answer": float(answer)}


def require(
    found: Mapping[str, Any], wanted: Mapping[str, Any], *, what: str, advice: str, error: type[AiopError]
) -> None:
    """Compare everything that is wanted with what was found.

    Args:
        found: read from a file.
        wanted: what it should say.
        what: opens the message, such as ``latents in runs/x``.
        advice: closes it.
        error: of what kind.

    Raises:
        AiopError: of that kind, naming the first difference.
    """
    for name, value in plain(wanted).items():
        have = found.get(name)
        if name == "answer" and isinstance(have, float) and math.isclose(have, value, rel_tol=WEIGHTS_TOLERANCE):
            continue
        if have != value:
            subject = "other weights: answer" if name == "answer" else name
            raise error(f"{what}: made of {subject} {have}, but {value} is wanted; {advice}")
