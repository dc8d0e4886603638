"""Mean and deviation of features over bodies that come one after the other, and draws from them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


class Moments:
    """Running mean and deviation (Welford's), apart for each image of a batch.

    Memory does not grow with the number of bodies.

    Args:
        images: how many there are in the batch.
    """

    def __init__(self, images: int) -> None:
        self._bodies = torch.zeros(images)
        self._means: list[Tensor] = []
        self._squares: list[Tensor] = []

    def add(self, features: Sequence[Tensor]) -> None:
        """Count in one body's levels, each of shape (images, …)."""
        if not self._means:
            self._means = [torch.zeros_like(x, dtype=torch.float32) for x in features]
            self._squares = [torch.zeros_like(mean) for mean in self._means]
            self._bodies = self._bodies.to(self._means[0].device)
        self._bodies += 1
        for x, mean, square in zip(features, self._means, self._squares, strict=True):
            change = x - mean
            mean.add_(change / self._bodies.view(-1, *[1] * (x.ndim - 1)))
            square.add_(change * (x - mean))

    def forget(self, image: int) -> None:
        """Start anew for one place of the batch."""
        self._bodies[image] = 0
        for each in (*self._means, *self._squares):
            each[image] = 0

    def read(self, chosen: slice = slice(None)) -> tuple[list[Tensor], list[Tensor]]:
        """Means and unbiased standard deviations, level by level, of the images ``chosen``."""
        others = self._bodies[chosen] - 1
        return [mean[chosen] for mean in self._means], [
            (square[chosen] / others.view(-1, *[1] * (square.ndim - 1))).sqrt() for square in self._squares
        ]


def sample(mean: Tensor, deviation: Tensor, generator: torch.Generator) -> Float[Tensor, ...]:
    """Z = μ + ζ∘σ with fresh ζ from ``generator``, which must live on the tensors' device.

    Source: AIO-P, section on latent sampling.
    """
    mean = mean.float()
    zeta = torch.randn(mean.shape, generator=generator, device=mean.device)
    return mean + zeta * deviation.float()
