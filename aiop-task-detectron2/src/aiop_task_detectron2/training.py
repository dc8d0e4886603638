"""Training with detectron2's losses, optimiser and schedule."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from aiop_core.contracts import Progress
from aiop_core.errors import LabelError, OptionError
from aiop_task_detectron2.loading import Record, batches, seeded

if TYPE_CHECKING:
    from detectron2.config import CfgNode

LEARNING = 1
"""The stream of chance that sampling of anchors and proposals draws from; images have the seed's own."""


class Training:
    """A detector on its way, one step at a time.

    Attributes:
        step: how many are done.
        optimiser: detectron2's choice for the config.
        scheduler: of the learning rate.
    """

    def __init__(self, detector: nn.Module, cfg: CfgNode) -> None:
        from detectron2.solver import build_lr_scheduler, build_optimizer

        self._detector, self._cfg = detector, cfg
        self.optimiser = build_optimizer(cfg, detector)
        self.scheduler = build_lr_scheduler(cfg, self.optimiser)
        self.step = 0

    def learn(self, batch: Sequence[Record], seed: int) -> float:
        """One step; gives the loss.

        Raises:
            LabelError: if the loss is not finite, or the GPU has too little memory.
        """
        from detectron2.utils.events import EventStorage

        size, lr = self._cfg.SOLVER.IMS_PER_BATCH, self._cfg.SOLVER.BASE_LR
        try:
            with seeded(seed + LEARNING, self.step), EventStorage(self.step):
                loss = torch.stack(list(self._detector(batch).values())).sum()
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise LabelError(
                        f"the loss became {value} in step {self.step + 1} of {self._cfg.SOLVER.MAX_ITER}; lower lr, "
                        f"now {lr:g}"
                    )
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()
        except torch.cuda.OutOfMemoryError as error:
            raise LabelError(
                f"the GPU has too little memory for {size} images a step; give a smaller batch (--batch), and a "
                "learning rate that is smaller in proportion"
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
) -> None:
    """Train all parameters that take gradients, in place; deterministic for a seed on the CPU.

    Raises:
        LabelError: if the loss is not finite, or a GPU has too little memory.
        OptionError: if there are fewer GPUs than asked for, or a step's images cannot be shared out.
    """
    if gpus > 1:
        _fit_on_several(detector, records, cfg, seed=seed, gpus=gpus, progress=progress)
        return
    detector.to(device).train()
    _steps(detector, records, cfg, seed=seed, progress=progress)
    _measure_norms(detector, records, cfg, seed=seed)
    detector.eval()


def _steps(
    detector: nn.Module,
    records: Sequence[Record],
    cfg: CfgNode,
    *,
    seed: int,
    progress: Progress,
    rank: int = 0,
    ranks: int = 1,
) -> None:
    training, last = Training(detector, cfg), cfg.SOLVER.MAX_ITER
    for batch in batches(records, cfg, seed, 0, last, rank=rank, ranks=ranks):
        loss = training.learn(batch, seed)
        if rank == 0:
            progress(training.step, last, f"loss {loss:.4g}")


def _measure_norms(detector: nn.Module, records: Sequence[Record], cfg: CfgNode, *, seed: int) -> None:
    """Batch-norm statistics of the final weights, if ``TEST.PRECISE_BN`` asks for them."""
    from detectron2.utils.events import EventStorage
    from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats

    if cfg.TEST.PRECISE_BN.ENABLED and get_bn_modules(detector):
        count, first = cfg.TEST.PRECISE_BN.NUM_ITER, cfg.SOLVER.MAX_ITER
        with seeded(seed + LEARNING, first), EventStorage(first):
            update_bn_stats(detector, batches(records, cfg, seed, first, first + count), count)


def _fit_on_several(
    detector: nn.Module, records: Sequence[Record], cfg: CfgNode, *, seed: int, gpus: int, progress: Progress
) -> None:
    """Train in one process for each GPU, through detectron2's launcher, which must find weights in a file."""
    from detectron2.engine import launch

    have, size = torch.cuda.device_count(), cfg.SOLVER.IMS_PER_BATCH
    if have < gpus:
        raise OptionError(f"gpus is {gpus}, but torch sees {have}; give no more than there are")
    if size % gpus:
        raise OptionError(f"{gpus} GPUs cannot share {size} images a step; give a batch that is a multiple of {gpus}")
    with tempfile.TemporaryDirectory() as folder:
        trained = Path(folder) / "weights.pth"
        launch(_worker, gpus, dist_url="auto", args=(detector.cpu(), records, cfg, seed, gpus, progress, trained))
        detector.load_state_dict(torch.load(trained, weights_only=True))
    detector.eval()


def _worker(
    detector: nn.Module,
    records: Sequence[Record],
    cfg: CfgNode,
    seed: int,
    gpus: int,
    progress: Any,
    trained: Path,
) -> None:
    """What each process runs."""
    from detectron2.utils import comm
    from torch.nn.parallel import DistributedDataParallel

    from aiop_task_detectron2 import installed

    installed.require()
    rank = comm.get_rank()
    detector.to(f"cuda:{comm.get_local_rank()}").train()
    parallel = DistributedDataParallel(
        detector, device_ids=[comm.get_local_rank()], broadcast_buffers=False, find_unused_parameters=True
    )
    _steps(parallel, records, cfg, seed=seed, progress=progress, rank=rank, ranks=gpus)
    if rank == 0:
        _measure_norms(detector, records, cfg, seed=seed)
        torch.save(detector.cpu().state_dict(), trained)
