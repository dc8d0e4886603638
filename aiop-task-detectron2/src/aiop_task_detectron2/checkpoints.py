"""Where a long training stands, so that a killed one goes on: on real data one label takes a day."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from aiop_core.errors import DataError
from aiop_core.sharing.checkpoint_files import write_checkpoint
from aiop_task_detectron2.config import deciding
from aiop_task_detectron2.training import Training

if TYPE_CHECKING:
    from detectron2.config import CfgNode


@dataclass(frozen=True)
class Checkpoint:
    """The file of one training; there is one until that is measured.

    Attributes:
        path: named by what decides the training's result.
        every: steps between two writings.
    """

    path: Path
    every: int

    def resume(self, training: Training) -> None:
        """Bring the training where it was, if that is kept.

        Raises:
            DataError: if the file is damaged.
        """
        if not self.path.is_file():
            return
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            training.restore(state)
        except Exception as error:  # what a damaged file raises depends on where it is damaged
            reason = str(error).partition("\n")[0]
            raise DataError(f"{self.path} is damaged ({reason}); delete it to train from the beginning") from error

    def keep(self, training: Training) -> None:
        """Write it, every so many steps and after the last.

        Raises:
            DataError: if there is no room.
        """
        if training.step % self.every and training.step < training.last:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_checkpoint(self.path, training.state())
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written ({error}); make room and repeat the command, or name another folder "
                "(--cache-dir)"
            ) from error

    def forget(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)


def checkpoint_of(folder: Path, detector: nn.Module, cfg: CfgNode, seed: int, data: str) -> Checkpoint | None:
    """Of a training that begins; none if it is short.

    Args:
        folder: of all such files.
        detector: with its first weights, of which those that learn are known.
        cfg: of the training; ``SOLVER.CHECKPOINT_PERIOD`` are the steps between two writings.
        seed: of the training.
        data: says which images it learns from, and of what annotations.
    """
    every = cfg.SOLVER.CHECKPOINT_PERIOD
    if not 0 < every < cfg.SOLVER.MAX_ITER:
        return None
    digest = hashlib.sha256(f"{deciding(cfg)}{seed}{data}".encode())
    digest.update(repr([name for name, weight in detector.named_parameters() if weight.requires_grad]).encode())
    for name, tensor in detector.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return Checkpoint(folder / "trainings" / f"{digest.hexdigest()[:24]}.pt", every)
