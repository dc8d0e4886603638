"""Polygons around masks, along the edges of their pixels, so that nothing is lost either way."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

Loop = list[tuple[int, int]]
"""The corners (x, y) of a closed curve."""


def outlines(mask: Bool[np.ndarray, "h w"]) -> list[Loop]:
    """The closed curves around the parts of a mask, and around its holes.

    Parts are clockwise on screen, holes are the other way round. Pixels that only touch at
    a corner belong to different parts. A mask without holes is what COCO's API makes of its curves.
    """
    edges = _edges(mask)
    loops = []
    while edges:
        x, y, dx, dy = start = min(edges)
        loop = []
        while True:
            edges.remove((x, y, dx, dy))
            before = dx, dy
            x, y = x + dx, y + dy
            for turn in ((-dy, dx), (dx, dy), (dy, -dx)):  # to the right first: that stays at the same part
                if (x, y, *turn) in edges or (x, y, *turn) == start:
                    dx, dy = turn
                    break
            if (dx, dy) != before:
                loop.append((x, y))
            if (x, y, dx, dy) == start:
                break
        loops.append(loop)
    return loops


def has_hole(mask: Bool[np.ndarray, "h w"]) -> bool:
    """Whether something else is seen through a mask."""
    return any(_is_hole(loop) for loop in outlines(mask))


def _edges(mask: Bool[np.ndarray, "h w"]) -> set[tuple[int, int, int, int]]:
    """The sides of pixels where a mask ends, as (x, y, dx, dy), the mask on their right."""
    wide = np.pad(mask, 1)
    inside = wide[1:-1, 1:-1]
    sides = (
        (wide[:-2, 1:-1], (0, 0), (1, 0)),
        (wide[1:-1, 2:], (1, 0), (0, 1)),
        (wide[2:, 1:-1], (1, 1), (-1, 0)),
        (wide[1:-1, :-2], (0, 1), (0, -1)),
    )
    edges = set()
    for neighbour, (right, down), step in sides:
        y, x = np.nonzero(inside & ~neighbour)
        edges |= {(i + right, j + down, *step) for i, j in zip(x.tolist(), y.tolist(), strict=True)}
    return edges


def _is_hole(loop: Loop) -> bool:
    """Whether a curve is counter-clockwise on screen."""
    x, y = np.array(loop).T
    return bool(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) < 0)
