"""COCO's json files, checked before anything relies on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from aiop_coco.splits import PUBLISHED
from aiop_core.errors import DataError

Kind = Literal["instances", "panoptic"]

_KEYS: Mapping[Kind, Mapping[str, frozenset[str]]] = {
    "instances": {
        "images": frozenset({"id", "file_name", "height", "width"}),
        "annotations": frozenset({"id", "image_id", "category_id", "bbox", "area", "iscrowd"}),
        "categories": frozenset({"id", "name"}),
    },
    "panoptic": {
        "images": frozenset({"id", "file_name", "height", "width"}),
        "annotations": frozenset({"image_id", "file_name", "segments_info"}),
        "categories": frozenset({"id", "name", "isthing"}),
    },
}
"""What each entry of a list in a json file must hold, for the evaluators of COCO too."""


def read_annotations(path: Path, kind: Kind) -> dict[str, Any]:
    """The content of a json file in one of COCO's formats.

    Raises:
        DataError: if it is missing, damaged, or lacks something, naming what.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); put COCO's {kind} json there: {PUBLISHED}"
        ) from None
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); replace it by the original: {PUBLISHED}") from None
    lack = _lack(content, kind)
    if lack:
        raise DataError(f"{path} is not in COCO's {kind} format: {lack}; what it must hold: {_FORMAT}")
    return dict(content)


_FORMAT = "https://cocodataset.org/#format-data"


def _lack(content: Any, kind: Kind) -> str:
    """What is missing, in words; empty if nothing is."""
    if not isinstance(content, dict):
        return "it is no object with images, annotations and categories"
    for name, keys in _KEYS[kind].items():
        if not isinstance(content.get(name), list):
            return f"it has no list '{name}'"
        for number, entry in enumerate(content[name]):
            missing = keys - entry.keys() if isinstance(entry, dict) else keys
            if missing:
                return f"entry {number} of '{name}' has no '{min(missing)}'"
    for number, entry in enumerate(content["annotations"]):
        if any("iscrowd" not in segment for segment in entry.get("segments_info", ())):
            return f"a segment of entry {number} of 'annotations' has no 'iscrowd'"
    for name in ("images", "categories"):
        if not content[name]:
            return f"its list '{name}' is empty"
    return ""
