"""The hooks of aiop-task-torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiop_core.contracts import Registration, Task
from aiop_core.hookspecs import hookimpl
from aiop_task_torchvision.options import TorchvisionOptions

if TYPE_CHECKING:
    from aiop_task_torchvision.task import TorchvisionTask


def _create(options: TorchvisionOptions) -> TorchvisionTask:
    from aiop_task_torchvision.task import TorchvisionTask

    return TorchvisionTask(options)


@hookimpl
def aiop_register_tasks() -> Sequence[Registration[Task]]:
    """Detection, instance and semantic segmentation on torchvision's heads."""
    return [
        Registration(
            "torchvision",
            "detection, instance and semantic segmentation with torchvision's Mask R-CNN and FCN heads",
            _create,
            TorchvisionOptions,
        )
    ]
