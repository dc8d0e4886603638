"""Counters leave traces in what they count; these are wiped off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards each module has its own mode and buffers again."""
    before = [(module, module.training, set(module._buffers)) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training, buffers in before:
            module.training = training
            for name in set(module._buffers) - buffers:
                del module._buffers[name]


def one_input(model: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    """A batch of one, where the model is."""
    parameter = next(model.parameters(), None)
    return torch.zeros(1, *input_shape, device=None if parameter is None else parameter.device)
