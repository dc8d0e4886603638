"""Stuff of the drawn data set: sky, water and ground with curved borders."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

Rng = np.random.Generator
Field = Float[np.ndarray, "size size"]
Pixels = Float[np.ndarray, "size size 3"]

STUFF = ("sky", "water", "ground")

_COLORS = {"sky": (150, 170, 195), "water": (100, 135, 155), "ground": (135, 130, 105)}
"""Mean colours (RGB): they overlap, so that texture and place must help."""

_LOOKING_DOWN = 0.15
"""Share of images without sky."""


def draw_stuff(rng: Rng, size: int) -> tuple[Pixels, UInt8[np.ndarray, "size size"]]:
    """A landscape, and the number in ``STUFF`` of each pixel's class."""
    x, y = grid(size)
    horizon = -1.0 if rng.random() < _LOOKING_DOWN else rng.uniform(0.2, 0.55)
    shore = _shore(rng, x, y, max(horizon, 0.0))
    below = np.where(shore, STUFF.index("water"), STUFF.index("ground"))
    classes = np.where(y < horizon + _wave(rng, x), STUFF.index("sky"), below).astype(np.uint8)
    layers = [_sky(rng, y), _water(rng, y), _ground(rng, size)]
    pixels = np.zeros((size, size, 3))
    for number, (name, layer) in enumerate(zip(STUFF, layers, strict=True)):
        color = np.array(_COLORS[name]) + rng.normal(0, 18) + rng.normal(0, 14, 3)
        pixels += np.where(classes == number, layer, 0)[..., None] + (classes == number)[..., None] * color
    return pixels, classes


def grid(size: int) -> tuple[Field, Field]:
    """The x and the y of each pixel's centre, from 0 to 1 over the image."""
    centre = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(centre, centre)
    return x, y


def noise(rng: Rng, size: int, cells: int) -> Field:
    """A smooth random field of standard deviation about 1; it changes about ``cells`` times across the image."""
    knots = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
    return np.asarray(knots.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)


def _wave(rng: Rng, x: Field) -> Field:
    """A curve's height along ``x``."""
    height: Any = 0.0
    for turns in (1.0, 2.5):
        height = height + rng.uniform(0.01, 0.05) * np.sin(2 * math.pi * (turns * x + rng.random()))
    return np.asarray(height)


def _shore(rng: Rng, x: Field, y: Field, horizon: float) -> np.ndarray[Any, Any]:
    """Where there is water: on one side of a slanting curve through what lies below the horizon."""
    angle = rng.uniform(0, 2 * math.pi)
    middle = horizon + (1 - horizon) * rng.uniform(0.35, 0.65)
    along = (x - rng.uniform(0.35, 0.65)) * math.cos(angle) + (y - middle) * math.sin(angle)
    across = -(x - 0.5) * math.sin(angle) + (y - middle) * math.cos(angle)
    return along > _wave(rng, across)


def _sky(rng: Rng, y: Field) -> Field:
    """Clouds, and a gradient."""
    return noise(rng, len(y), 4) * rng.uniform(5, 16) + (y - 0.3) * rng.uniform(-50, 70)


def _water(rng: Rng, y: Field) -> Field:
    """Ripples that are denser far away."""
    size = len(y)
    phase = rng.uniform(9, 16) * y**0.8 + 0.35 * noise(rng, size, 6)
    ripples: Field = np.sin(2 * math.pi * phase)
    pixels: Field = rng.uniform(12, 26) * ripples + 6 * noise(rng, size, 8)
    return pixels


def _ground(rng: Rng, size: int) -> Field:
    """Grains and patches."""
    return rng.uniform(12, 24) * noise(rng, size, 40) + rng.uniform(5, 14) * noise(rng, size, 7)
