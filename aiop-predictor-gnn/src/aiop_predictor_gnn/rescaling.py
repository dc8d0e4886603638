"""Rescaling of the last layer: a few numbers that bring a predictor to another target.

Source: Lu et al., "One Proxy Device Is Enough" (AdaProxy), as AIO-P (AAAI-23)
uses it; ``init_alpha``, ``forward_rescale`` and ``RescaleLoss`` of its code.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Rescaling(nn.Module):
    """Last layers whose weights and bias are multiplied by α + b, an α for each layer, a b for each number.

    α starts at 1 and b at 0, where the predictions are those of before. The research code
    starts both at random, so that its result depends on the draw.

    Args:
        layers: they stay as they are.
    """

    def __init__(self, layers: list[nn.Linear]) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(len(layers)))
        self.b = nn.Parameter(torch.zeros(len(layers), layers[0].in_features + 1))
        self.register_buffer("weights", torch.cat([layer.weight.detach() for layer in layers]))
        self.register_buffer("biases", torch.cat([layer.bias.detach() for layer in layers]))

    weights: Float[Tensor, "k inputs"]
    biases: Float[Tensor, " k"]

    def forward(self, x: Float[Tensor, "k g inputs"]) -> Float[Tensor, " g"]:
        """The mean over the layers, each on its own inputs."""
        factor = self.alpha[:, None] + self.b
        outputs = torch.einsum("kgi,ki->kg", x, factor[:, :-1] * self.weights) + (factor[:, -1] * self.biases)[:, None]
        return outputs.mean(dim=0)

    def penalty(self) -> Tensor:
        """Σ|b|."""
        return self.b.abs().sum()


@torch.no_grad()
def rescale(layer: nn.Linear, alpha: Tensor, b: Float[Tensor, " inputs_plus_1"]) -> None:
    """Multiply α + b into ``layer``: it then predicts what the rescaled layer did."""
    layer.weight.mul_(alpha + b[:-1])
    layer.bias.mul_(alpha + b[-1])
