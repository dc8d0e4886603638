"""The hooks of aiop-task-hpe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiop_core.capabilities import SharingRegistration
from aiop_core.contracts import Registration, Task
from aiop_core.hookspecs import hookimpl
from aiop_task_hpe.options import PoseOptions
from aiop_task_hpe.sharing_options import HeadOptions, LatentsOptions, SharedOptions

if TYPE_CHECKING:
    from aiop_task_hpe.task import PoseTask


def _create(options: PoseOptions) -> PoseTask:
    from aiop_task_hpe.task import PoseTask

    return PoseTask(options)


@hookimpl
def aiop_register_tasks() -> Sequence[Registration[Task]]:
    """Two-dimensional human pose estimation."""
    return [
        SharingRegistration(
            "hpe2d",
            "heat-map human pose estimation, measured as PCK",
            _create,
            PoseOptions,
            latents_options=LatentsOptions,
            head_options=HeadOptions,
            shared_options=SharedOptions,
        )
    ]
