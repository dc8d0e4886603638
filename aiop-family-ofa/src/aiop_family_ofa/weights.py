"""Random weights, and slices of a supernet's."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aiop_core.errors import WeightsError
from aiop_family_ofa.networks import Network
from aiop_family_ofa.plans import MBConvPlan
from aiop_family_ofa.space import Space
from aiop_family_ofa.weight_names import COUNTER, canonical, published

_DEPTHWISE = ".depth_conv.conv.weight"
_TRANSFORMS = {7: 5, 5: 3}
"""Each kernel size and the next smaller one, which a learnt matrix makes from its centre."""


def initialise(module: nn.Module, spec: str) -> None:
    """He initialisation by fan-out, from a generator of its own.

    Its seed is made of ``spec`` and of torch's initial seed: the weights follow from
    ``torch.manual_seed``, and the state of the global generator is not touched.

    Source: once-for-all, ``init_models`` with ``he_fout``: a depthwise kernel's fan-out
    counts all channels.
    """
    seed = int.from_bytes(hashlib.sha256(f"{torch.initial_seed()}:{spec}".encode()).digest()[:8], "big", signed=True)
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            std = math.sqrt(2 / (math.prod(layer.kernel_size) * layer.out_channels))
            nn.init.normal_(layer.weight, std=std, generator=generator)
        elif isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


class Supernet:
    """The weights of a supernet, under this package's names.

    Args:
        state: a state dict as the once-for-all library saves it, in any of its spellings.
        space: the space whose supernet it must be.
        origin: where it comes from, for messages.

    Attributes:
        tensors: the very tensors of ``state``.

    Raises:
        WeightsError: if it is another network's.
    """

    def __init__(self, state: Mapping[str, Tensor], space: Space[Any], origin: str) -> None:
        self.tensors = {canonical(name, space.checkpoint_names): tensor for name, tensor in state.items()}
        shapes = {name: tuple(tensor.shape) for name, tensor in self.tensors.items() if not name.endswith(COUNTER)}
        expected = _expected(space)
        wrong = [
            f"'{name}' has shape {shapes[name]}, expected {shape}" if name in shapes else f"'{name}' is missing"
            for name, shape in expected.items()
            if shapes.get(name) != shape
        ]
        wrong += [f"'{name}' does not belong to it" for name in shapes if name not in expected]
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise WeightsError(
                f"weights '{origin}' are not those of the supernet of {space.title}: {wrong[0]}{more}; "
                f"the published file is '{space.checkpoint.name}'"
            )

    @classmethod
    def load(cls, path: Path, space: Space[Any]) -> Supernet:
        """Read a checkpoint: a state dict, or a dictionary that holds one as ``state_dict``.

        Raises:
            WeightsError: if the file is missing, damaged, or another network's.
        """
        if not path.is_file():
            raise WeightsError(
                f"there is no weights file '{path}'; give the path of a checkpoint of {space.title}, "
                f"set weights to 'official' to download '{space.checkpoint.name}', or to 'none'"
            )
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # what a damaged file raises depends on where it is damaged
            reason = str(error).strip().partition("\n")[0]
            raise WeightsError(
                f"weights '{path}' are damaged or no torch checkpoint: {reason}; bring the file again"
            ) from error
        state = content.get("state_dict", content) if isinstance(content, Mapping) else None
        if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
            raise WeightsError(
                f"weights '{path}' hold no state dict; expected is a file like '{space.checkpoint.name}'"
            )
        return cls(state, space, str(path))

    @classmethod
    def random(cls, space: Space[Any], seed: int) -> Supernet:
        """First weights for a training; a smaller kernel begins as the centre of the larger one."""
        with torch.device("meta"):
            network = Network(space.plan(space.largest))
        network.to_empty(device="cpu")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            initialise(network, space.largest.spec)
        state = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(COUNTER)}
        for name, shape in _expected(space).items():
            if name.endswith("_matrix"):
                state[name] = torch.eye(*shape)
        return cls(state, space, "random")

    def published(self, space: Space[Any]) -> dict[str, Tensor]:
        """The state dict under the once-for-all library's names, on the CPU."""
        with torch.device("meta"):
            network = Network(space.plan(space.largest))
        state = {name: torch.zeros((), dtype=torch.int64) for name in network.state_dict() if name.endswith(COUNTER)}
        state |= {name: self.tensors[canonical(name, {})] for name in network.state_dict() if name not in state}
        state |= {name: tensor for name, tensor in self.tensors.items() if name.endswith("_matrix")}
        return {published(name, space): tensor.detach().cpu().contiguous() for name, tensor in state.items()}

    def sliced(self, module: nn.Module) -> dict[str, Tensor]:
        """A sub-network's weights by their names in ``module``: the first channels, and kernels made from larger ones.

        They share memory with the supernet where they can, and gradients flow back to it.
        """
        weights = {}
        for name, target in module.state_dict().items():
            if not name.endswith(COUNTER):
                ours = canonical(name, {})
                source = self.tensors[ours]
                if name.endswith(_DEPTHWISE):
                    source = self._kernel(ours, source[: len(target)], target.shape[-1])
                weights[name] = source[tuple(slice(size) for size in target.shape)]
        return weights

    @torch.no_grad()
    def fill(self, module: nn.Module) -> None:
        """Give a sub-network a copy of its slice."""
        weights = self.sliced(module)
        for name, target in module.state_dict().items():
            if name.endswith(COUNTER):
                target.zero_()
            else:
                target.copy_(weights[name])

    def _kernel(self, name: str, kernel: Tensor, size: int) -> Tensor:
        """Depthwise kernels brought to ``size``, one learnt matrix after the other."""
        while (large := kernel.shape[-1]) > size:
            small = _TRANSFORMS[large]
            matrix = self.tensors[name.replace("weight", f"{large}to{small}_matrix")]
            margin = (large - small) // 2
            centre = kernel[..., margin : margin + small, margin : margin + small]
            kernel = (centre.flatten(1) @ matrix.T).view_as(centre)
        return kernel


def _expected(space: Space[Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of everything a supernet's checkpoint holds, counters left out."""
    plan = space.plan(space.largest)
    with torch.device("meta"):
        state = Network(plan).state_dict()
    shapes = {canonical(name, {}): tuple(t.shape) for name, t in state.items() if not name.endswith(COUNTER)}
    for slot, block in plan.blocks.items():
        if isinstance(block, MBConvPlan):
            for large in range(block.kernel, 3, -2):
                small = _TRANSFORMS[large]
                shapes[f"blocks.{slot}.depth_conv.conv.{large}to{small}_matrix"] = (small**2, small**2)
    return shapes
