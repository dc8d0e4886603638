"""A task's data, ready before anything is trained."""

from __future__ import annotations

from typing import Any

from aiop_core.contracts import Task
from aiop_core.pipeline.view import View


def prepare(task: Task, view: View) -> None:
    """Make what the task makes of its data, with progress, and then sure that everything is there.

    Raises:
        DataError: if something is missing or damaged, or there is no room.
    """
    preparing: Any = task
    if hasattr(preparing, "prepare_data"):
        preparing.prepare_data(progress=view.stage("data"))
    task.prepare()
