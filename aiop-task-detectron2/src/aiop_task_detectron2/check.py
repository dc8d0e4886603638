"""What of the data is there, and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiop_coco.check import find_coco
from aiop_coco.drawn import default_cache
from aiop_coco.panoptic import locate_stuff
from aiop_coco.sheet import draw
from aiop_coco.splits import PUBLISHED
from aiop_core.capabilities import Finding
from aiop_core.errors import DataError, OptionError
from aiop_task_detectron2.config import semantic
from aiop_task_detectron2.data import ROOT, coco_root, open_data, splits_of
from aiop_task_detectron2.options import COCO, SYNTHETIC, Detectron2Options


def find_data(options: Detectron2Options) -> Sequence[Finding]:
    """Every file of COCO 2017 that the parts need; of another data set whether it can be read."""
    stuff, root = semantic(options.parts), coco_root(options)
    if options.data not in {SYNTHETIC, COCO}:
        return _of_the_catalogue(options)
    found: list[Finding] = []
    if options.data == SYNTHETIC:
        found = find_coco(splits_of(options)[0].images.parent)
    if root is None:
        advice = f"give the folder that holds coco/ (--data-dir, or the variable {ROOT}); published at {PUBLISHED}"
        return [*found, Finding("coco", Path("coco"), None, advice, required=options.data == COCO)]
    wanted = options.data == COCO
    return [*found, *find_coco(root, things=wanted, stuff=wanted and stuff)]


def _of_the_catalogue(options: Detectron2Options) -> Sequence[Finding]:
    try:
        parts = open_data(options)
    except DataError as error:
        return [Finding(options.data, Path(), None, str(error))]
    return [
        Finding(part.name, Path(part.records[0]["file_name"]).parent, f"{len(part.records):,} images") for part in parts
    ]


def draw_data(options: Detectron2Options, path: Path, *, count: int) -> None:
    """A contact sheet of the drawn images or of COCO, with stuff where its masks have been made.

    Raises:
        DataError: if they are not there, or the sheet cannot be written.
        OptionError: if the data set is one of detectron2's catalogue.
    """
    if options.data not in {SYNTHETIC, COCO}:
        raise OptionError(
            f"data {options.data} cannot be drawn here, only {SYNTHETIC} and {COCO}; detectron2's visualize_data.py can"
        )
    cache = options.cache_dir or default_cache()
    draw([locate_stuff(split, cache) for split in splits_of(options)], path, count)
