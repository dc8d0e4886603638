"""Synthetic figures: the embedded default data set, drawn on the fly.

An articulated person with the 14 LSP joints stands in front of a textured background
with shapes, stray limbs and parts of a second person; it is tilted, scaled, lit, partly
covered, seen from the front or the back. Sides differ only in that left limbs are darker
than right ones of the same colour, which light, dyes and occlusion blur: telling them
apart needs more than a local look.

Image ``index`` depends on ``(seed, index)`` alone. Everything is drawn at twice the size
and averaged, which gives smooth edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from aiop_task_hpe.joints import LSP, Skeleton
from aiop_task_hpe.patches import Patch, digest

PROBED = 16
"""Figures whose joints are the mark of the set."""

SUPERSAMPLING = 2
LEFT_SHADE = 0.6
"""Brightness of left limbs relative to right ones: the only cue besides the pose."""

PALETTE = {"skin": (228, 178, 140), "shirt": (190, 62, 58), "trousers": (62, 84, 190)}
"""Mean colours (RGB): alike enough that a few hundred images teach what a limb is."""

TORSO_HEIGHTS = 3.2
"""A standing figure is about this many torso lengths tall."""

Rng = np.random.Generator
Points = Float[np.ndarray, "14 2"]

Limb = tuple[int, int, float, str]
"""(from joint, to joint, thickness in torso lengths, what covers it)."""

_LEGS: tuple[Limb, ...] = (
    (2, 1, 0.25, "trousers"),
    (1, 0, 0.20, "trousers"),
    (3, 4, 0.25, "trousers"),
    (4, 5, 0.20, "trousers"),
)
_ARMS: tuple[Limb, ...] = ((8, 7, 0.19, "shirt"), (7, 6, 0.15, "skin"), (9, 10, 0.19, "shirt"), (10, 11, 0.15, "skin"))

_LEFT = frozenset(i for i, name in enumerate(LSP.names) if name.startswith("l_"))


@dataclass(frozen=True)
class SyntheticFigures:
    """``count`` images of size ``size`` × ``size``, numbered from ``first``.

    Attributes:
        count: how many images there are.
        size: height and width in pixels.
        seed: another seed is another world of images.
        first: number of the first image; disjoint ranges make disjoint sets.
    """

    count: int
    size: int
    seed: int
    first: int = 0

    def __len__(self) -> int:
        return self.count

    @property
    def skeleton(self) -> Skeleton:
        """That of the Leeds Sports Pose sets."""
        return LSP

    def patch(self, index: int) -> Patch:
        """The whole image; every joint is annotated."""
        image, joints = draw_figure(np.random.default_rng((self.seed, self.first + index)), self.size)
        return Patch(image, joints, np.ones(len(joints), dtype=bool))

    def mark(self) -> str:
        """Of some figures' joints, to whole pixels: machines may differ in the last digit."""
        some = np.unique(np.linspace(0, len(self) - 1, PROBED).astype(int)).tolist()
        return digest(*(self.patch(index).joints.round().astype(np.int32).tobytes() for index in some))


def draw_figure(rng: Rng, size: int) -> tuple[UInt8[np.ndarray, "h w 3"], Points]:
    """One image and its joints as (x, y) pixels."""
    big = size * SUPERSAMPLING
    canvas = _background(rng, big)
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(2, 7))):
        _distractor(rng, draw, big)
    if rng.random() < 0.35:
        other = _place(_pose(rng), rng, big)
        side = big * rng.uniform(0.42, 0.6) * (1 if rng.random() < 0.5 else -1)
        _draw_person(rng, draw, other + np.array([side, rng.uniform(-0.2, 0.2) * big]), _torso_length(other))
    joints = _place(_pose(rng), rng, big)
    _draw_person(rng, draw, joints, _torso_length(joints))
    if rng.random() < 0.3:
        _occluder(rng, draw, joints, big)
    pixels = np.asarray(canvas.reduce(SUPERSAMPLING), dtype=np.float32)
    return _light(rng, pixels), ((joints + 0.5) / SUPERSAMPLING - 0.5).astype(np.float32)


def _turn(angle: float) -> np.ndarray[Any, Any]:
    """The unit vector that points down, turned by ``angle`` (radians, counter-clockwise on screen)."""
    return np.array([math.sin(angle), math.cos(angle)])


