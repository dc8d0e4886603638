"""Separated stuff masks out of panoptic PNG and json files, as detectron2's panoptic heads learn from them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt32
from PIL import Image

from aiop_coco.annotations import read_annotations
from aiop_coco.categories import Categories, read_categories
from aiop_coco.mark import mark
from aiop_coco.splits import PUBLISHED, CocoSplit
from aiop_core.contracts import Progress, silent
from aiop_core.errors import DataError
from aiop_core.records.whole_files import replacing

IGNORED = 255
"""The value of pixels that are not annotated."""

Job = tuple[str, Mapping[int, int]]
"""A file's name, and the value in the stuff mask of each segment."""


def prepare_stuff(split: CocoSplit, out: Path, progress: Progress = silent, *, workers: int = 1) -> None:
    """Write the stuff mask of each image with panoptic segments into ``out``; what is there stays.

    Pixels of things become 0, of stuff 1, 2, … in the order of the categories, and others 255.

    Args:
        split: with ``panoptic`` and ``panoptic_masks``.
        out: a folder, made if it is missing; usually ``split.stuff_masks``.
        progress: told the number of images.
        workers: threads that work at the same time.

    Raises:
        DataError: if a file is missing or damaged, names an unknown category, or cannot be written.

    Source: detectron2, ``datasets/prepare_panoptic_fpn.py``.
    """
    folder = split.part("panoptic_masks")
    jobs = list(_jobs(split))
    try:
        out.mkdir(parents=True, exist_ok=True)
        done = {entry.name for entry in os.scandir(out)}
    except OSError as error:
        raise _unwritable(out, error) from None
    left = [job for job in jobs if job[0] not in done]
    behind = len(jobs) - len(left)
    progress(behind, len(jobs))
    pool = ThreadPoolExecutor(workers)
    try:
        for _ in pool.map(partial(_write_mask, folder, out), left):
            behind += 1
            progress(behind, len(jobs))
    finally:
        pool.shutdown(cancel_futures=True)


def with_stuff(split: CocoSplit, cache: Path, progress: Progress = silent) -> CocoSplit:
    """The split with stuff masks; where the folder is missing they are made of the panoptic files, in ``cache``.

    Raises:
        DataError: if there are no panoptic files either, or there is no room.
    """
    found = locate_stuff(split, cache)
    if found is not split and found.stuff_masks is not None:
        prepare_stuff(split, found.stuff_masks, progress, workers=os.cpu_count() or 1)
    return found


def locate_stuff(split: CocoSplit, cache: Path) -> CocoSplit:
    """The split with stuff masks where they are, or else where ``with_stuff`` makes them; makes none."""
    if split.stuff_masks is not None and split.stuff_masks.is_dir():
        return split
    return replace(split, stuff_masks=cache / f"panoptic_stuff_{split.name}_{mark(split)}")


def _jobs(split: CocoSplit) -> Iterator[Job]:
    path = split.part("panoptic")
    categories = read_categories(split)
    for annotation in read_annotations(path, "panoptic")["annotations"]:
        try:
            yield annotation["file_name"], segment_values(annotation["segments_info"], categories)
        except KeyError as error:
            raise DataError(
                f"{path}: a segment in {annotation['file_name']} has no known category ({error}); "
                f"take the original file: {PUBLISHED}"
            ) from None


def segment_values(segments: Sequence[Mapping[str, Any]], categories: Categories) -> dict[int, int]:
    """The value in a stuff mask of each segment, by its id."""
    values = {**categories.stuff_ids, **dict.fromkeys(categories.thing_ids, 0)}
    return {segment["id"]: values[segment["category_id"]] for segment in segments}


def _write_mask(folder: Path, out: Path, job: Job) -> None:
    name, values = job
    mask = stuff_mask(read_ids(folder / name), values)
    try:
        write_png(out / name, mask)
    except OSError as error:
        raise _unwritable(out / name, error) from None


def stuff_mask(ids: UInt32[np.ndarray, "h w"], values: Mapping[int, int]) -> UInt8[np.ndarray, "h w"]:
    """What each pixel is, by the value of its segment; 255 if it is of none."""
    mask = np.full(ids.shape, IGNORED, dtype=np.uint8)
    for segment, value in values.items():
        mask[ids == segment] = value
    return mask


def read_ids(path: Path) -> UInt32[np.ndarray, "h w"]:
    """The id of each pixel's segment in a panoptic PNG file.

    Raises:
        DataError: if it is missing or damaged.
    """
    try:
        with Image.open(path) as image:
            padded = np.asarray(image.convert("RGB").convert("RGBX"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing; put COCO's panoptic PNG files there: {PUBLISHED}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); replace it by the original: {PUBLISHED}") from None
    ids: UInt32[np.ndarray, "h w"] = padded.view("<u4")[..., 0] & 0xFFFFFF
    return ids


def id_colors(ids: UInt32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """What ``read_ids`` reads, as pixels."""
    return np.stack([ids & 0xFF, ids >> 8 & 0xFF, ids >> 16 & 0xFF], axis=-1).astype(np.uint8)


def write_png(path: Path, pixels: UInt8[np.ndarray, "h w *rgb"]) -> None:
    """Write a PNG file in one piece."""
    with replacing(path) as part:
        Image.fromarray(pixels).save(part, format="PNG")


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be written ({error.strerror}); mend that and run the same command again")
