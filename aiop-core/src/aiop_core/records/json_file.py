"""JSON files, written in one piece."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiop_core.errors import StoreError
from aiop_core.records.whole_files import replacing


def finite_json(value: Any) -> Any:
    """``value`` with ``null`` for numbers that JSON cannot hold, such as an undefined correlation."""
    if isinstance(value, Mapping):
        return {key: finite_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file; a writer that is killed or fails leaves the old one.

    Raises:
        StoreError: if it cannot be written, such as on a full disk.
    """
    try:
        with replacing(path) as part:
            part.write_text(json.dumps(finite_json(value), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}; mend that and run the same command again"
        ) from None
