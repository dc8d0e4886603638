"""Images of noise."""

from __future__ import annotations

import torch
from torch import Tensor

CHANNEL_CORRELATION = 0.9
"""Between the colours of pink noise; about that of red, green and blue in photographs."""


def noise(kind: str, count: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """``count`` inputs of (channels, height, width) with mean 0 and deviation 1 in all.

    White noise has no structure; pink noise has the spectrum of photographs, whose amplitude
    falls as 1 / frequency, and colours that go together. What is no image gets white noise.

    Source: Field, "Relations between the statistics of natural images and the response
    properties of cortical cells", 1987.
    """
    own = torch.randn(count, *shape, generator=generator)
    if kind == "white" or len(shape) != 3:
        return own
    shared = torch.randn(count, 1, *shape[1:], generator=generator)
    mixed = CHANNEL_CORRELATION**0.5 * shared + (1 - CHANNEL_CORRELATION) ** 0.5 * own
    pink: Tensor = torch.fft.irfft2(torch.fft.rfft2(mixed) * _falling(*shape[1:]), s=shape[1:])
    return (pink - pink.mean()) / pink.std()


def _falling(height: int, width: int) -> Tensor:
    """1 / frequency for each wave of a real image; the mean has the lowest other frequency."""
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :])
    return 1 / frequency.clamp(min=1 / max(height, width))
