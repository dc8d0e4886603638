"""synflow: how much signal could flow from input to output, without data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from aiop_profiler_zerocost.outputs import differentiable
from aiop_profiler_zerocost.weights import weights_of


def synflow(network: nn.Module, input_shape: tuple[int, ...]) -> float | None:
    """The logarithm of Σ abs(weight × ∂R/∂weight), where R is the sum of all outputs for an image of ones.

    The network is changed: double precision, every parameter its absolute value, batch norms
    pass on what they get. The published score is the sum itself; its logarithm ranks alike and
    stays in range, as NAS-Bench-Suite-Zero gives it.

    Returns:
        Nothing if the sum is zero or no number: nothing flows, or more than doubles hold.

    Source: Tanaka et al., "Pruning neural networks without any data by iteratively conserving
    synaptic flow", NeurIPS 2020; without batch norms as Abdelfattah et al., ICLR 2021.
    """
    network.eval().double()
    device = weights_of(network)[0].device
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            _make_identity(module, device)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    weights = weights_of(network)
    with _doubles():
        flow = [output.sum() for output in differentiable(network(torch.ones(1, *input_shape, device=device)))]
    if not flow:
        return None
    gradients = torch.autograd.grad(torch.stack(flow).sum(), weights, allow_unused=True)
    total = sum(float((w.detach() * g).abs().sum()) for w, g in zip(weights, gradients, strict=True) if g is not None)
    return math.log(total) if 0 < total < math.inf else None


@contextmanager
def _doubles() -> Iterator[None]:
    """Tensors that a network makes while it runs are doubles, too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _make_identity(norm: _BatchNorm, device: torch.device) -> None:
    """In evaluation mode (x − 0) / √(1 + 0) · 1 + 0; an activation that a subclass adds stays."""
    zeros = torch.zeros(norm.num_features, dtype=torch.float64, device=device)
    norm.eps, norm.running_mean, norm.running_var = 0.0, zeros, torch.ones_like(zeros)
    if norm.affine:
        norm.weight, norm.bias = nn.Parameter(torch.ones_like(zeros)), nn.Parameter(zeros.clone())
