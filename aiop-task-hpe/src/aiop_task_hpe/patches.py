"""Square image patches in memory: decoded once, kept as bytes, read by several threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from aiop_core.contracts import Progress, silent

MEGABYTE = 1 << 20


class PatchSource(Protocol):
    """A data set that gives one square patch for each person."""

    @property
    def size(self) -> int:
        """Height and width of every patch in pixels."""
        ...

    def __len__(self) -> int: ...

    def patch(self, index: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(size, size, 3) bytes, (14, 2) joints in pixels, (14,) annotated. Called by several threads."""
        ...


@dataclass(frozen=True)
class Patches:
    """Some patches with their joints; coordinates are (x, y) in pixels, pixel centres at whole numbers."""

    images: UInt8[Tensor, "n 3 h w"]
    joints: Float[Tensor, "n 14 2"]
    annotated: Bool[Tensor, "n 14"]

    def __len__(self) -> int:
        return len(self.images)


class PatchStore:
    """A source behind a cache.

    Args:
        source: where patches come from.
        workers: threads that make them.
        limit_mb: keep them if all fit into so much memory; otherwise make them each time.
    """

    def __init__(self, source: PatchSource, *, workers: int, limit_mb: int) -> None:
        self._source = source
        self._workers = workers
        n, size = len(source), source.size
        self._kept = n * size * size * 3 <= limit_mb * MEGABYTE
        # numpy, not torch: a second thread that calls torch gets its own team of cores, and both teams crawl
        self._images = np.zeros((n if self._kept else 0, 3, size, size), dtype=np.uint8)
        self._joints = np.zeros((n, 14, 2), dtype=np.float32)
        self._annotated = np.zeros((n, 14), dtype=bool)
        self._known = np.zeros(n, dtype=bool)

    def __len__(self) -> int:
        return len(self._source)

    @property
    def size(self) -> int:
        """Height and width of a patch in pixels."""
        return self._source.size

    def prepare(self, progress: Progress = silent) -> None:
        """Make every patch now, so that a bad file is found before anything is trained."""
        step = 64
        for done, indices in enumerate(self._chunks(np.arange(len(self)), step)):
            self.get(indices)
            progress(min((done + 1) * step, len(self)), len(self), "images")

    def get(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Patches:
        """The patches at ``indices``, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        if not self._kept:
            return Patches(*(torch.from_numpy(np.stack(part)) for part in zip(*self._make(chosen), strict=True)))
        missing = chosen[~self._known[chosen]]
        for index, (image, joints, annotated) in zip(missing, self._make(missing), strict=True):
            self._images[index] = image
            self._joints[index] = joints
            self._annotated[index] = annotated
            self._known[index] = True
        whole = (self._images, self._joints, self._annotated)
        return Patches(*(torch.from_numpy(column[chosen]) for column in whole))

    def batches(self, order: np.ndarray[Any, Any], batch: int) -> Iterator[Patches]:
        """``order`` in pieces of ``batch``, the next one read while the last one is used."""
        with ThreadPoolExecutor(1) as ahead:
            pieces = self._chunks(order, batch)
            coming = ahead.submit(self.get, next(pieces))
            for piece in pieces:
                ready, coming = coming, ahead.submit(self.get, piece)
                yield ready.result()
            yield coming.result()

    @staticmethod
    def _chunks(order: np.ndarray[Any, Any], size: int) -> Iterator[np.ndarray[Any, Any]]:
        return (order[start : start + size] for start in range(0, len(order), size))

    def _make(self, indices: np.ndarray[Any, Any]) -> Iterable[tuple[Any, Any, Any]]:
        if not len(indices):
            return []
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(self._patch, indices.tolist()))

    def _patch(self, index: int) -> tuple[Any, Any, Any]:
        image, joints, annotated = self._source.patch(index)
        return np.ascontiguousarray(image.transpose(2, 0, 1)), joints.astype(np.float32), annotated
