"""Training of one detector on several GPUs, through detectron2's launcher."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.multiprocessing import get_context
from torch.multiprocessing.spawn import ProcessException

from aiop_core.contracts import Progress
from aiop_core.errors import AiopError, LabelError, OptionError
from aiop_task_detectron2.loading import Record
from aiop_task_detectron2.training import measure_norms, run_steps

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from aiop_task_detectron2.checkpoints import Checkpoint


class Listener:
    """Hears what the processes tell, in a thread of its own.

    Attributes:
        queue: they put the arguments of ``progress`` into it, or an error.
        errors: that came.
    """

    def __init__(self, progress: Progress) -> None:
        self.queue: Any = get_context("spawn").SimpleQueue()
        self.errors: list[AiopError] = []
        self._progress = progress
        self._thread = Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.queue.put(None)
        self._thread.join()

    def _listen(self) -> None:
        while (told := self.queue.get()) is not None:
            if isinstance(told, AiopError):
                self.errors.append(told)
            else:
                self._progress(*told)


def fit_on_several(
    detector: nn.Module,
    records: Sequence[Record],
    cfg: CfgNode,
    *,
    seed: int,
    gpus: int,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train in place, in one process for each GPU; these find the detector in their arguments and leave it in a file.

    Raises:
        DataError: if an image cannot be read, or a checkpoint cannot be read or written.
        LabelError: if the loss is not finite, a GPU has too little memory, or a process dies.
        OptionError: if there are fewer GPUs than asked for, or a step's images cannot be shared out.
    """
    from detectron2.engine import launch

    have, size = torch.cuda.device_count(), cfg.SOLVER.IMS_PER_BATCH
    if have < gpus:
        raise OptionError(f"gpus is {gpus}, but torch sees {have}; give no more than there are")
    if size % gpus:
        raise OptionError(f"{gpus} GPUs cannot share {size} images a step; give a batch that is a multiple of {gpus}")
    listener = Listener(progress)
    with tempfile.TemporaryDirectory() as folder:
        trained = Path(folder) / "weights.pth"
        try:
            with listener:
                args = (detector.cpu(), records, cfg, seed, gpus, listener.queue, trained, checkpoint)
                launch(_train, gpus, dist_url="auto", args=args)
        except ProcessException as error:
            if listener.errors:
                raise listener.errors[0] from error
            reason = str(error).strip().splitlines()[-1]
            raise LabelError(f"training on {gpus} GPUs broke off: {reason}; try one (--gpus 1)") from error
        detector.load_state_dict(torch.load(trained, weights_only=True))


def _train(
    detector: nn.Module,
    records: Sequence[Record],
    cfg: CfgNode,
    seed: int,
    gpus: int,
    queue: Any,
    trained: Path,
    checkpoint: Checkpoint | None,
) -> None:
    """What each process runs; without any GPU, as in tests, on the CPU."""
    from detectron2.utils import comm
    from torch.nn.parallel import DistributedDataParallel

    from aiop_task_detectron2 import installed

    installed.require()
    rank, gpu = comm.get_rank(), comm.get_local_rank()
    devices = [gpu] if torch.cuda.is_available() else None
    detector.to(f"cuda:{gpu}" if devices else "cpu").train()
    parallel = DistributedDataParallel(
        detector, device_ids=devices, broadcast_buffers=False, find_unused_parameters=True
    )

    def tell(done: int, total: int, note: str = "") -> None:
        queue.put((done, total, note))

    try:
        run_steps(parallel, records, cfg, seed=seed, progress=tell, rank=rank, ranks=gpus, checkpoint=checkpoint)
        if rank == 0:
            measure_norms(detector, records, cfg, seed=seed)
            torch.save(detector.cpu().state_dict(), trained)
    except AiopError as error:
        queue.put(error)
        raise
