"""What latents and heads were made of, and whether that is what is wanted now."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from aiop_core.capabilities import Bodies
from aiop_core.errors import AiopError
from aiop_task_hpe.frozen_bodies import FrozenBodies

if TYPE_CHECKING:
    from aiop_task_hpe.task import PoseTask

Origin = dict[str, Any]
"""Plain JSON values by name."""

WEIGHTS_TOLERANCE = 1e-2
"""Two machines may differ by this share in what one body answers to the probe."""


def data_origin(task: PoseTask) -> Origin:
    """The data set, whichever folder it lies in: name, sizes, and a mark of who is on which side."""
    return {
        "data": task.settings.data,
        "input_size": task.settings.input_size,
        "train_images": len(task.stores[0]),
        "val_images": len(task.stores[1]),
        "annotations": "-".join(store.mark for store in task.stores),
    }


def split_origin(task: PoseTask) -> Origin:
    """What a head must have been trained on so that the task measures on nobody whom it knows.

    However many synthetic images there are to train on, none is a validation image of the same seed.
    """
    if task.settings.data == "synthetic":
        return {"data": task.settings.data, "data_seed": task.settings.data_seed}
    return data_origin(task)


def bodies_origin(bodies: Bodies) -> Origin:
    """The family, and what its body 0 answers to a fixed image, which tells other weights."""
    waves = torch.sin(torch.arange(64.0) / 3)
    image = (waves[:, None] * waves[None, :]).expand(1, 3, 64, 64)
    with torch.no_grad():
        answer = FrozenBodies(bodies, (), "cpu").body(0)(image)[-1].abs().mean()
    return {"family": bodies.family, "spec": bodies.spec(0), "answer": float(answer)}


def require(found: Mapping[str, Any], wanted: Origin, *, what: str, advice: str, error: type[AiopError]) -> None:
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
    for name, value in json.loads(json.dumps(wanted)).items():
        have = found.get(name)
        if name == "answer" and isinstance(have, float) and math.isclose(have, value, rel_tol=WEIGHTS_TOLERANCE):
            continue
        if have != value:
            subject = "other weights: answer" if name == "answer" else name
            raise error(f"{what}: made of {subject} {have}, but {value} is wanted; {advice}")
