"""What a split's annotations are, in a few letters: labels of other data are not mixed with these."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiop_coco.splits import CocoSplit
from aiop_core.errors import DataError

LENGTH = 16
"""Letters of a mark."""


def mark(split: CocoSplit) -> str:
    """A digest of the split's json files that are there: ids, sizes, annotations and categories.

    It does not depend on where the files lie.

    Raises:
        DataError: if there is none, or one cannot be read.
    """
    digest = hashlib.sha256()
    paths = [path for path in (split.instances, split.panoptic) if path is not None and path.exists()]
    if not paths:
        split.part("instances" if split.instances else "panoptic")
    for path in paths:
        digest.update(_digest(path))
    return digest.hexdigest()[:LENGTH]


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); make it readable") from None
