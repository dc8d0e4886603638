"""Where a long training stands, so that a killed one goes on: on real data one label takes a day."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from aiop_core.errors import DataError
from aiop_task_detectron2.training import Training

if TYPE_CHECKING:
    from detectron2.config import CfgNode


class Checkpoint:
    """A file that one training is kept in, found again by what decides the training's result.

    Args:
        folder: of all such files.
        detector: before the first step.
        cfg: of the training.
        seed: of the training.
        data: what the images and annotations are.
        every: steps between two of them; 0 keeps none.
    """

    def __init__(self, folder: Path, detector: nn.Module, cfg: CfgNode, seed: int, data: str, every: int) -> None:
        self._detector, self._every = detector, every
        if every:
            decides = hashlib.sha256(f"{cfg.dump()}{seed}{data}".encode())
            for name, tensor in detector.state_dict().items():
                decides.update(name.encode())
                decides.update(tensor.cpu().numpy().tobytes())
            self._file = folder / f"{decides.hexdigest()[:24]}.pth"

    def resume(self, training: Training) -> None:
        """Bring the detector and its training where they were, if they are kept."""
        if not self._every or not self._file.is_file():
            return
        try:
            state = torch.load(self._file, weights_only=True, map_location="cpu")
        except (OSError, RuntimeError, EOFError, ValueError) as error:
            raise DataError(f"{self._file} is damaged ({error}); delete it, and the training starts anew") from error
        self._detector.load_state_dict(state["detector"])
        training.optimiser.load_state_dict(state["optimiser"])
        training.scheduler.load_state_dict(state["scheduler"])
        training.step = state["step"]

    def keep(self, training: Training) -> None:
        """Write everything, if it is time to.

        Raises:
            DataError: if there is no room.
        """
        if not self._every or training.step % self._every:
            return
        part = self._file.with_suffix(".part")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(
                {
                    "detector": self._detector.state_dict(),
                    "optimiser": training.optimiser.state_dict(),
                    "scheduler": training.scheduler.state_dict(),
                    "step": training.step,
                },
                part,
            )
            part.replace(self._file)
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            raise DataError(
                f"{self._file} cannot be written ({error}); make room, or name another folder (--cache-dir)"
            ) from error

    def forget(self) -> None:
        """The training is over."""
        if self._every:
            self._file.unlink(missing_ok=True)
