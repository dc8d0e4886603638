"""Images of the drawn data set with all that is annotated, from an explicit stream of random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8, UInt32

from aiop_coco.outlines import has_hole
from aiop_coco.scenery import STUFF, Field, Pixels, Rng, draw_stuff
from aiop_coco.shapes import THINGS, Shape, draw_shape, draw_stone

MOST = 4
"""Things in an image."""

TRIES = 6
"""Places that are tried for each of them."""

VISIBLE = 0.5
"""A thing of which less than this share is seen would be hardly visible: what covers it is drawn elsewhere."""

STONES = 3
"""At most so many are in an image; nothing is annotated there."""

UNNAMED = 255
"""The class of pixels that are not annotated."""

SMALLEST_THING, SMALLEST_STUFF = 0.007, 0.03
"""Shares of the image: more than that must be seen of a thing, and of stuff that is annotated."""


@dataclass(frozen=True)
class Segment:
    """A thing, or a region of stuff.

    Attributes:
        id: the value of its pixels in ``Scene.ids``.
        name: of its class.
        is_thing: whether it is one.
        mask: what is seen of it.
    """

    id: int
    name: str
    is_thing: bool
    mask: Bool[np.ndarray, "h w"]

    @property
    def box(self) -> list[int]:
        """Left, top, width and height in whole pixels."""
        columns, rows = (np.flatnonzero(self.mask.any(axis=axis)) for axis in (0, 1))
        left, top = int(columns[0]), int(rows[0])
        return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]

    @property
    def area(self) -> int:
        """In pixels."""
        return int(self.mask.sum())


@dataclass(frozen=True)
class Scene:
    """An image and its segments; pixels of ``ids`` that are 0 are not annotated."""

    image: UInt8[np.ndarray, "h w 3"]
    ids: UInt32[np.ndarray, "h w"]
    segments: tuple[Segment, ...]


def draw_scene(rng: Rng, size: int) -> Scene:
    """A landscape with one to four things, of which nearer ones partly cover others."""
    pixels, classes = draw_stuff(rng, size)
    for _ in range(int(rng.integers(STONES + 1))):
        inside, look = draw_stone(rng, size)
        pixels = _cover(pixels, inside, look)
        classes[inside > 0] = UNNAMED
    shapes: list[Shape] = []
    for _ in range(int(rng.integers(1, MOST + 1))):
        for _ in range(TRIES):
            shape = draw_shape(rng, size)
            if _all_seen([*shapes, shape]):
                shapes.append(shape)
                break
    for shape in shapes:
        pixels = _cover(pixels, shape.inside, shape.pixels)
    ids, segments = _segments(_seen(shapes), [THINGS[shape.kind] for shape in shapes], classes)
    return Scene(_light(rng, pixels), ids, tuple(segments))


def _cover(pixels: Pixels, inside: Field, look: Pixels) -> Pixels:
    """Draw over an image, with smooth edges."""
    opaque = np.clip(0.5 + inside, 0, 1)[..., None]
    return pixels * (1 - opaque) + look * opaque


def _seen(shapes: Sequence[Shape]) -> list[Bool[np.ndarray, "h w"]]:
    """What is seen of each, the last being in front."""
    masks: list[Bool[np.ndarray, "h w"]] = []
    for shape in shapes:
        mask = shape.inside > 0
        masks = [*(other & ~mask for other in masks), mask]
    return masks


def _all_seen(shapes: Sequence[Shape]) -> bool:
    """Whether enough is seen of each, in a form that polygons can describe."""
    whole = (int((shape.inside > 0).sum()) for shape in shapes)
    return all(
        int(mask.sum()) >= max(VISIBLE * full, SMALLEST_THING * mask.size) and not has_hole(mask)
        for mask, full in zip(_seen(shapes), whole, strict=True)
    )


def _segments(
    things: Sequence[Bool[np.ndarray, "h w"]], names: Sequence[str], classes: UInt8[np.ndarray, "h w"]
) -> tuple[UInt32[np.ndarray, "h w"], list[Segment]]:
    free = ~np.any([np.zeros(classes.shape, dtype=bool), *things], axis=0)
    regions = [(name, False, free & (classes == number)) for number, name in enumerate(STUFF)]
    regions = [region for region in regions if region[2].sum() >= SMALLEST_STUFF * classes.size]
    found = [(name, True, mask) for name, mask in zip(names, things, strict=True)] + regions
    ids = np.zeros(classes.shape, dtype=np.uint32)
    segments = []
    for number, (name, is_thing, mask) in enumerate(found, start=1):
        segment = Segment(number * 0x9E3779 & 0xFFFFFF, name, is_thing, mask)  # colours that eyes can tell apart
        ids[mask] = segment.id
        segments.append(segment)
    return ids, segments


def _light(rng: Rng, pixels: Pixels) -> UInt8[np.ndarray, "h w 3"]:
    """A gradient of light, contrast and sensor noise."""
    size = len(pixels)
    slope = rng.normal(0, 0.12, 2)
    ramp: Float[np.ndarray, " w"] = np.linspace(-1, 1, size)
    gain = rng.uniform(0.8, 1.15) + slope[0] * ramp[:, None] + slope[1] * ramp
    grain = rng.normal(0, 6, pixels.shape)
    lit: np.ndarray[Any, Any] = np.clip(pixels * gain[..., None] + grain, 0, 255).astype(np.uint8)
    return lit