def _pose(rng: Rng) -> np.ndarray[Any, Any]:
    """(14, 2) joints in torso lengths around the pelvis, y pointing down."""
    tilt = math.radians(rng.normal(0, 12))
    facing = 1.0 if rng.random() < 0.6 else -1.0  # +1: seen from the front, so the right side is on the left
    width = facing * rng.uniform(0.6, 1.0)
    across = np.array([math.cos(tilt), -math.sin(tilt)]) * width
    neck = -_turn(tilt)
    points = np.zeros((14, 2))
    points[12] = neck
    points[13] = neck - _turn(tilt + math.radians(rng.normal(0, 12))) * 0.55
    for sign, hip, knee, ankle, shoulder, elbow, wrist in ((-1, 2, 1, 0, 8, 7, 6), (1, 3, 4, 5, 9, 10, 11)):
        outward = sign * facing
        points[hip] = across * sign * 0.2
        points[shoulder] = neck * 0.93 + across * sign * 0.34
        thigh = tilt * 0.5 + outward * math.radians(rng.normal(12, 22))
        shank = thigh + math.radians(rng.normal(0, 22))
        points[knee] = points[hip] + _turn(thigh) * 0.82 * rng.uniform(0.8, 1)
        points[ankle] = points[knee] + _turn(shank) * 0.8 * rng.uniform(0.8, 1)
        upper = tilt + outward * math.radians(rng.normal(35, 38))
        lower = upper + outward * math.radians(rng.normal(15, 50))
        points[elbow] = points[shoulder] + _turn(upper) * 0.58 * rng.uniform(0.8, 1)
        points[wrist] = points[elbow] + _turn(lower) * 0.52 * rng.uniform(0.8, 1)
    return points


def _place(points: np.ndarray[Any, Any], rng: Rng, size: int) -> np.ndarray[Any, Any]:
    """Turn, scale and shift a pose so that it lies within a ``size`` × ``size`` canvas."""
    angle = math.radians(rng.normal(0, 12))
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = points @ rotation.T
    low, high = points.min(axis=0), points.max(axis=0)
    scale = size * rng.uniform(0.62, 0.86) / max(float((high - low).max()), 0.8 * TORSO_HEIGHTS)
    room = (size - (high - low) * scale) / 2
    shift = size / 2 - (low + high) / 2 * scale + rng.uniform(-1, 1, 2) * np.minimum(room * 0.8, 0.12 * size)
    placed: np.ndarray[Any, Any] = points * scale + shift
    return placed


def _torso_length(joints: np.ndarray[Any, Any]) -> float:
    return float(np.linalg.norm(joints[12] - (joints[2] + joints[3]) / 2))


def _color(rng: Rng) -> np.ndarray[Any, Any]:
    """Any colour, half of the time one that a person could wear."""
    return rng.uniform(30, 235, 3) if rng.random() < 0.5 else _dye(rng, list(PALETTE)[int(rng.integers(3))])


def _dye(rng: Rng, what: str) -> np.ndarray[Any, Any]:
    return np.array(PALETTE[what]) * rng.uniform(0.65, 1.1) + rng.normal(0, 18, 3)


def _rgb(color: np.ndarray[Any, Any]) -> tuple[int, int, int]:
    r, g, b = np.clip(color, 0, 255).astype(int).tolist()
    return r, g, b


def _bone(
    draw: ImageDraw.ImageDraw,
    start: np.ndarray[Any, Any],
    end: np.ndarray[Any, Any],
    width: float,
    color: np.ndarray[Any, Any],
) -> None:
    """A limb with round ends, lit along its middle."""
    for share, shade in ((1.0, 0.8), (0.6, 1.0)):
        w, fill = width * share, _rgb(color * shade)
        draw.line([*start, *end], fill=fill, width=max(1, round(w)))
        for x, y in (start, end):
            draw.ellipse([x - w / 2, y - w / 2, x + w / 2, y + w / 2], fill=fill)


def _draw_person(rng: Rng, draw: ImageDraw.ImageDraw, joints: np.ndarray[Any, Any], unit: float) -> None:
    cover = {what: _dye(rng, what) for what in PALETTE}
    skin = cover["skin"]
    stout = unit * rng.uniform(0.8, 1.25)
    arms_in_front = rng.random() < 0.7
    if not arms_in_front:
        _limbs(draw, joints, _ARMS + _LEGS, cover, stout)
    _torso(rng, draw, joints, unit, cover["shirt"])
    if arms_in_front:
        _limbs(draw, joints, _LEGS + _ARMS, cover, stout)
    neck, top = joints[12], joints[13]
    centre, radius = neck + (top - neck) * 0.58, np.linalg.norm(top - neck) * 0.42
    draw.line([*neck, *centre], fill=_rgb(skin * 0.85), width=max(1, round(0.16 * unit)))
    draw.ellipse([*(centre - radius), *(centre + radius)], fill=_rgb(skin))


