"""A drawing as pixels, rendered from its SVG."""

from __future__ import annotations

import re

from aiop_core.errors import GraphError
from aiop_core.graph.draw.svg import FONTS

SHARP = 2.0
"""Pixels of the picture for each pixel of the SVG, where that is not too many."""

MAX_PIXELS = 60e6
"""Larger pictures are slow to open anywhere."""

_PROBE = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16"><text y="14" font-family="{FONTS}">%s</text></svg>'
)


def png(svg: str) -> bytes:
    """Render an SVG that ``svg`` made.

    Raises:
        GraphError: if the renderer is not installed, or the machine has no font to write with.
    """
    try:
        import resvg_py
    except ImportError:
        raise GraphError(
            "a .png needs resvg-py; install it with pip install 'aiop-core[png]', or draw a .svg or .html"
        ) from None
    if resvg_py.svg_to_bytes(svg_string=_PROBE % "M") == resvg_py.svg_to_bytes(svg_string=_PROBE % ""):
        raise GraphError(
            "a .png needs a font and this machine has none; install one, such as DejaVu, or draw a .svg or .html"
        )
    size = re.search(r'width="(\d+)" height="(\d+)"', svg)
    assert size is not None
    pixels = int(size[1]) * int(size[2])
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=min(SHARP, (MAX_PIXELS / pixels) ** 0.5)))
