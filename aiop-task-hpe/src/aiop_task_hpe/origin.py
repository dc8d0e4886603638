"""The data that latents and heads were made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiop_core.sharing.origin import Origin

if TYPE_CHECKING:
    from aiop_task_hpe.task import PoseTask


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
