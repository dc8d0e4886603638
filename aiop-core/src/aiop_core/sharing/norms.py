"""Batch-norm statistics of a network, measured anew on images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn


@torch.no_grad()
def recalibrate(module: nn.Module, images: Iterable[Float[Tensor, "batch 3 h w"]]) -> None:
    """Replace the running statistics of every batch norm by those of ``images``.

    Means and variances of batches are averaged with the batches' sizes as weights; layers
    normalise with the batch's own statistics meanwhile. Nothing else changes: weights,
    dropout and the mode of the module stay as they are.

    Args:
        module: changed in place.
        images: batches, where the module is.

    Source: once-for-all, ``set_running_statistics``; torch's variances are the unbiased ones.
    """
    modes = {layer: layer.training for layer in module.modules()}
    norms = {layer: layer.momentum for layer in modes if isinstance(layer, nn.modules.batchnorm._BatchNorm)}
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    try:
        for batch in images:
            seen += len(batch)
            for norm in norms:
                norm.momentum = len(batch) / seen
            module(batch)
    finally:
        for norm, momentum in norms.items():
            norm.momentum = momentum
        for layer, mode in modes.items():
            layer.training = mode
