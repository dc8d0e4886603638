"""fisher: what removing a channel would do to the loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def fisher(activations: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    """The sum over layers and channels of ½ · mean over images of (Σ over positions activation × gradient)².

    Args:
        activations: of each convolution and linear layer, (rows, positions, channels).
        gradients: of the loss in them.

    Source: Turner et al., "BlockSwap", ICLR 2020, equation 4; summed over a network as
    Abdelfattah et al., ICLR 2021, section 3.2.
    """
    parts = [(z * g).sum(dim=1).double() for z, g in zip(activations, gradients, strict=True)]
    return float(torch.stack([0.5 * part.square().mean(dim=0).sum() for part in parts]).sum())