def _limbs(
    draw: ImageDraw.ImageDraw,
    joints: np.ndarray[Any, Any],
    limbs: tuple[Limb, ...],
    cover: dict[str, np.ndarray[Any, Any]],
    unit: float,
) -> None:
    for start, end, width, what in limbs:
        shade = LEFT_SHADE if start in _LEFT else 1.0
        _bone(draw, joints[start], joints[end], width * unit, cover[what] * shade)


def _torso(
    rng: Rng, draw: ImageDraw.ImageDraw, joints: np.ndarray[Any, Any], unit: float, color: np.ndarray[Any, Any]
) -> None:
    corners = joints[[8, 9, 3, 2]]
    outline = [tuple(p) for p in corners]
    draw.polygon(outline, fill=_rgb(color * 0.9))
    draw.line([*outline, outline[0]], fill=_rgb(color * 0.9), width=max(1, round(0.16 * unit)))
    if rng.random() < 0.5:
        stripe = _rgb(_color(rng))
        for t in np.arange(0.15, 0.95, rng.uniform(0.15, 0.35)):
            left, right = corners[0] * (1 - t) + corners[3] * t, corners[1] * (1 - t) + corners[2] * t
            draw.line([*left, *right], fill=stripe, width=max(1, round(0.05 * unit)))


def _background(rng: Rng, size: int) -> Image.Image:
    """Coarse and fine random texture in two colours."""
    coarse, fine = int(rng.integers(2, 6)), int(rng.integers(8, 24))
    base = rng.uniform(50, 190) + rng.normal(0, 12, 3)
    texture = base + rng.normal(0, 30, (coarse, coarse, 3))
    image = Image.fromarray(np.clip(texture, 0, 255).astype(np.uint8)).resize((size, size), Image.Resampling.BILINEAR)
    detail = np.clip(base + rng.normal(0, 45, (fine, fine, 1)) + np.zeros(3), 0, 255).astype(np.uint8)
    other = Image.fromarray(detail).resize((size, size), Image.Resampling.BILINEAR)
    return Image.blend(image, other, float(rng.uniform(0.1, 0.5)))


def _distractor(rng: Rng, draw: ImageDraw.ImageDraw, size: int) -> None:
    """A box, a disc, or something that looks like a limb."""
    x, y = rng.uniform(0, size, 2)
    kind = rng.integers(3)
    fill = _color(rng)
    if kind == 2:
        start = np.array([x, y])
        length = size * rng.uniform(0.1, 0.3)
        _bone(draw, start, start + _turn(rng.uniform(0, 2 * math.pi)) * length, size * rng.uniform(0.02, 0.06), fill)
        return
    w, h = size * rng.uniform(0.03, 0.18, 2)
    (draw.rectangle if kind == 0 else draw.ellipse)([x - w, y - h, x + w, y + h], fill=_rgb(fill))


def _occluder(rng: Rng, draw: ImageDraw.ImageDraw, joints: np.ndarray[Any, Any], size: int) -> None:
    """Something in front of the person, near one of its joints."""
    x, y = joints[int(rng.integers(14))] + rng.normal(0, 0.05 * size, 2)
    w, h = size * rng.uniform(0.04, 0.1, 2)
    (draw.rectangle if rng.random() < 0.5 else draw.ellipse)([x - w, y - h, x + w, y + h], fill=_rgb(_color(rng)))


def _light(rng: Rng, pixels: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """A gradient of light, contrast and sensor noise."""
    h, w = pixels.shape[:2]
    slope = rng.normal(0, 0.15, 2)
    gain = rng.uniform(0.75, 1.2) + slope[0] * np.linspace(-1, 1, h)[:, None] + slope[1] * np.linspace(-1, 1, w)
    noise = rng.integers(-12, 13, pixels.shape, dtype=np.int16)
    lit: np.ndarray[Any, Any] = np.clip(pixels * gain[..., None].astype(np.float32) + noise, 0, 255).astype(np.uint8)
    return lit
