"""The drawn data set: landscapes with things, written once in COCO's format and detectron2's layout.

Image ``index`` of a split depends on ``(seed, split, index)`` alone, so that a larger set begins
with a smaller one.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from aiop_coco.scenes import draw_scene
from aiop_coco.split_writer import SplitWriter
from aiop_coco.splits import CocoSplit, coco2017
from aiop_core.contracts import Progress, silent
from aiop_core.errors import DataError
from aiop_core.records.whole_files import replacing

FORMAT = 3
"""Of the files and of what is drawn: it counts up when either changes."""

SMALLEST = 32
"""Pixels that an image's side must have."""

FIRST_IDS = {"train2017": 1, "val2017": 500_001}
"""The id of the first image in each split; their number in this order is part of an image's seed."""


def default_cache() -> Path:
    """The folder for data that aiop makes: what ``AIOP_CACHE`` names, or ``aiop`` in the user's cache folder."""
    if named := os.environ.get("AIOP_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aiop"


def drawn_root(folder: Path, *, train: int, val: int, size: int, seed: int) -> Path:
    """Where ``drawn_set`` writes; it holds ``coco/`` as ``DETECTRON2_DATASETS`` does."""
    return folder / f"drawn-v{FORMAT}-{size}px-{train}+{val}-seed{seed}"


def drawn_set(
    folder: Path,
    *,
    train: int = 256,
    val: int = 128,
    size: int = 128,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[CocoSplit, CocoSplit]:
    """The training and the validation split, drawn if they are not there as they were drawn.

    A drawing that was killed goes on; several processes may draw the same set.

    Args:
        folder: a cache; each set has a place of its own in it, see :func:`drawn_root`.
        train: number of training images.
        val: number of validation images.
        size: height and width, pixels.
        seed: another seed is another world.
        progress: told the number of images.

    Raises:
        DataError: if a number is too small, or the files cannot be written.
    """
    for what, number, least in (("train", train, 1), ("val", val, 1), ("size", size, SMALLEST), ("seed", seed, 0)):
        if number < least:
            raise DataError(f"a data set with {what} {number} cannot be drawn; {what} is at least {least}")
    root = drawn_root(folder, train=train, val=val, size=size, seed=seed)
    card = root / "card.json"
    counts = dict(zip(FIRST_IDS, (train, val), strict=True))
    try:
        told = _read_card(card)
        if told is None or told != describe(root):
            _draw(root / "coco", counts, size, seed, progress, again=told is not None)
            with replacing(card) as part:
                part.write_text(json.dumps(describe(root)) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"the drawn data set cannot be written to {root} ({error.strerror or error}); "
            "make room there, or name another folder in AIOP_CACHE"
        ) from None
    return coco2017(root)


def describe(root: Path) -> dict[str, Any]:
    """The number of files below ``root``, and a digest of them: what the card of a drawn set holds."""
    digest, count = hashlib.sha256(), 0
    for folder in sorted(path for path in root.glob("coco/*") if path.is_dir()):
        for file in sorted(folder.iterdir()):
            if file.suffix in {".jpg", ".png", ".json"}:
                digest.update(f"{folder.name}/{file.name}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
                count += 1
    return {"format": FORMAT, "files": count, "digest": digest.hexdigest()}


def _read_card(path: Path) -> Any:
    """What a finished drawing left; ``None`` if none is finished."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return "damaged"


def _draw(folder: Path, counts: dict[str, int], size: int, seed: int, progress: Progress, *, again: bool) -> None:
    """Write all files; images that are there stay, unless they are drawn ``again``."""
    behind, total = 0, sum(counts.values())
    for number, (name, count) in enumerate(counts.items()):
        writer = SplitWriter(folder, name, version=FORMAT, again=again)
        for index in range(count):
            writer.add(FIRST_IDS[name] + index, draw_scene(np.random.default_rng((seed, number, index)), size))
            behind += 1
            progress(behind, total)
        writer.finish()
