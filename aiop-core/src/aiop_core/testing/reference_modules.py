"""The torch side of the reference plugin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
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

    def __init__(self, body: Backbone, classes: int, width: int | None = None) -> None:
        super().__init__()
        self.body = body
        self.classifier = nn.Linear(width or body.levels[-1].channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, H, W) to (batch, classes); channels are zero-padded to the classifier's."""
        features = self.body(images)[-1].mean(dim=(2, 3))
        missing = self.classifier.in_features - features.shape[1]
        scores: Tensor = self.classifier(functional.pad(features, (0, missing)) if missing else features)
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


def images_of(count: int, hw: tuple[int, int]) -> tuple[Float[Tensor, "count 3 h w"], Int[Tensor, " count"]]:
    """The images that shared heads learn from, always the same."""
    return images_and_quarters(count, hw, torch.Generator().manual_seed(0))


def pooled(body: Any, images: Tensor, width: int, device: str) -> np.ndarray[Any, Any]:
    """(images, width): a body's coarsest features, averaged and zero-padded."""
    body.to(device).eval()
    with torch.no_grad():
        features = body(images.to(device))[-1].mean(dim=(2, 3)).cpu()
    padded: np.ndarray[Any, Any] = functional.pad(features, (0, width - features.shape[1])).double().numpy()
    return padded


def train_classifier(
    features: Callable[[int], np.ndarray[Any, Any]], classes: Tensor, steps: int, progress: Progress
) -> tuple[dict[str, np.ndarray[Any, Any]], float]:
    """Weight and bias of a linear layer from the features of each step, and the last loss."""
    weight, bias = torch.zeros(4, features(0).shape[1], requires_grad=True), torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=0.1)
    loss: Any = 0.0
    for step in range(steps):
        optimizer.zero_grad()
        loss = functional.cross_entropy(torch.from_numpy(features(step)).float() @ weight.T + bias, classes)
        loss.backward()
        optimizer.step()
        progress(step + 1, steps)
    return {"weight": weight.detach().numpy(), "bias": bias.detach().numpy()}, float(loss.detach())


def with_classifier(body: Backbone, weights: dict[str, np.ndarray[Any, Any]], width: int) -> Pooled:
    """A body with a layer of these weights."""
    model = Pooled(body, len(weights["bias"]), width)
    model.classifier.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()})
    return model
