"""A contact sheet: persons of each data set with their skeletons, as the reader gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from aiop_core.errors import DataError
from aiop_task_hpe.datasets import read_data
from aiop_task_hpe.joints import Skeleton
from aiop_task_hpe.options import DATA_SETS, Settings
from aiop_task_hpe.patches import Patch, PatchSource

CELL, HEADING = 192, 16
"""Height and width of a person, and height of the line above each data set, pixels."""

_COLORS = {"l_": (90, 170, 255), "r_": (255, 150, 40)}
_MIDDLE = (120, 230, 120)


def draw_sheet(settings: Settings, path: Path, *, count: int) -> None:
    """Write ``count`` training persons of each data set that can be read: right limbs orange, left ones blue.

    Raises:
        DataError: if there is none, an image is damaged, or the sheet cannot be written.
    """
    sources = dict(_readable(settings, count))
    if not sources:
        raise DataError(f"no data set in {settings.data_dir} can be drawn; see what is missing with 'aiop data check'")
    sheet = contact_sheet(sources, count)
    try:
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"the sheet {path} cannot be written ({error}); name a .png or .jpg in a folder that exists"
        ) from error


def contact_sheet(sources: Mapping[str, PatchSource], count: int) -> Image.Image:
    """One row for each data set, its persons evenly spread over it."""
    sheet = Image.new("RGB", (CELL * count, (CELL + HEADING) * len(sources)))
    draw = ImageDraw.Draw(sheet)
    for row, (name, source) in enumerate(sources.items()):
        top = row * (CELL + HEADING)
        draw.text((4, top + 2), f"{name}: {len(source)} training persons, {len(source.skeleton)} joints", fill="white")
        chosen = np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(int).tolist()
        for column, index in enumerate(chosen):
            sheet.paste(drawn(source.patch(index), source.skeleton), (column * CELL, top + HEADING))
    return sheet


def drawn(patch: Patch, skeleton: Skeleton) -> Image.Image:
    """A person of ``CELL`` × ``CELL`` pixels with what is annotated."""
    image = Image.fromarray(patch.image).resize((CELL, CELL), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    points = (patch.joints + 0.5) * (CELL / len(patch.image)) - 0.5
    for start, end in skeleton.limbs:
        if patch.annotated[start] and patch.annotated[end]:
            draw.line([*points[start], *points[end]], fill=_color(skeleton, start, end), width=2)
    for joint, (x, y) in enumerate(points):
        if patch.annotated[joint]:
            draw.ellipse([x - 2, y - 2, x + 2, y + 2], fill=_color(skeleton, joint, joint))
    return image


def _color(skeleton: Skeleton, start: int, end: int) -> tuple[int, int, int]:
    """That of the side on which one of the joints is; the middle's for a limb across."""
    sides = {skeleton.names[joint][:2] for joint in (start, end)} & set(_COLORS)
    return _COLORS[sides.pop()] if len(sides) == 1 else _MIDDLE


def _readable(settings: Settings, count: int) -> list[tuple[str, PatchSource]]:
    """The training persons of each data set that is there; the synthetic ones if they are chosen."""
    found: list[tuple[str, PatchSource]] = []
    for name in DATA_SETS:
        chosen = settings.data == "synthetic" if name == "synthetic" else settings.data_dir is not None
        if not chosen:
            continue
        alone = replace(settings, data=name, extension="nothing", input_size=CELL, train_images=count)
        try:
            found.append((name, read_data(alone)[0]))
        except DataError:
            continue  # check_data says why
    return found
