"""Which parameters of a body learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def thaw(body: nn.Module, freeze: int, images: Tensor) -> None:
    """Let a body's parameters take gradients, but for those that its first ``freeze`` levels need.

    Args:
        body: gives a sequence of levels; is in training mode afterwards.
        freeze: how many levels; 0 lets everything learn.
        images: some that the body takes, to see what the levels need.
    """
    body.train().requires_grad_(requires_grad=True)
    parameters = list(body.parameters())
    if not freeze or not parameters:
        return
    body.eval()  # the look below must not move batch-norm statistics
    levels: Sequence[Tensor] = body(images)
    needed = torch.autograd.grad(levels[freeze - 1].sum(), parameters, allow_unused=True)
    body.train()
    for parameter, gradient in zip(parameters, needed, strict=True):
        parameter.requires_grad = gradient is None


@contextmanager
def frozen(body: nn.Module, *, really: bool = True) -> Iterator[None]:
    """Take the body's parameters out of training, and give them back after."""
    taken = [p for p in body.parameters() if really and p.requires_grad]
    for parameter in taken:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in taken:
            parameter.requires_grad = True
