"""Training images in an order that follows from a seed alone, so that a training can go on from any step."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from aiop_core.errors import DataError
from aiop_core.sharing.chance import CHANGES, ORDER

if TYPE_CHECKING:
    from detectron2.config import CfgNode

Record = dict[str, Any]
"""One image in detectron2's standard format, or what its mapper makes of it."""

_UNREADABLE = (OSError, SyntaxError, ValueError, KeyError, TypeError)
"""What reading a damaged image, or changing odd annotations, ends in."""


@contextmanager
def seeded(seed: int, stream: int, number: int) -> Iterator[None]:
    """Every global generator that detectron2 draws from follows from these numbers, and is given back after.

    Only the CPU's: on a GPU trainings differ from run to run anyway.
    """
    state = np.random.SeedSequence((seed, stream, number)).generate_state(2)
    before = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    random.seed(int(state[0]))
    np.random.seed(int(state[0]))
    torch.default_generator.manual_seed(int(state[1]))
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.random.set_rng_state(before[2])


def read(mapper: Callable[[Record], Record], record: Record) -> Record | DataError:
    """An image as detectron2's mapper makes it, or what is wrong with it.

    The error is no exception yet, as one of a worker process would bring its traceback as text.
    """
    try:
        return mapper(record)
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())
        return DataError(f"{record['file_name']} cannot be read with its annotations ({reason}); repair or remove it")


class Readable:
    """Batches of which every image could be read.

    Args:
        loader: of what :func:`read` gives.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self._loader: Any = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[list[Record]]:
        for batch in self._loader:
            for image in batch:
                if isinstance(image, DataError):
                    raise image
            yield batch


class EndlessImages(Dataset[Record | DataError]):
    """Image ``n`` of a training, counted from 0, augmented; every image once in an epoch.

    Where the config asks for it, images of one batch are all wide or all tall, as detectron2
    does it, so that less of a batch is padding.

    Args:
        records: in detectron2's standard format.
        cfg: of detectron2.
        seed: of the order and of the augmentation.
    """

    def __init__(self, records: Sequence[Record], cfg: CfgNode, seed: int) -> None:
        from detectron2.data import DatasetFromList, DatasetMapper

        self._records, self._seed = DatasetFromList(list(records), copy=False), seed  # in one piece for all workers
        self._mapper = DatasetMapper(cfg, is_train=True)
        self._batch: int = min(cfg.SOLVER.IMS_PER_BATCH, len(records))
        grouped = cfg.DATALOADER.ASPECT_RATIO_GROUPING
        self._tall = np.array([grouped and r.get("height", 0) > r.get("width", 0) for r in records])
        self._epoch, self._order = -1, np.arange(0)

    @property
    def epoch_size(self) -> int:
        """Images in an epoch: whole batches only, so that no batch straddles two of them."""
        return len(self._records) - len(self._records) % self._batch

    def image(self, number: int) -> int:
        """Which record the training's image ``number`` is."""
        epoch, place = divmod(number, self.epoch_size)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._draw(epoch)
        return int(self._order[place])

    def _draw(self, epoch: int) -> np.ndarray[Any, Any]:
        generator = np.random.default_rng((self._seed, ORDER, epoch))
        order = generator.permutation(len(self._records))
        order = order[np.argsort(self._tall[order], kind="stable")]
        skipped = int(generator.integers(len(order) - self.epoch_size + 1))
        batches = order[skipped : skipped + self.epoch_size].reshape(-1, self._batch)
        return generator.permutation(batches).reshape(-1)

    def __getitem__(self, number: int) -> Record | DataError:
        with seeded(self._seed, CHANGES, number):
            return read(self._mapper, self._records[self.image(number)])


def has_things(record: Record) -> bool:
    """Whether something is annotated that is not a crowd."""
    return any(not thing.get("iscrowd", 0) for thing in record.get("annotations", ()))


def learnable(records: Sequence[Record], cfg: CfgNode) -> list[Record]:
    """Those to train on: where the config says so, only images with something that is not a crowd."""
    if not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        return list(records)
    return [record for record in records if has_things(record)]


def batches(
    records: Sequence[Record], cfg: CfgNode, seed: int, first: int, last: int, *, rank: int = 0, ranks: int = 1
) -> Iterator[list[Record]]:
    """The batches of steps ``first`` to ``last - 1``; of several processes each gets its share of every batch.

    Raises:
        DataError: if an image cannot be read.
    """
    size = cfg.SOLVER.IMS_PER_BATCH
    numbers = [step * size + place for step in range(first, last) for place in range(rank, size, ranks)]
    loader = DataLoader(
        EndlessImages(records, cfg, seed),
        batch_size=size // ranks,
        sampler=numbers,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=list,
        generator=torch.Generator().manual_seed(seed),
    )
    return iter(Readable(loader))
