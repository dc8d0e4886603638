"""Leeds Sports Pose Extended, read from its original layout.

``joints.mat`` holds (14, 3, 10000): x and y counted from 1, and 1 where the joint is
annotated. Where it is 0 the coordinates mean nothing.

Source: Johnson and Everingham, "Learning Effective Human Pose Estimation from Inaccurate
Annotation", CVPR 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from jaxtyping import Bool, Float, UInt8
from PIL import Image, UnidentifiedImageError
from scipy.io.matlab import MatReadError

from aiop_core.errors import DataError

FOLDER = "lsp_extended"
WHERE = (
    "it is published as 'Leeds Sports Pose Extended Training Dataset' on Sam Johnson's site (sam.johnson.io, "
    "research, lspet) and on Zenodo under the same name"
)
BOX_MARGIN = 1.25
"""A person's square is this much larger than the annotated joints' extent (hourglass convention)."""

PATCH_MARGIN = 1.5
"""Patches show this much more than the person's square, so that scaled and turned crops have content."""

MINIMUM_JOINTS = 2
"""Fewer annotated joints than this have no extent; such persons are left out."""


@dataclass(frozen=True)
class LspExtended:
    """Some of the persons of LSPET, each cut out around the annotated joints.

    Attributes:
        files: one image for each person.
        joints: x and y counted from 0.
        annotated: which of them mean anything.
        size: height and width of a patch in pixels.
    """

    files: tuple[Path, ...]
    joints: Float[np.ndarray, "n 14 2"]
    annotated: Bool[np.ndarray, "n 14"]
    size: int

    def __len__(self) -> int:
        return len(self.files)

    def patch(
        self, index: int
    ) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "14 2"], Bool[np.ndarray, " 14"]]:
        """A square around the person, ``PATCH_MARGIN`` wider than its box; black beyond the image.

        Raises:
            DataError: naming the image that cannot be read.
        """
        file, joints, annotated = self.files[index], self.joints[index], self.annotated[index]
        try:
            with Image.open(file) as opened:
                image = opened.convert("RGB")
        except (OSError, UnidentifiedImageError, SyntaxError) as error:
            raise DataError(
                f"image {file} cannot be read ({error}); replace it by the original, or remove it to do without it"
            ) from error
        centre, side = person_square(joints[annotated], image.size)
        step = side * PATCH_MARGIN / self.size
        corner = centre - step * (self.size - 1) / 2
        # PIL maps output pixel corners, joints live at pixel centres: half a pixel on both sides
        offset = corner + 0.5 - step * 0.5
        cut = image.transform(
            (self.size, self.size),
            Image.Transform.AFFINE,
            (step, 0, float(offset[0]), 0, step, float(offset[1])),
            Image.Resampling.BILINEAR,
        )
        return np.asarray(cut), ((joints - corner) / step).astype(np.float32), annotated


def person_square(joints: Float[np.ndarray, "n 2"], image_size: tuple[int, int]) -> tuple[Any, float]:
    """Centre and side of the square around ``joints``, no larger than the image's longer side."""
    low, high = joints.min(axis=0), joints.max(axis=0)
    side = max(float((high - low).max()) * BOX_MARGIN, 16.0)
    return (low + high) / 2, min(side, float(max(image_size)))


def read_lsp_extended(data_dir: Path, *, size: int, train_share: float) -> tuple[LspExtended, LspExtended]:
    """The first ``train_share`` of the images that exist, and the rest.

    Args:
        data_dir: holds ``lsp_extended/``, or is that folder.
        size: of a patch, pixels.
        train_share: with the first 1,000 images 0.8 makes 1–800 and 801–1000.

    Raises:
        DataError: if something is missing or not what it should be.
    """
    folder = data_dir / FOLDER if (data_dir / FOLDER).is_dir() else data_dir
    table = read_joints(folder / "joints.mat")
    numbers = [n for n in range(1, len(table) + 1) if (folder / "images" / f"im{n:05d}.jpg").is_file()]
    if not numbers:
        raise DataError(f"no image im00001.jpg … in {folder / 'images'}; put the images of the data set there: {WHERE}")
    whole = table[[n - 1 for n in numbers]]
    annotated = whole[:, :, 2] > 0.5
    joints = whole[:, :, :2] - 1.0
    usable = [i for i in range(len(numbers)) if annotated[i].sum() >= MINIMUM_JOINTS]
    cut = round(len(usable) * train_share)
    if not 0 < cut < len(usable):
        raise DataError(
            f"{len(usable)} usable images in {folder} cannot be split {train_share:g} to {1 - train_share:g}; "
            "both sides need at least one: add images or change train_share"
        )

    def part(chosen: list[int]) -> LspExtended:
        files = tuple(folder / "images" / f"im{numbers[i]:05d}.jpg" for i in chosen)
        return LspExtended(files, joints[chosen].astype(np.float32), annotated[chosen], size)

    return part(usable[:cut]), part(usable[cut:])


def read_joints(path: Path) -> Float[np.ndarray, "n 14 3"]:
    """The table of ``joints.mat``, persons first.

    Raises:
        DataError: if the file is missing, unreadable, or of another data set.
    """
    if not path.is_file():
        raise DataError(f"there is no {path}; give as data_dir the folder that holds {FOLDER}/joints.mat: {WHERE}")
    try:
        table = scipy.io.loadmat(path)["joints"]
    except (MatReadError, OSError, ValueError, TypeError, NotImplementedError, KeyError) as error:
        raise DataError(f"{path} is not a MATLAB file with 'joints' ({error}); take the original: {WHERE}") from error
    if table.ndim == 3 and table.shape[:2] == (3, 14):
        raise DataError(
            f"{path} has the shape {table.shape}, which is LSP, not LSP Extended (14, 3, n): "
            f"its third row means the opposite; take the joints.mat of the extended set: {WHERE}"
        )
    if table.ndim != 3 or table.shape[:2] != (14, 3):
        raise DataError(f"{path} has the shape {table.shape}, expected (14, 3, n); take the original: {WHERE}")
    persons: np.ndarray[Any, Any] = np.asarray(table, dtype=np.float64).transpose(2, 0, 1)
    return persons
