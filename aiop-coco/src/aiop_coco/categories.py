"""The classes of things and stuff, and the numbers that stand for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from aiop_coco.annotations import Kind, read_annotations
from aiop_coco.splits import CocoSplit
from aiop_core.errors import DataError


@dataclass(frozen=True)
class Categories:
    """The classes of a data set.

    Attributes:
        things: names, in the order of the data set's ids.
        stuff: names, in the order of the data set's ids.
        thing_ids: from the data set's id to 0, 1, …
        stuff_ids: from the data set's id to 1, 2, …, the values in stuff masks, where 0 is any thing.
    """

    things: tuple[str, ...]
    stuff: tuple[str, ...]
    thing_ids: Mapping[int, int]
    stuff_ids: Mapping[int, int]


@dataclass(frozen=True)
class Category:
    """An entry of a json file's list of categories."""

    id: int
    name: str
    is_thing: bool


def read_categories(*splits: CocoSplit) -> Categories:
    """The classes that all ``splits`` have, by those of their json files that are there.

    Raises:
        DataError: if a file is damaged, not in COCO's format, or of other classes than another.
    """
    boxed = _listed((split.instances for split in splits), "instances")
    whole = _listed((split.panoptic for split in splits), "panoptic")
    segmented = [(path, [c for c in listed if c.is_thing]) for path, listed in whole]
    things = _same([*boxed, *segmented])
    stuff = _same([(path, [c for c in listed if not c.is_thing]) for path, listed in whole])
    return Categories(
        tuple(category.name for category in things),
        tuple(category.name for category in stuff),
        {category.id: number for number, category in enumerate(things)},
        {category.id: number for number, category in enumerate(stuff, start=1)},
    )


Listed = tuple[Path, list[Category]]


def _listed(paths: Iterable[Path | None], kind: Kind) -> list[Listed]:
    """The categories in each file that is there."""
    there = (path for path in paths if path is not None and path.exists())
    return [(path, list(_read(path, path.stat().st_mtime_ns, kind))) for path in there]


def _same(files: list[Listed]) -> list[Category]:
    """The categories of all files, which must not differ."""
    for path, found in files[1:]:
        odd = sorted({(c.id, c.name) for c in found} ^ {(c.id, c.name) for c in files[0][1]})
        if odd:
            raise DataError(
                f"{path} and {files[0][0]} differ in category {odd[0][0]} ('{odd[0][1]}'); "
                "both must list the same ids and names: take files of one data set"
            )
    return files[0][1] if files else []


@lru_cache(maxsize=16)
def _read(path: Path, _changed: int, kind: Kind) -> tuple[Category, ...]:
    """The categories in a file, by their ids; COCO's files take seconds, so that they are read once."""
    listed = read_annotations(path, kind)["categories"]
    by_id = {int(c["id"]): Category(int(c["id"]), str(c["name"]), bool(c.get("isthing", True))) for c in listed}
    if len(by_id) < len(listed):
        raise DataError(f"{path} gives several categories one id; give each its own")
    return tuple(by_id[number] for number in sorted(by_id))
