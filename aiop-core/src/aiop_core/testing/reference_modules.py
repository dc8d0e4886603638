"""The torch side of the reference plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from aiop_core.contracts import Backbone, Level, Progress
from aiop_core.testing.reference import STAGES, Chain

if TYPE_CHECKING:
    from jaxtyping import Float, Int

_TEST_SEED = 1
_SIGNAL = 1.5
"""How much brighter the square is, in deviations of the noise: found, but not at once."""


class Body(nn.Module):
    """A chain of convolutions that gives the feature map of each stage."""

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.levels = tuple(Level(chain.width, 2 ** (stage + 1)) for stage in range(STAGES))
        self.stages = nn.ModuleList()
        channels = 3
        for _ in range(STAGES):
            layers: list[nn.Module] = []
            for position in range(chain.depth):
                stride = 2 if position == 0 else 1
                layers += [
                    nn.Conv2d(channels, chain.width, chain.kernel, stride, chain.kernel // 2, bias=False),
                    nn.BatchNorm2d(chain.width),
                    nn.ReLU(),
                ]
                channels = chain.width
            self.stages.append(nn.Sequential(*layers))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(batch, 3, H, W) to one feature map for each stage."""
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return maps


class Pooled(nn.Module):
    """The coarsest level of a backbone, averaged, with a linear layer."""

    def __init__(self, body: Backbone, classes: int) -> None:
        super().__init__()
        self.body = body
        self.classifier = nn.Linear(body.levels[-1].channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, H, W) to (batch, classes)."""
        scores: Tensor = self.classifier(self.body(images)[-1].mean(dim=(2, 3)))
        return scores


def reference_backbone() -> Backbone:
    """A small body with five levels of strides 2 to 32, for checks of tasks."""
    return Body(Chain(depth=1, width=8, kernel=3))


def images_and_quarters(
    count: int, hw: tuple[int, int], generator: torch.Generator
) -> tuple[Float[Tensor, "count 3 h w"], Int[Tensor, " count"]]:
    """Noise with a bright square in one of the four quarters."""
    height, width = hw[0] // 2, hw[1] // 2
    images = torch.randn(count, 3, *hw, generator=generator)
    quarters = torch.randint(4, (count,), generator=generator)
    for image, quarter in zip(images, quarters.tolist(), strict=True):
        top, left = quarter // 2 * height, quarter % 2 * width
        image[:, top : top + height, left : left + width] += _SIGNAL
    return images, quarters


def train(
    model: nn.Module, count: int, epochs: int, hw: tuple[int, int], seed: int, device: str, progress: Progress
) -> None:
    """Cross-entropy with Adam on images drawn from ``seed``."""
    images, quarters = images_and_quarters(count, hw, torch.Generator().manual_seed(seed))
    images, quarters = images.to(device), quarters.to(device)
    model.to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(epochs):
        optimizer.zero_grad()
        loss: Any = functional.cross_entropy(model(images), quarters)
        loss.backward()
        optimizer.step()
        progress(epoch + 1, epochs, f"loss {loss.item():.3f}")


def accuracy(model: nn.Module, hw: tuple[int, int], device: str) -> float:
    """The share of 64 fixed images whose quarter the model finds."""
    images, quarters = images_and_quarters(64, hw, torch.Generator().manual_seed(_TEST_SEED))
    model.to(device).eval()
    with torch.no_grad():
        found = model(images.to(device)).argmax(dim=1).cpu()
    return float((found == quarters).float().mean())
