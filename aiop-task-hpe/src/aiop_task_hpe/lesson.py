"""What shared weights of a family can be trained on: the task's images and its loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aiop_core.contracts import Level
from aiop_core.sharing.chance import CHANGES, ORDER, generator_of
from aiop_task_hpe.augment import Change, Strength, cut, normalised
from aiop_task_hpe.heads import build_head
from aiop_task_hpe.patches import Patches
from aiop_task_hpe.training import loss_of

if TYPE_CHECKING:
    from aiop_task_hpe.task import PoseTask


class PoseLesson:
    """Heat maps of the training images; see :class:`~aiop_core.capabilities.Lesson`."""

    def __init__(self, task: PoseTask) -> None:
        self._task = task

    def head(self, levels: Sequence[Level]) -> nn.Module:
        """The task's head over ``levels``, its weights drawn.

        Raises:
            OptionError: if it cannot be built on them.
        """
        return build_head(levels, len(self._task.skeleton), self._task.settings)

    def batches(self, *, seed: int, device: str) -> Iterator[tuple[Tensor, Patches]]:
        """Augmented images without end, each once in an epoch; the joints stay on the CPU."""
        settings, store = self._task.settings, self._task.stores[0]
        strength = Strength(settings.flip, settings.scale, settings.rotation, settings.color)
        batch = min(settings.batch, len(store))
        steps = count()
        for epoch in count():
            order = torch.randperm(len(store), generator=generator_of(seed, ORDER, epoch)).numpy()
            for patches in store.batches(order[: len(order) // batch * batch], batch):
                change = Change.draw(len(patches), strength, generator_of(seed, CHANGES, next(steps)))
                changed = cut(patches, change, settings.input_size)
                yield normalised(changed.images, device), changed

    def loss(self, outputs: Tensor, target: Patches) -> Tensor:
        """Mean squared error of the maps, over annotated joints."""
        return loss_of(outputs, target, self._task.settings)

    def distance(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Mean squared error between two bodies' maps."""
        return nn.functional.mse_loss(outputs, teacher)
