"""Body and network of a plan, as torch modules."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from aiop_core.contracts import Level
from aiop_core.graph.ops import Op
from aiop_family_nasbench.plans import Block, Layer, NetworkPlan

LEAK = 0.2
"""Slope of the decoders' leaky ReLUs. Source: TransNAS-Bench-101."""

M = TypeVar("M", bound=nn.Module)


class Mean(nn.Module):
    """Mean over height and width."""

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels"]:
        """A vector for each map."""
        return x.mean((2, 3))


class Truncate(nn.Module):
    """The first channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch kept h w"]:
        """Part of the map."""
        return x[:, : self._channels]


class Shift(nn.Module):
    """The map moved by one to the upper left; zeros come in."""

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """The moved map."""
        return functional.pad(x, (-1, 1, -1, 1))


class Fit(nn.Module):
    """A map cut, and padded with channels, to the shape that an edge of the cell gives."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._stride, self._more = layer.stride, layer.channels - layer.in_channels

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch more h2 w2"]:
        """Height and width are divided by the stride, rounded up."""
        h, w = (-(-size // self._stride) - size for size in x.shape[2:])
        return functional.pad(x, (0, w, 0, h, 0, self._more))


class Zero(nn.Module):
    """Zeros of the shape of its input."""

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Nothing of the input is left."""
        return x * 0.0


def _conv(layer: Layer) -> nn.Module:
    return nn.Conv2d(layer.in_channels, layer.channels, layer.kernel, layer.stride, layer.kernel // 2, bias=layer.bias)


def _conv_transpose(layer: Layer) -> nn.Module:
    return nn.ConvTranspose2d(
        layer.in_channels, layer.channels, layer.kernel, layer.stride, layer.kernel // 2, layer.stride - 1
    )


def _avg_pool(layer: Layer) -> nn.Module:
    """Means over what of a window is inside the map."""
    padding = (layer.kernel - 1) // 2
    return nn.AvgPool2d(layer.kernel, layer.stride, padding, ceil_mode=True, count_include_pad=False)


def _max_pool(layer: Layer) -> nn.Module:
    return nn.MaxPool2d(layer.kernel, layer.stride, (layer.kernel - 1) // 2, ceil_mode=True)


_MODULES: dict[Op, Callable[[Layer], nn.Module]] = {
    Op.Conv: _conv,
    Op.ConvTranspose: _conv_transpose,
    Op.BatchNorm: lambda layer: nn.BatchNorm2d(layer.channels),
    Op.ReLU: lambda _: nn.ReLU(),
    Op.LeakyReLU: lambda _: nn.LeakyReLU(LEAK),
    Op.Tanh: lambda _: nn.Tanh(),
    Op.Avgpool: _avg_pool,
    Op.Maxpool: _max_pool,
    Op.Mean: lambda _: Mean(),
    Op.MatMul: lambda layer: nn.Linear(layer.in_channels, layer.channels),
    Op.Slice: lambda layer: Truncate(layer.channels),
    Op.Paddings: lambda layer: Fit(layer) if layer.in_channels != layer.channels or layer.stride > 1 else Shift(),
    Op.Zero: lambda _: Zero(),
}


class Steps(nn.Module):
    """A :class:`~aiop_family_nasbench.plans.Block`; what its output does not depend on is held, but not run."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self._block = block
        self.steps = nn.ModuleList(
            nn.Sequential(*(_MODULES[layer.op](layer) for layer in step.layers)) for step in block.steps
        )

    def forward(self, x: Tensor) -> Tensor:
        """The value of the last node."""
        values = {0: x}
        for number, (step, layers) in enumerate(zip(self._block.steps, self.steps, strict=True), 1):
            if number in self._block.live:
                inputs = [values[source] for source in step.inputs]
                joined = torch.cat(inputs, 1) if step.join is Op.Concat else sum(inputs[1:], inputs[0])
                values[number] = layers(joined)
        return values[self._block.output]


class Body(nn.Module):
    """A backbone.

    Attributes:
        levels: channels and stride of each output, finest first.
    """

    levels: tuple[Level, ...]

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self.levels = plan.levels
        self._taps = plan.taps
        self.blocks = nn.ModuleList(Steps(block) for block in plan.body)

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> list[Tensor]:
        """One (batch, channels, ceil(h / stride), ceil(w / stride)) tensor for each level."""
        x: Tensor = images
        features = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self._taps:
                features.append(x)
        return features


class Network(nn.Module):
    """The body, and the head of the task that the benchmark trained it on."""

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self._tiles = plan.tiles
        self.body = Body(plan)
        self.head = Steps(plan.head)

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> Tensor:
        """(batch, classes) logits, or a decoder's (batch, channels, h, w) maps."""
        if self._tiles == 1:
            output: Tensor = self.head(self.body(images)[-1])
            return output
        h, w = (size // self._tiles for size in images.shape[2:])
        rows = [images[:, :, i * h : (i + 1) * h] for i in range(self._tiles)]
        tiles = [row[:, :, :, i * w : (i + 1) * w] for row in rows for i in range(self._tiles)]
        joined: Tensor = self.head(torch.cat([self.body(tile)[-1] for tile in tiles], 1))
        return joined


def make(kind: Callable[[NetworkPlan], M], plan: NetworkPlan, spec: str) -> M:
    """A module with random weights on torch's default device; on the meta device without any."""
    place = torch.get_default_device()
    with torch.device("meta"):
        module = kind(plan)
    if place.type == "meta":
        return module
    module.to_empty(device="cpu")
    _initialise(module, spec)
    return module.to(place)


def _initialise(module: nn.Module, spec: str) -> None:
    """He initialisation by fan-out, from a generator of its own.

    Its seed is made of ``spec`` and of torch's initial seed: the weights follow from
    ``torch.manual_seed``, and the state of the global generator is not touched.
    """
    seed = int.from_bytes(hashlib.sha256(f"{torch.initial_seed()}:{spec}".encode()).digest()[:8], "big", signed=True)
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            std = math.sqrt(2 / (math.prod(layer.kernel_size) * layer.out_channels))
            nn.init.normal_(layer.weight, std=std, generator=generator)
        elif isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
