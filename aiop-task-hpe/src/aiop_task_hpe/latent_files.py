"""The files of latents: memory-mapped arrays beside a JSON file.

``latents.json`` says what they were made of; for each split ``train`` and ``val`` there are
``SPLIT_LEVEL_mean.npy`` and ``SPLIT_LEVEL_deviation.npy`` of shape (images, views, channels,
height, width), and ``SPLIT_joints.npy`` (images, views, joints, 3): x, y in input pixels and 1
where annotated. View 0 is the image, view 1 its mirror image, if there is one. ``done.json``
counts the images, of both splits in a row, that are there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aiop_core.contracts import Level
from aiop_core.errors import DataError
from aiop_core.sharing.json_files import FORMAT, read_json, write_json
from aiop_core.sharing.origin import Origin

HEADER, DONE = "latents.json", "done.json"
SPLITS = ("train", "val")

_KEYS = (
    *("data", "input_size", "train_images", "val_images", "spec", "joints"),
    *("names", "levels", "population", "mirrored", "dtype"),
)
"""What no header can do without."""

Arrays = dict[str, list[np.memmap[Any, Any]]]
"""For each split: joints, then mean and deviation of each level."""


def level_names(levels: Sequence[Level]) -> list[str]:
    """``p2`` for stride 4, ``p5`` for stride 32; a second level of one stride is ``p4_2``."""
    names: list[str] = []
    for level in levels:
        name = f"p{level.stride.bit_length() - 1}"
        again = sum(known.split("_")[0] == name for known in names)
        names.append(f"{name}_{again + 1}" if again else name)
    return names


def array_files(names: Sequence[str], split: str) -> list[str]:
    """Of one split, in the order of :data:`Arrays`."""
    return [
        f"{split}_joints.npy",
        *(f"{split}_{name}_{kind}.npy" for name in names for kind in ("mean", "deviation")),
    ]


def read_header(folder: Path, *, advice: str) -> Origin:
    """What the latents of a folder were made of.

    Raises:
        DataError: if that cannot be read, or lacks something; closes with ``advice``.
    """
    header = read_json(folder / HEADER, error=DataError, advice=advice)
    missing = [key for key in _KEYS if key not in header]
    if missing:
        raise DataError(f"{folder / HEADER} says nothing of {', '.join(missing)}; {advice}")
    return header


def create(folder: Path, header: Origin) -> None:
    """Make all arrays, as large as they will be, so that a full disk is found now.

    What an interrupted creation left is replaced; a failed one leaves nothing.

    Raises:
        DataError: if there is no room.
    """
    shapes = {
        name: (shape, dtype)
        for split in SPLITS
        for name, (shape, dtype) in zip(array_files(header["names"], split), _shapes(header, split), strict=True)
    }
    needed = sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in shapes.values())
    _remove(folder, shapes)
    free = shutil.disk_usage(folder).free
    try:
        if needed > free:
            raise OSError(f"{free / 1e9:.3g} GB are free")
        for name, (shape, dtype) in shapes.items():
            array = np.lib.format.open_memmap(folder / name, mode="w+", dtype=dtype, shape=shape)
            array.flush()
            if hasattr(os, "posix_fallocate"):  # else a full disk would end the process later, without a word
                with (folder / name).open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        write_json(folder / DONE, {"format": FORMAT, "done": 0})
        write_json(folder / HEADER, header)
    except OSError as error:
        _remove(folder, shapes)
        raise DataError(
            f"latents of {needed / 1e9:.3g} GB cannot be written to {folder} ({error}); make room, or collect fewer: "
            "levels coarsest, dtype float16, not mirrored"
        ) from None


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def open_arrays(folder: Path, header: Origin, *, mode: Literal["r", "r+"]) -> Arrays:
    """The arrays of a folder; ``mode`` is ``r`` or ``r+``.

    Raises:
        DataError: if a file is missing, cut short, or not as the header says.
    """
    found: Arrays = {}
    for split in SPLITS:
        found[split] = []
        for name, (shape, dtype) in zip(array_files(header["names"], split), _shapes(header, split), strict=True):
            try:
                array = np.load(folder / name, mmap_mode=mode, allow_pickle=False)
            except (OSError, ValueError) as error:
                raise DataError(
                    f"{folder / name} is missing or damaged ({error}); collect the latents anew, into an empty folder"
                ) from None
            if array.shape != shape or array.dtype != dtype:
                raise DataError(
                    f"{folder / name} has shape {array.shape} and {array.dtype}, {HEADER} says {shape} and {dtype}; "
                    "collect the latents anew, into an empty folder"
                )
            found[split].append(array)
    return found


def _shapes(header: Origin, split: str) -> list[tuple[tuple[int, ...], str]]:
    """Shape and type of each array of a split."""
    images, views = header[f"{split}_images"], 2 if header["mirrored"] else 1
    size = header["input_size"]
    shapes: list[tuple[tuple[int, ...], str]] = [((images, views, header["joints"], 3), "float32")]
    for channels, stride in header["levels"]:
        shapes += 2 * [((images, views, channels, -(-size // stride), -(-size // stride)), header["dtype"])]
    return shapes
