"""The hooks of aiop-task-hpe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiop_core.contracts import Registration, Task
from aiop_core.hookspecs import hookimpl
from aiop_task_hpe.options import PoseOptions

if TYPE_CHECKING:
    from aiop_task_hpe.task import PoseTask


def _create(options: PoseOptions) -> PoseTask:
    from aiop_task_hpe.task import PoseTask

    return PoseTask(options)


@hookimpl
def aiop_register_tasks() -> Sequence[Registration[Task]]:
    """Two-dimensional human pose estimation."""
    return [
        Registration("hpe2d", "heat-map human pose estimation, measured as PCK@0.2 of the torso", _create, PoseOptions)
    ]
