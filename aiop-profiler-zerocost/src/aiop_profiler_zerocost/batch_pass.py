"""One run of a network on a batch of noise, and what the proxies read off it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from aiop_profiler_zerocost.nwot import ReluCodes
from aiop_profiler_zerocost.outputs import differentiable


@dataclass(frozen=True)
class BatchPass:
    """What a run leaves.

    Attributes:
        images: (batch, *input_shape), requiring a gradient.
        outputs: every differentiable tensor that the network gave.
        activations: what each convolution and linear layer gave, if asked for.
        kernel: (batch, batch) agreements of ReLU codes; nothing if not asked for, or no ReLU ran.
    """

    images: Tensor
    outputs: list[Tensor]
    activations: list[Tensor]
    kernel: Tensor | None


def run(network: nn.Module, images: Tensor, proxies: Collection[str]) -> BatchPass:
    """Run ``network`` once, and watch what ``proxies`` need.

    Batch norms use the statistics of the batch, as in the papers; everything else is in
    evaluation mode, so that nothing is dropped and no auxiliary head joins.
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train()
    images = images.requires_grad_()
    codes = ReluCodes(len(images))
    with ExitStack() as stack:
        activations = stack.enter_context(_activations(network)) if "fisher" in proxies else []
        if "nwot" in proxies:
            stack.enter_context(codes)
        output = network(images)
    return BatchPass(images, list(differentiable(output)), activations, codes.kernel)


@contextmanager
def _activations(network: nn.Module) -> Iterator[list[Tensor]]:
    """The outputs of convolutions and linear layers while the network runs, as (rows, positions, channels)."""
    found: list[Tensor] = []

    def keep(layer: nn.Module, _: Any, output: Tensor) -> Tensor:
        maps = isinstance(layer, _ConvNd)
        flat = output.flatten(2).transpose(1, 2) if maps else output.reshape(len(output), -1, output.shape[-1])
        found.append(flat)
        # what follows reads the network's tensor through the one kept, which no operation in place may change
        return (flat.transpose(1, 2) if maps else flat).reshape(output.shape).clone()

    handles = [m.register_forward_hook(keep) for m in network.modules() if isinstance(m, _ConvNd | nn.Linear)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
