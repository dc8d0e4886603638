"""Images with their things, as tasks learn from them and are measured on them."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from pycocotools import mask as rle
from pycocotools.coco import COCO

from aiop_coco.annotations import read_annotations
from aiop_coco.categories import Categories
from aiop_coco.splits import CocoSplit
from aiop_core.errors import DataError


@dataclass(frozen=True)
class Instance:
    """A thing in an image.

    Attributes:
        category: its class, as in ``Categories.things``.
        box: left, top, width and height in pixels, both sides positive.
        segmentation: polygons ``[x, y, x, y, …]``, a run-length code, or ``None``.
        is_crowd: whether it stands for many, which are neither learnt nor counted.
        area: of its mask, in pixels.
    """

    category: int
    box: tuple[float, float, float, float]
    segmentation: list[list[float]] | dict[str, Any] | None
    is_crowd: bool
    area: float

    def mask(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """Its pixels in an image of that size; none without segmentation."""
        if not self.segmentation:
            return np.zeros((height, width), dtype=bool)
        code = self.segmentation
        if isinstance(code, list):
            code = rle.merge(rle.frPyObjects(code, height, width))
        elif isinstance(code["counts"], list):
            code = rle.frPyObjects(code, height, width)
        return np.asarray(rle.decode(code), dtype=bool)


@dataclass(frozen=True)
class ImageRecord:
    """An image and what is annotated in it.

    Attributes:
        image_id: in the json files.
        path: of the image.
        height: in pixels.
        width: in pixels.
        instances: its things.
        stuff_mask: the PNG file of its stuff, if the split has them.
    """

    image_id: int
    path: Path
    height: int
    width: int
    instances: tuple[Instance, ...]
    stuff_mask: Path | None


def load_coco(path: Path) -> COCO:
    """An instances json file as COCO's API has it, for its evaluation.

    Raises:
        DataError: if it is missing, damaged, or not in COCO's format.
    """
    content = read_annotations(path, "instances")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
    return coco


def read_records(split: CocoSplit, categories: Categories, *, keep_empty: bool) -> list[ImageRecord]:
    """The images of a split in the order of their ids. Things without extent are left out.

    Args:
        split: with ``instances``.
        categories: of the data set.
        keep_empty: keep images that have nothing but crowds, as evaluation does; training leaves them out.

    Raises:
        DataError: if a file is not what it should be, or nothing is left.
    """
    path = split.part("instances")
    coco = load_coco(path)
    records = [_record(split, coco, image_id, categories, path) for image_id in sorted(coco.imgs)]
    left = [r for r in records if keep_empty or any(not instance.is_crowd for instance in r.instances)]
    if not left:
        raise DataError(f"none of the {len(records):,} images in {path} is annotated; take a file with annotations")
    return left


def _record(split: CocoSplit, coco: COCO, image_id: int, categories: Categories, path: Path) -> ImageRecord:
    image, instances = coco.imgs[image_id], []
    for entry in coco.imgToAnns.get(image_id, ()):
        if entry["category_id"] not in categories.thing_ids:
            raise DataError(
                f"{path}: annotation {entry['id']} is of category {entry['category_id']}, which is not listed; "
                "list it under 'categories'"
            )
        x, y, width, height = map(float, entry["bbox"])
        if width > 0 and height > 0:
            instances.append(
                Instance(
                    categories.thing_ids[entry["category_id"]],
                    (x, y, width, height),
                    _valid(entry.get("segmentation")),
                    bool(entry["iscrowd"]),
                    float(entry["area"]),
                )
            )
    name = Path(image["file_name"])
    stuff = split.stuff_masks / name.with_suffix(".png") if split.stuff_masks else None
    return ImageRecord(image_id, split.images / name, image["height"], image["width"], tuple(instances), stuff)


def _valid(segmentation: Any) -> Any:
    """Without polygons of fewer than three corners."""
    if isinstance(segmentation, list):
        return [polygon for polygon in segmentation if len(polygon) >= 6 and len(polygon) % 2 == 0] or None
    return segmentation or None
