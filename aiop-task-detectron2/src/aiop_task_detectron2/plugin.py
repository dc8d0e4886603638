"""The hooks of aiop-task-detectron2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiop_core.capabilities import SharingRegistration
from aiop_core.contracts import NoOptions, Registration, Task
from aiop_core.hookspecs import hookimpl
from aiop_task_detectron2.options import Detectron2Options
from aiop_task_detectron2.sharing_options import HeadOptions, SharedOptions

if TYPE_CHECKING:
    from aiop_core.capabilities import Requirement
    from aiop_task_detectron2.task import Detectron2Task


def _create(options: Detectron2Options) -> Detectron2Task:
    from aiop_task_detectron2 import installed

    installed.require()
    from aiop_task_detectron2.task import Detectron2Task

    return Detectron2Task(options)


def _installed(_: NoOptions) -> Requirement:
    from aiop_task_detectron2.installed import condition

    return condition


@hookimpl
def aiop_register_tasks() -> Sequence[Registration[Task]]:
    """Detection and segmentation on detectron2."""
    return [
        SharingRegistration(
            "detectron2",
            "detection, instance, semantic and panoptic segmentation on detectron2",
            _create,
            Detectron2Options,
            head_options=HeadOptions,
            shared_options=SharedOptions,
        )
    ]


@hookimpl
def aiop_register_requirements() -> Sequence[Registration[Requirement]]:
    """Detectron2 itself, which no package index has."""
    return [Registration("detectron2-library", "detectron2, and what its evaluators need", _installed)]
