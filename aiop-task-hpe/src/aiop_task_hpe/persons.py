"""Persons in image files: what every data set of photographs becomes, and how each is cut out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from aiop_core.errors import DataError
from aiop_task_hpe.joints import Skeleton
from aiop_task_hpe.patches import Patch, digest

PATCH_MARGIN = 1.5
"""Patches show this much more than the person's square, so that scaled and turned crops have content."""

BOX_MARGIN = 1.25
"""Where no scale is published, a person's square is this much larger than the annotated joints' extent (hourglass)."""

SMALLEST_SIDE = 16.0
"""Of a person's square, pixels: less shows nothing."""

UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What PIL raises for files that are damaged, no images, or so large that they may be meant to harm."""

_COLUMNS = ("joints", "annotated", "centres", "sides", "heads")
"""The arrays of :class:`Persons`, one row for each."""


@dataclass(frozen=True)
class Persons:
    """Some persons of a data set, each cut out by a square.

    Attributes:
        files: one image for each person.
        joints: x and y in the image, pixel centres counted from 0; where not annotated, 0.
        annotated: which of them mean anything.
        centres: of the persons' squares, as the joints.
        sides: of the persons' squares, pixels.
        heads: what PCKh calls the length of the head, pixels; NaN where the data set has none.
        skeleton: of the joints.
        size: height and width of a patch in pixels.
        published: whether the squares are the data set's own; others, from the joints' extent, are cut out
            no larger than the image.
    """

    files: tuple[Path, ...]
    joints: Float[np.ndarray, "n joints 2"]
    annotated: Bool[np.ndarray, "n joints"]
    centres: Float[np.ndarray, "n 2"]
    sides: Float[np.ndarray, " n"]
    heads: Float[np.ndarray, " n"]
    skeleton: Skeleton
    size: int
    published: bool

    def __len__(self) -> int:
        return len(self.files)

    def patch(self, index: int) -> Patch:
        """A square around the person, ``PATCH_MARGIN`` wider than its own; black beyond the image.

        Raises:
            DataError: naming the image that cannot be read.
        """
        image = read_image(self.files[index])
        side = float(self.sides[index])
        if not self.published:
            side = min(side, float(max(image.size)))
        step = side * PATCH_MARGIN / self.size
        corner = self.centres[index] - step * (self.size - 1) / 2
        # PIL maps output pixel corners, joints live at pixel centres: half a pixel on both sides
        offset = corner + 0.5 - step * 0.5
        cut = image.transform(
            (self.size, self.size),
            Image.Transform.AFFINE,
            (step, 0, float(offset[0]), 0, step, float(offset[1])),
            Image.Resampling.BILINEAR,
        )
        joints = ((self.joints[index] - corner) / step).astype(np.float32)
        return Patch(np.asarray(cut), joints, self.annotated[index], float(self.heads[index] / step))

    def mark(self) -> str:
        """Of the images' names and everything that is annotated, to a tenth of a pixel."""
        numbers = [np.nan_to_num(getattr(self, column)).astype(np.float64) for column in _COLUMNS]
        names = "\n".join(file.name for file in self.files).encode()
        return digest(names, *((array * 10).round().astype(np.int64).tobytes() for array in numbers))

    def some(self, chosen: Sequence[int]) -> Persons:
        """The persons of those numbers, in that order."""
        rows = list(chosen)
        return replace(
            self,
            files=tuple(self.files[i] for i in rows),
            **{column: getattr(self, column)[rows] for column in _COLUMNS},
        )

    def __add__(self, others: Persons) -> Persons:
        """These persons, and then others of the same skeleton and size."""
        joined: dict[str, Any] = {c: np.concatenate([getattr(self, c), getattr(others, c)]) for c in _COLUMNS}
        return replace(self, files=self.files + others.files, **joined)


def persons(
    files: Sequence[Path],
    joints: Float[np.ndarray, "n joints 2"],
    annotated: Bool[np.ndarray, "n joints"],
    skeleton: Skeleton,
    *,
    size: int,
    centres: Float[np.ndarray, "n 2"] | None = None,
    sides: Float[np.ndarray, " n"] | None = None,
    heads: Float[np.ndarray, " n"] | None = None,
) -> Persons:
    """Persons from a data set's table; ``size`` is that of a patch, the rest as in :class:`Persons`.

    Without ``centres`` and ``sides`` a person's square is the annotated joints' extent,
    ``BOX_MARGIN`` wider.
    """
    known = annotated & np.isfinite(joints).all(axis=-1)
    clean = np.where(known[..., None], joints, 0.0)
    published = centres is not None and sides is not None
    if centres is None or sides is None:
        centres, sides = _extents(clean, known)
    if heads is None:
        heads = np.full(len(joints), np.nan)
    sides = np.maximum(sides, SMALLEST_SIDE)
    return Persons(tuple(files), clean, known, centres, sides, heads, skeleton, size, published)


def _extents(
    joints: Float[np.ndarray, "n joints 2"], known: Bool[np.ndarray, "n joints"]
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
    """Centres and sides of squares around the known joints."""
    shown = known[..., None]
    low = np.where(shown, joints, np.inf).min(axis=1)
    high = np.where(shown, joints, -np.inf).max(axis=1)
    return (low + high) / 2, (high - low).max(axis=1) * BOX_MARGIN


def read_image(file: Path) -> Image.Image:
    """An image with three channels.

    Raises:
        DataError: naming the file, if it cannot be read or ends early.
    """
    try:
        with Image.open(file) as opened:
            return opened.convert("RGB")
    except UNREADABLE as error:
        raise DataError(
            f"image {file} cannot be read ({error}); replace it by the original, or remove it to do without it"
        ) from error


def split(whole: Persons, train_share: float, what: str) -> tuple[Persons, Persons]:
    """The first ``train_share`` of the persons, and the rest; persons of one image stay together.

    Args:
        whole: ordered by image.
        train_share: in (0, 1).
        what: whose they are, for the message.

    Raises:
        DataError: if one side would be empty.
    """
    cut = round(len(whole) * train_share)
    while 0 < cut < len(whole) and whole.files[cut] == whole.files[cut - 1]:
        cut += 1
    if not 0 < cut < len(whole):
        raise DataError(
            f"{len(whole)} usable persons in {what} cannot be split {train_share:g} to {1 - train_share:g}; "
            "both sides need at least one: add images or change train_share"
        )
    return whole.some(range(cut)), whole.some(range(cut, len(whole)))


def first_missing(files: Sequence[Path]) -> tuple[int, Path | None]:
    """How many of the files are not there, and the first of those."""
    missing = [file for file in dict.fromkeys(files) if not file.is_file()]
    return len(missing), missing[0] if missing else None
