"""From patches to network inputs and target heat maps, a batch at a time.

One affine map per image does scale, rotation, mirroring and the cut to the input's size;
the joints go through the same map. Mirroring also swaps left and right.

Source: the hourglass conventions (scale 1 ± 0.25, rotation ± 30° for 60 % of the images,
mirror half of them), as in pytorch-pose-hg-3d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from aiop_task_hpe.patches import Patches

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""ImageNet's, which the published backbones were trained with (RGB)."""

ROTATED_SHARE = 0.6
"""Share of the images that are turned at all (pytorch-pose-hg-3d)."""


@dataclass(frozen=True)
class Strength:
    """How much images are changed: chance, deviation around 1, degrees, share of a channel's gain."""

    flip: float = 0.0
    scale: float = 0.0
    rotation: float = 0.0
    color: float = 0.0


@dataclass(frozen=True)
class Change:
    """What is done to each image of a batch.

    Attributes:
        flip: mirror the patch first.
        scale: the cut is this much larger than the input.
        angle: radians, the content turns clockwise on screen.
        gain: per channel.
    """

    flip: Bool[Tensor, " n"]
    scale: Float[Tensor, " n"]
    angle: Float[Tensor, " n"]
    gain: Float[Tensor, "n 3 1 1"]

    @classmethod
    def none(cls, n: int) -> Change:
        """The change that leaves everything as it is."""
        return cls(torch.zeros(n, dtype=torch.bool), torch.ones(n), torch.zeros(n), torch.ones(n, 3, 1, 1))

    @classmethod
    def draw(cls, n: int, strength: Strength, generator: torch.Generator) -> Change:
        """Random changes; normal ones are clipped at one deviation (scale) and two (rotation)."""
        scale = 1 + strength.scale * torch.randn(n, generator=generator).clamp(-1, 1)
        angle = math.radians(strength.rotation) * torch.randn(n, generator=generator).clamp(-2, 2)
        turned = torch.rand(n, generator=generator) < ROTATED_SHARE
        return cls(
            torch.rand(n, generator=generator) < strength.flip,
            scale,
            angle * turned,
            1 + strength.color * (2 * torch.rand(n, 3, 1, 1, generator=generator) - 1),
        )


def cut(patches: Patches, change: Change, size: int) -> Patches:
    """The middle ``size`` × ``size`` pixels of each patch after ``change``.

    Joints that leave the image count as not annotated.
    """
    extent = patches.images.shape[-1]
    patches = mirrored(patches, change.flip)
    cos, sin = torch.cos(change.angle), torch.sin(change.angle)
    rotation = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    joints = ((patches.joints - (extent - 1) / 2) @ rotation.mT) / change.scale[:, None, None] + (size - 1) / 2
    identity = size == extent and bool((change.scale == 1).all()) and bool((change.angle == 0).all())
    images = patches.images if identity else _resample(patches.images, rotation, change.scale, size)
    inside = ((joints > -0.5) & (joints < size - 0.5)).all(dim=-1)
    images = (images * change.gain).clamp(0, 255).round().to(torch.uint8)
    return Patches(images, joints, patches.annotated & inside, patches.heads / change.scale, patches.skeleton)


def _resample(
    images: UInt8[Tensor, "n 3 h w"], rotation: Float[Tensor, "n 2 2"], scale: Float[Tensor, " n"], size: int
) -> Float[Tensor, "n 3 size size"]:
    """Bilinear, black outside."""
    n, extent = len(images), images.shape[-1]
    steps = torch.arange(size) - (size - 1) / 2
    target = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(1, -1, 2)
    source = (target @ rotation) * scale[:, None, None]
    grid = (source / ((extent - 1) / 2)).reshape(n, size, size, 2)
    return nn.functional.grid_sample(images.float(), grid, mode="bilinear", align_corners=True)


def mirrored(patches: Patches, flip: Bool[Tensor, " n"]) -> Patches:
    """Mirror the images that ``flip`` says; their left joints become right ones."""
    images, joints, annotated = patches.images, patches.joints, patches.annotated
    order = list(patches.skeleton.flip)
    turned = joints[:, order] * joints.new_tensor([-1.0, 1.0]) + joints.new_tensor([images.shape[-1] - 1.0, 0.0])
    return Patches(
        torch.where(flip[:, None, None, None], images.flip(-1), images),
        torch.where(flip[:, None, None], turned, joints),
        torch.where(flip[:, None], annotated[:, order], annotated),
        patches.heads,
        patches.skeleton,
    )


def normalised(images: UInt8[Tensor, "n 3 h w"], device: str) -> Float[Tensor, "n 3 h w"]:
    """What a network reads: zero mean, unit deviation, channels last in memory."""
    there = images.to(device, memory_format=torch.channels_last)
    mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
    deviation = torch.tensor(DEVIATION, device=device).view(1, 3, 1, 1)
    return (there.float() / 255 - mean) / deviation


def heat_maps(
    joints: Float[Tensor, "n joints 2"], *, size: int, stride: int, sigma: float
) -> Float[Tensor, "n joints h w"]:
    """Gaussians of height 1 around the joints.

    Their centres are not rounded to whole pixels, unlike the hourglass code's.

    Args:
        joints: in input pixels.
        size: of the input, pixels.
        stride: input pixels per heat-map pixel.
        sigma: in heat-map pixels.
    """
    centres = torch.arange(size // stride) * stride + (stride - 1) / 2
    across = torch.exp(-(((centres - joints[..., 0:1]) / (stride * sigma)) ** 2) / 2)
    down = torch.exp(-(((centres - joints[..., 1:2]) / (stride * sigma)) ** 2) / 2)
    return down[..., :, None] * across[..., None, :]
