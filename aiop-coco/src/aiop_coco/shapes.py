"""Things of the drawn data set: shapes that differ in outline, mostly in texture, and now and then in colour."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from aiop_coco.scenery import Field, Pixels, Rng, grid, noise

THINGS = ("ball", "crate", "tent", "flower")

DIAMETERS = (0.17, 0.6)
"""The smallest and the largest, as shares of the image's side."""

OWN_TEXTURE = 0.75
"""How often a thing has the texture of its class; else that of any."""

HUES = (0.0, 0.13, 0.62, 0.83)
"""Of the classes, as in ``colorsys``."""

OWN_HUE = 0.5
"""How often a thing has the hue of its class; else that of any."""


@dataclass(frozen=True)
class Shape:
    """A thing in an image.

    Attributes:
        kind: its number in ``THINGS``.
        inside: how far each pixel is inside its outline, pixels; negative outside.
        pixels: its look, everywhere.
    """

    kind: int
    inside: Field
    pixels: Pixels


def draw_shape(rng: Rng, size: int) -> Shape:
    """A thing of any class, somewhere in a square image."""
    kind = int(rng.integers(len(THINGS)))
    low, high = np.log(DIAMETERS)
    radius = math.exp(rng.uniform(low, high)) / 2
    middle = rng.uniform(0.7 * radius, 1 - 0.7 * radius, 2)
    angle = math.radians(rng.uniform(-25, 25))
    x, y = grid(size)
    x, y = (x - middle[0]) / radius, (y - middle[1]) / radius
    u = (x * math.cos(angle) + y * math.sin(angle)) / rng.uniform(0.8, 1.0)
    v = y * math.cos(angle) - x * math.sin(angle)
    inside = -_outline(THINGS[kind], u, v) * radius * size
    texture, hue = (kind if rng.random() < own else int(rng.integers(len(THINGS))) for own in (OWN_TEXTURE, OWN_HUE))
    pattern = _pattern(THINGS[texture], u, v, float(rng.random()))
    return Shape(kind, inside, _paint(rng, HUES[hue], pattern, inside))


def draw_stone(rng: Rng, size: int) -> tuple[Field, Pixels]:
    """Something grey without a class: how far inside of it each pixel is, and its look."""
    x, y = grid(size)
    radius = rng.uniform(0.03, 0.09)
    u, v = (x - rng.random()) / radius, (y - rng.random()) / radius
    inside = (1 + rng.uniform(0.05, 0.2) * np.sin(3 * np.arctan2(v, u)) - np.hypot(u, v / 0.7)) * radius * size
    shade = rng.uniform(60, 190) + 12 * noise(rng, size, 24) - 25 * v.clip(-1, 1)
    return inside, shade[..., None] + np.zeros(3)


def _outline(name: str, u: Field, v: Field) -> Field:
    """How far outside of a shape of radius 1 a point is, about; negative inside."""
    outside: Field
    if name == "ball":
        outside = np.hypot(u, v) - 0.95
    elif name == "crate":
        outside = np.maximum(np.abs(u), np.abs(v)) - 0.8
    elif name == "tent":
        slope = math.radians(30)
        sides = np.abs(u) * math.cos(slope) - (v + 0.25) * math.sin(slope)
        outside = np.maximum(sides - 0.35, v - 0.75)
    else:
        outside = 0.8 * (np.hypot(u, v) - 0.78 - 0.2 * np.cos(5 * np.arctan2(u, -v)))
    return outside


def _pattern(name: str, u: Field, v: Field, phase: float) -> Field:
    """From -1 to 1: rings, planks, squares, or rays."""
    turn = 2 * math.pi
    pattern: Field
    if name == "ball":
        pattern = np.sin(turn * (2.2 * np.hypot(u, v) + phase))
    elif name == "crate":
        pattern = np.sin(turn * (1.8 * v + phase))
    elif name == "tent":
        pattern = np.sign(np.sin(turn * (1.3 * u + phase)) * np.sin(turn * (1.3 * v + phase)))
    else:
        pattern = np.cos(10 * np.arctan2(u, -v) + turn * phase)
    return pattern


def _paint(rng: Rng, hue: float, pattern: Field, inside: Field) -> Pixels:
    """A pattern in two shades of a strong colour, with a rim."""
    shifted = (hue + rng.normal(0, 0.03)) % 1
    color = 255 * np.array(colorsys.hsv_to_rgb(shifted, rng.uniform(0.55, 0.95), rng.uniform(0.55, 1.0)))
    rim: Float[np.ndarray, " 1"] = np.where(inside < 1.5, rng.uniform(0.35, 0.7), 1.0)
    look: np.ndarray[Any, Any] = color * rim[..., None] + (pattern * rng.uniform(18, 42))[..., None]
    return look
