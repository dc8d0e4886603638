"""Training with detectron2's losses, optimiser and schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from aiop_core.contracts import Progress
from aiop_core.errors import LabelError
from aiop_task_detectron2.loading import Record, batches, seeded

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from aiop_task_detectron2.checkpoints import Checkpoint

LEARNING = 3
"""The stream of chance that sampling of anchors and proposals draws from, beside those of ``aiop_core.sharing``."""


class Training:
    """A detector on its way, one step at a time.

    Attributes:
        step: how many are done.
        last: how many there are.
        optimiser: detectron2's choice for the config.
        scheduler: of the learning rate.
    """

    def __init__(self, detector: nn.Module, cfg: CfgNode) -> None:
        from detectron2.solver import build_lr_scheduler, build_optimizer

        self._detector, self._cfg = detector, cfg
        self.last: int = cfg.SOLVER.MAX_ITER
        self.optimiser = build_optimizer(cfg, detector)
        self.scheduler = build_lr_scheduler(cfg, self.optimiser)
        self.step = 0

    def state(self) -> dict[str, Any]:
        """All that a training goes on from."""
        return {
            "detector": self._bare.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "step": self.step,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._bare.load_state_dict(state["detector"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.step = state["step"]

    @property
    def _bare(self) -> nn.Module:
        """The detector without what joins it to those of other processes."""
        joined = isinstance(self._detector, nn.parallel.DistributedDataParallel)
        return self._detector.get_submodule("module") if joined else self._detector

    def learn(self, batch: Sequence[Record], seed: int) -> float:
        """One step; gives the loss.

        Raises:
            LabelError: if the loss is not finite, or the GPU has too little memory.
        """
        from detectron2.utils.events import EventStorage

        size, lr = self._cfg.SOLVER.IMS_PER_BATCH, self._cfg.SOLVER.BASE_LR
        try:
            with seeded(seed, LEARNING, self.step), EventStorage(self.step):
                loss = torch.stack(list(self._detector(batch).values())).sum()
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise LabelError(
                        f"the loss became {value} in step {self.step + 1} of {self.last}; lower lr, now {lr:g}"
                    )
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()
        except torch.cuda.OutOfMemoryError as error:
            raise LabelError(
                f"the GPU has too little memory for {size} images a step; give a smaller batch (--batch, of a head "
                "--head.batch, of shared labels --shared.batch), and a learning rate that is smaller in proportion"
            ) from error
        self.scheduler.step()
        self.step += 1
        return value


def fit(
    detector: nn.Module,
    records: Sequence[Record],
    cfg: CfgNode,
    *,
    seed: int,
    device: str,
    gpus: int,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train all parameters that take gradients, in place; deterministic for a seed on the CPU.

    The detector is in evaluation mode afterwards.

    Raises:
        DataError: if an image cannot be read, or a checkpoint cannot be read or written.
        LabelError: if the loss is not finite, or a GPU has too little memory.
        OptionError: if there are fewer GPUs than asked for, or a step's images cannot be shared out.
    """
    if gpus > 1:
        from aiop_task_detectron2.several_gpus import fit_on_several

        fit_on_several(detector, records, cfg, seed=seed, gpus=gpus, progress=progress, checkpoint=checkpoint)
    else:
        detector.to(device).to(memory_format=torch.channels_last).train()  # faster on the CPU
        run_steps(detector, records, cfg, seed=seed, progress=progress, checkpoint=checkpoint)
        measure_norms(detector, records, cfg, seed=seed)
    detector.eval()


def run_steps(
    detector: nn.Module,
    records: Sequence[Record],
    cfg: CfgNode,
    *,
    seed: int,
    progress: Progress,
    rank: int = 0,
    ranks: int = 1,
    checkpoint: Checkpoint | None = None,
) -> None:
    """All steps of a training, or one process's share of them, from where a checkpoint says.

    Raises:
        DataError: if an image cannot be read, or a checkpoint cannot be read or written.
        LabelError: if the loss is not finite, or the GPU has too little memory.
    """
    training = Training(detector, cfg)
    if checkpoint:
        checkpoint.resume(training)
    for batch in batches(records, cfg, seed, training.step, training.last, rank=rank, ranks=ranks):
        loss = training.learn(batch, seed)
        if rank == 0:
            if checkpoint:
                checkpoint.keep(training)
            progress(training.step, training.last, f"loss {loss:.4g}")


def measure_norms(detector: nn.Module, records: Sequence[Record], cfg: CfgNode, *, seed: int) -> None:
    """Batch-norm statistics of the final weights, if ``TEST.PRECISE_BN`` asks for them."""
    from detectron2.utils.events import EventStorage
    from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats

    if cfg.TEST.PRECISE_BN.ENABLED and get_bn_modules(detector):
        count, first = cfg.TEST.PRECISE_BN.NUM_ITER, cfg.SOLVER.MAX_ITER
        with seeded(seed, LEARNING, first), EventStorage(first):
            update_bn_stats(detector, batches(records, cfg, seed, first, first + count), count)
