"""Square image patches in memory: decoded once, kept as bytes, read by several threads."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from aiop_core.contracts import Progress, silent
from aiop_task_hpe.joints import Skeleton

MEGABYTE = 1 << 20


def digest(*parts: bytes) -> str:
    """A short name for bytes."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


@dataclass(frozen=True)
class Patch:
    """One person; coordinates are (x, y) in pixels of the patch, pixel centres at whole numbers.

    Attributes:
        image: RGB.
        joints: finite also where they are not annotated.
        annotated: which joints mean anything.
        head: what PCKh calls the length of the head, in pixels of the patch; NaN where it is not known.
    """

    image: UInt8[np.ndarray, "h w 3"]
    joints: Float[np.ndarray, "joints 2"]
    annotated: Bool[np.ndarray, " joints"]
    head: float = math.nan


class PatchSource(Protocol):
    """A data set that gives one square patch for each person."""

    @property
    def size(self) -> int:
        """Height and width of every patch in pixels."""
        ...

    @property
    def skeleton(self) -> Skeleton:
        """Of every person."""
        ...

    def __len__(self) -> int: ...

    def patch(self, index: int) -> Patch:
        """The person of that number. Called by several threads."""
        ...

    def mark(self) -> str:
        """A digest that tells these persons from others, whichever folder they lie in."""
        ...


@dataclass(frozen=True)
class Patches:
    """Some persons of one data set, as in :class:`Patch`."""

    images: UInt8[Tensor, "n 3 h w"]
    joints: Float[Tensor, "n joints 2"]
    annotated: Bool[Tensor, "n joints"]
    heads: Float[Tensor, " n"]
    skeleton: Skeleton

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
        joints = len(source.skeleton)
        self._joints = np.zeros((n, joints, 2), dtype=np.float32)
        self._annotated = np.zeros((n, joints), dtype=bool)
        self._heads = np.zeros(n, dtype=np.float32)
        self._known = np.zeros(n, dtype=bool)

    def __len__(self) -> int:
        return len(self._source)

    @property
    def size(self) -> int:
        """Height and width of a patch in pixels."""
        return self._source.size

    @property
    def skeleton(self) -> Skeleton:
        """Of every person."""
        return self._source.skeleton

    @cached_property
    def mark(self) -> str:
        """See :meth:`PatchSource.mark`."""
        return self._source.mark()

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
            return self._patches(*(np.stack(column) for column in zip(*self._make(chosen), strict=True)))
        missing = chosen[~self._known[chosen]]
        for index, (image, joints, annotated, head) in zip(missing, self._make(missing), strict=True):
            self._images[index] = image
            self._joints[index] = joints
            self._annotated[index] = annotated
            self._heads[index] = head
            self._known[index] = True
        whole = (self._images, self._joints, self._annotated, self._heads)
        return self._patches(*(column[chosen] for column in whole))

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

    def _patches(self, *columns: np.ndarray[Any, Any]) -> Patches:
        images, joints, annotated, heads = (torch.from_numpy(column) for column in columns)
        return Patches(images, joints, annotated, heads, self.skeleton)

    def _make(self, indices: np.ndarray[Any, Any]) -> Iterable[tuple[Any, Any, Any, Any]]:
        if not len(indices):
            return []
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(self._patch, indices.tolist()))

    def _patch(self, index: int) -> tuple[Any, Any, Any, Any]:
        patch = self._source.patch(index)
        image = np.ascontiguousarray(patch.image.transpose(2, 0, 1))
        return image, patch.joints.astype(np.float32), patch.annotated, np.float32(patch.head)
