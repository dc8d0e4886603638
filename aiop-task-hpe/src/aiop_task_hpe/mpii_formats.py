"""The three formats that MPII's annotations come in, each read into one table.

All count pixels from 1; the table counts from 0. The original ``.mat`` and the json of
MSRA and HRNet hold a person's position and scale as published. A square of 200 pixels
times the scale, moved down by 15 and made 1.25 times as large so that feet stay inside, is
what both code bases cut out; the h5 of the hourglass code holds it with that done.

PCKh's length of the head is 0.6 times the diagonal of the head box. The ``.mat`` has the
box, the h5 the length. The json has neither, but its neck and head top were put on the
box's axis, 0.8 diagonals apart, so that the length is 0.75 times their distance: that is
the h5's number to five digits.

Source: Andriluka et al., "2D Human Pose Estimation: New Benchmark and State of the Art
Analysis", CVPR 2014 (.mat); ``lib/dataset/mpii.py`` of microsoft/human-pose-estimation.pytorch
(json); Newell et al., "Stacked Hourglass Networks", ECCV 2016, ``getPerson`` of its code (h5).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from jaxtyping import Bool, Float

from aiop_core.errors import DataError
from aiop_task_hpe.joints import MPII
from aiop_task_hpe.matlab import DAMAGE
from aiop_task_hpe.pckh import HEAD_SHARE

SCALE = 200.0
"""Pixels in a scale of 1."""

SHIFT, WIDER = 15.0, 1.25
"""How far a person's square is moved down, in pixels times the scale, and how much it is widened."""

HEAD_OF_NECK = 0.75
"""The length of the head in distances of neck and head top."""

WHERE = {
    "json": (
        "they are published by Xiao et al. with 'Simple Baselines for Human Pose Estimation and Tracking' "
        "(microsoft/human-pose-estimation.pytorch, its README's MPII annotations)"
    ),
    "h5": (
        "they are published by Newell et al. with 'Stacked Hourglass Networks' "
        "(princeton-vl/pose-hg-train, data/mpii/annot)"
    ),
    "mat": "it is published with the images on the data set's site (human-pose.mpi-inf.mpg.de)",
}


@dataclass(frozen=True)
class Annotated:
    """The annotated persons of a file.

    Attributes:
        images: the name of each person's image.
        joints: x and y counted from 0.
        annotated: which of them mean anything.
        centres: of the persons' squares, counted from 0.
        sides: of the persons' squares, pixels.
        heads: PCKh's length of the head, pixels; NaN where it is not known.
    """

    images: tuple[str, ...]
    joints: Float[np.ndarray, "n 16 2"]
    annotated: Bool[np.ndarray, "n 16"]
    centres: Float[np.ndarray, "n 2"]
    sides: Float[np.ndarray, " n"]
    heads: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.images)


def read_annotations(kind: str, path: Path) -> Annotated:
    """The annotated persons of a file; of the ``.mat`` those of training images.

    Raises:
        DataError: if the file is missing, unreadable, or something else.
    """
    if not path.is_file():
        raise DataError(f"there is no {path}; put MPII's annotations there: {WHERE[kind]}")
    try:
        found = _READERS[kind](path)
    except DAMAGE as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path} is not what MPII's {kind} annotations are ({type(error).__name__}: {reason}); "
            f"take the original: {WHERE[kind]}"
        ) from error
    if not len(found):
        raise DataError(f"{path} annotates nobody; take the original: {WHERE[kind]}")
    return found


def _json(path: Path) -> Annotated:
    people = json.loads(path.read_text(encoding="utf-8"))
    joints = np.array([p["joints"] for p in people], dtype=np.float64).reshape(-1, len(MPII), 2)
    annotated = np.array([p["joints_vis"] for p in people], dtype=np.float64).reshape(-1, len(MPII)) > 0
    centres, sides = _squares((p["center"] for p in people), (p["scale"] for p in people))
    neck, top = MPII.head
    heads = HEAD_OF_NECK * np.linalg.norm(joints[:, neck] - joints[:, top], axis=1)
    known = annotated[:, neck] & annotated[:, top] & (heads > 0)
    images = tuple(str(p["image"]) for p in people)
    return Annotated(images, joints - 1, annotated, centres, sides, np.where(known, heads, np.nan))


def _h5(path: Path) -> Annotated:
    with h5py.File(path) as file:
        images = tuple(name.decode() for name in file["imgname"][:])
        joints = file["part"][:].astype(np.float64)
        centres, scales, heads = (file[key][:].astype(np.float64) for key in ("center", "scale", "normalize"))
    annotated = (joints != 0).any(axis=-1)  # its 'visible' says what is not hidden
    return Annotated(images, joints - 1, annotated, centres - 1, scales * SCALE, np.where(heads > 0, heads, np.nan))


def _mat(path: Path) -> Annotated:
    release = scipy.io.loadmat(path, simplify_cells=True)["RELEASE"]
    images: list[str] = []
    rows: list[tuple[Any, ...]] = []
    for entry, train in zip(_several(release["annolist"]), np.ravel(release["img_train"]), strict=True):
        for person in _several(entry["annorect"]) if train else ():
            points, position = person.get("annopoints"), person.get("objpos")
            if not isinstance(points, Mapping) or "point" not in points or not isinstance(position, Mapping):
                continue  # a person without joints, or without position and scale
            joints, annotated = np.zeros((len(MPII), 2)), np.zeros(len(MPII), dtype=bool)
            for point in _several(points["point"]):
                joints[int(point["id"])] = (point["x"], point["y"])
                annotated[int(point["id"])] = True
            box = np.array([[person["x1"], person["y1"]], [person["x2"], person["y2"]]], dtype=np.float64)
            head = HEAD_SHARE * float(np.linalg.norm(box[1] - box[0]))
            images.append(str(entry["image"]["name"]))
            rows.append((joints, annotated, (position["x"], position["y"]), person["scale"], head or np.nan))
    if not rows:
        raise ValueError("no training image has a person with joints")
    joints_, annotated_, positions, scales, heads = zip(*rows, strict=True)
    centres, sides = _squares(positions, scales)
    return Annotated(tuple(images), np.stack(joints_) - 1, np.stack(annotated_), centres, sides, np.array(heads))


_READERS: dict[str, Callable[[Path], Annotated]] = {"json": _json, "h5": _h5, "mat": _mat}


def _squares(centres: Iterable[Any], scales: Iterable[Any]) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
    """Centres, counted from 0, and sides of the squares for published positions and scales."""
    at = np.array(list(centres), dtype=np.float64).reshape(-1, 2)
    scale = np.array(list(scales), dtype=np.float64).reshape(-1)
    return at - 1 + np.stack([np.zeros_like(scale), SHIFT * scale], axis=1), scale * SCALE * WIDER


def _several(cells: Any) -> list[Mapping[str, Any]]:
    """A MATLAB struct array of any length as a list: scipy gives one alone as itself."""
    if isinstance(cells, Mapping):
        return [cells]
    return [cell for cell in cells if isinstance(cell, Mapping)]
