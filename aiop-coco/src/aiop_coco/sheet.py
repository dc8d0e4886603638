"""A contact sheet: images with boxes, masks, stuff and the names of classes."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from aiop_coco.categories import Categories, read_categories
from aiop_coco.images import read_image
from aiop_coco.records import ImageRecord, read_records
from aiop_coco.splits import CocoSplit
from aiop_core.errors import DataError

CELL, HEADING = 256, 16
"""Longer side of an image, and height of the line above each split, pixels."""

THING_SHARE, STUFF_SHARE = 0.5, 0.3
"""Of a mask's colour in a pixel; the rest is the image."""


def draw(splits: Sequence[CocoSplit], path: Path, count: int) -> None:
    """Write an image with a row for each split: ``count`` of its annotated images, evenly spread over it.

    Raises:
        DataError: if a file is missing or damaged, or the sheet cannot be written.
    """
    categories = read_categories(*splits)
    sheet = Image.new("RGB", (CELL * count, (CELL + HEADING) * len(splits)))
    pen = ImageDraw.Draw(sheet)
    for row, split in enumerate(splits):
        top = row * (CELL + HEADING)
        records = read_records(split, categories, keep_empty=False)
        things = sum(len(record.instances) for record in records)
        pen.text((4, top + 2), f"{split.name}: {len(records):,} annotated images, {things:,} things", fill="white")
        chosen = np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int).tolist()
        for column, index in enumerate(chosen):
            sheet.paste(drawn(records[index], categories), (column * CELL, top + HEADING))
    try:
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"the sheet {path} cannot be written ({error}); name a .png or .jpg in a folder that exists"
        ) from None


def drawn(record: ImageRecord, categories: Categories) -> Image.Image:
    """An image with what is annotated, its longer side ``CELL`` pixels."""
    pixels = read_image(record.path).astype(np.float32)
    labels: list[tuple[float, float, str, str]] = []
    if record.stuff_mask is not None and record.stuff_mask.exists():
        stuff = read_image(record.stuff_mask)[..., 0]
        for value, name in enumerate(categories.stuff, start=1):
            region = stuff == value
            if region.any():
                color = _color(len(categories.things) + value - 1, strength=0.6)
                pixels[region] += (color - pixels[region]) * STUFF_SHARE
                y, x = (float(np.median(axis)) for axis in np.nonzero(region))
                labels.append((x, y, name, "lightgray"))
    for instance in record.instances:
        mask = instance.mask(record.height, record.width)
        pixels[mask] += (_color(instance.category) - pixels[mask]) * THING_SHARE
    scale = CELL / max(record.height, record.width)
    size = (max(1, round(record.width * scale)), max(1, round(record.height * scale)))
    image = Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(image)
    for instance in record.instances:
        left, top, width, height = (scale * value for value in instance.box)
        color = _color(instance.category)
        pen.rectangle([left, top, left + width, top + height], outline=(int(color[0]), int(color[1]), int(color[2])))
        name = categories.things[instance.category]
        labels.append((left / scale, top / scale, f"{name} (crowd)" if instance.is_crowd else name, "white"))
    for x, y, name, ink in labels:
        pen.text((x * scale + 2, y * scale + 1), name, fill=ink, stroke_width=1, stroke_fill="black")
    return image


def _color(number: int, *, strength: float = 0.9) -> UInt8[np.ndarray, " 3"]:
    """A colour for each class; hues of neighbours are far apart."""
    return (255 * np.array(colorsys.hsv_to_rgb(number * 0.618 % 1, strength, 1.0))).astype(np.uint8)
