"""Which parameters the proxies are about."""

from __future__ import annotations

from torch import Tensor, nn


def weights_of(network: nn.Module) -> list[Tensor]:
    """Kernels and matrices: parameters of two axes or more, each once; not biases or norms' scales.

    In networks of convolutions and linear layers these are the weights that the papers count.
    """
    return [parameter for parameter in network.parameters() if parameter.ndim > 1 and parameter.is_floating_point()]
