"""What of a data set in COCO's layout is there, what is damaged, and where it is published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aiop_coco.annotations import Kind, read_annotations
from aiop_coco.categories import read_categories
from aiop_coco.images import fault
from aiop_coco.splits import PUBLISHED, CocoSplit, coco2017
from aiop_core.capabilities import Finding
from aiop_core.errors import DataError

OPENED = 2000
"""Files of a folder that are opened, evenly spread; all of COCO's would take minutes."""


@dataclass(frozen=True)
class Listed:
    """A file that a json file lists."""

    name: str
    height: int
    width: int


def find_coco(root: Path, *, things: bool = True, stuff: bool = True) -> list[Finding]:
    """Everything that detectron2's layout of COCO 2017 holds, found or not.

    Args:
        root: the folder that holds ``coco/``, or ``coco/`` itself.
        things: whether boxes and masks of things are required.
        stuff: whether panoptic annotations are required.
    """
    splits = coco2017(root)
    found = [finding for split in splits for finding in _find_split(split, things=things, stuff=stuff)]
    return [*found, _find_categories(splits, required=things or stuff)]


def _find_split(split: CocoSplit, *, things: bool, stuff: bool) -> Iterator[Finding]:
    parts = (split.instances, split.panoptic, split.panoptic_masks, split.stuff_masks)
    instances, panoptic, panoptic_masks, stuff_masks = (part for part in parts if part is not None)  # all are
    boxes, boxed = _find_json(instances, "instances", required=things)
    segments, segmented = _find_json(panoptic, "panoptic", required=stuff)
    images, masks = _images(boxed or segmented), _masks(segmented)
    yield _find_files("images", split.images, images, required=things or stuff)
    yield boxes
    yield segments
    yield _find_files("panoptic PNG files", panoptic_masks, masks, required=stuff)
    yield _find_stuff(stuff_masks, masks, required=stuff)


def _find_json(path: Path, kind: Kind, *, required: bool) -> tuple[Finding, dict[str, Any] | None]:
    """What a json file holds, and its content if nothing is wrong with it."""
    name = f"{path.parent.name}/{path.name}"
    try:
        content = read_annotations(path, kind)
        _check_references(path, content)
    except DataError as error:
        return Finding(name, path, None, str(error), required), None
    counts = {what: len(content[what]) for what in ("images", "annotations", "categories")}
    counts["images without annotations"] = len(
        {image["id"] for image in content["images"]} - {entry["image_id"] for entry in content["annotations"]}
    )
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return Finding(name, path, told, required=required), content


def _check_references(path: Path, content: dict[str, Any]) -> None:
    """Raise if annotations are of an image or a category that is not listed."""
    images, categories = ({entry["id"] for entry in content[key]} for key in ("images", "categories"))
    for entry in content["annotations"]:
        for part in entry.get("segments_info", [entry]):
            odd = [("image", entry["image_id"])] if entry["image_id"] not in images else []
            odd += [("category", part["category_id"])] if part.get("category_id") not in categories else []
            if odd:
                raise DataError(
                    f"{path} has an annotation of {odd[0][0]} {odd[0][1]}, which it does not list; "
                    f"replace it by the original: {PUBLISHED}"
                )


def _images(content: dict[str, Any] | None) -> list[Listed]:
    images = content["images"] if content else ()
    return [Listed(image["file_name"], image["height"], image["width"]) for image in images]


def _masks(content: dict[str, Any] | None) -> list[Listed]:
    """The PNG files that a panoptic json file lists."""
    if content is None:
        return []
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    return [Listed(entry["file_name"], *sizes[entry["image_id"]]) for entry in content["annotations"]]


def _find_files(what: str, folder: Path, listed: Sequence[Listed], *, required: bool) -> Finding:
    """How many of the listed files there are, and whether those that are opened are whole."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")} if folder.is_dir() else set()
    missing = [file.name for file in listed if file.name not in names]
    if not listed:
        advice = f"the json file that lists the {what} in {folder} comes first; both are published at {PUBLISHED}"
    elif missing:
        count, first = f"{len(missing):,} of {len(listed):,} {what} are missing", folder / missing[0]
        advice = f"{count}, the first {first}; put them there: {PUBLISHED}"
    else:
        advice = _faults(what, folder, listed)
    told = None if advice else f"{len(listed):,} of {len(listed):,} {what}"
    return Finding(folder.name, folder, told, advice, required)


def _faults(what: str, folder: Path, listed: Sequence[Listed]) -> str:
    """How many of the files are damaged or of a wrong size, in words; empty if none is."""
    spread = np.linspace(0, len(listed) - 1, min(OPENED, len(listed))).round().astype(int)
    opened = [listed[index] for index in np.unique(spread)]
    told = [(file.name, fault(folder / file.name, file.height, file.width)) for file in opened]
    faults = [(name, text) for name, text in told if text]
    if not faults:
        return ""
    (name, text), count = faults[0], f"{len(faults):,} of {len(opened):,} {what} that were opened are faulty"
    return f"{count}, the first: {folder / name} {text}; replace them by the originals: {PUBLISHED}"


def _find_stuff(folder: Path, masks: Sequence[Listed], *, required: bool) -> Finding:
    """Stuff masks, which can be made if they are not there."""
    if not masks:
        advice = f"the panoptic json file comes first: the masks in {folder} are made from the panoptic files"
        return Finding(folder.name, folder, None, advice, required)
    there = sum((folder / file.name).exists() for file in masks)
    rest = "" if there == len(masks) else "; made from the panoptic files at first use"
    return Finding(folder.name, folder, f"{there:,} of {len(masks):,} stuff masks{rest}", required=required)


def _find_categories(splits: tuple[CocoSplit, ...], *, required: bool) -> Finding:
    """Whether the json files that can be read speak of the same classes."""
    folder = splits[0].images.parent / "annotations"
    try:
        found = read_categories(*splits)
    except DataError as error:
        return Finding("categories", folder, None, str(error), required)
    if not found.things + found.stuff:
        return Finding("categories", folder, None, f"no json file in {folder}: {PUBLISHED}", required)
    return Finding(
        "categories", folder, f"{len(found.things)} of things, {len(found.stuff)} of stuff", required=required
    )
