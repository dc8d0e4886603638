"""Reading images, and telling damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from aiop_core.errors import DataError

UNREADABLE = (OSError, SyntaxError, ValueError)
"""What Pillow raises for files that are missing, damaged or no images."""

_ENDS = {".jpg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}
"""The last bytes of a whole image, by its file's suffix."""


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels (RGB) of an image.

    Raises:
        DataError: if it is missing or damaged.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing; see what else is with 'aiop data check'") from None
    except UNREADABLE as error:
        raise DataError(f"{path} is damaged ({error}); replace it by the original") from None


def fault(path: Path, height: int, width: int) -> str:
    """What is wrong with a file that should hold an image of that size, in words; empty if nothing is.

    Most are told by their first and last bytes alone.
    """
    try:
        with Image.open(path) as image, path.open("rb") as raw:
            if image.size != (width, height):
                return f"is {image.size[0]} × {image.size[1]} pixels, not {width} × {height}"
            end = _ENDS.get(path.suffix.lower(), b"\0")
            raw.seek(-len(end), 2)
            if raw.read() != end:
                image.load()
    except UNREADABLE:
        return "is damaged"
    return ""
