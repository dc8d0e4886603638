"""Random weights, and slices of a supernet's."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aiop_core.errors import WeightsError
from aiop_family_ofa.networks import Network
from aiop_family_ofa.plans import MBConvPlan
from aiop_family_ofa.space import Space

_COUNTER = ".num_batches_tracked"
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

    Raises:
        WeightsError: if it is another network's.
    """

    def __init__(self, state: Mapping[str, Tensor], space: Space[Any], origin: str) -> None:
        self._tensors = {_renamed(name, space.checkpoint_names): tensor for name, tensor in state.items()}
        shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items() if not name.endswith(_COUNTER)}
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

    @torch.no_grad()
    def fill(self, module: nn.Module) -> None:
        """Give a sub-network its slice: the first channels, and kernels made from larger ones."""
        for name, target in module.state_dict().items():
            if name.endswith(_COUNTER):
                target.zero_()
                continue
            published = _renamed(name, {})
            source = self._tensors[published]
            if name.endswith(_DEPTHWISE):
                source = self._kernel(published, source[: len(target)], target.shape[-1])
            target.copy_(source[tuple(slice(size) for size in target.shape)])

    def _kernel(self, name: str, kernel: Tensor, size: int) -> Tensor:
        """Depthwise kernels brought to ``size``, one learnt matrix after the other."""
        while (large := kernel.shape[-1]) > size:
            small = _TRANSFORMS[large]
            matrix = self._tensors[name.replace("weight", f"{large}to{small}_matrix")]
            margin = (large - small) // 2
            centre = kernel[..., margin : margin + small, margin : margin + small]
            kernel = (centre.flatten(1) @ matrix.T).view_as(centre)
        return kernel


def _expected(space: Space[Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of everything a supernet's checkpoint holds, counters left out."""
    plan = space.plan(space.largest)
    with torch.device("meta"):
        state = Network(plan).state_dict()
    shapes = {_renamed(name, {}): tuple(t.shape) for name, t in state.items() if not name.endswith(_COUNTER)}
    for slot, block in plan.blocks.items():
        if isinstance(block, MBConvPlan):
            for large in range(block.kernel, 3, -2):
                small = _TRANSFORMS[large]
                shapes[f"blocks.{slot}.depth_conv.conv.{large}to{small}_matrix"] = (small**2, small**2)
    return shapes


def _renamed(name: str, names: Mapping[str, str]) -> str:
    """One name for all spellings of it.

    The library's supernets wrap what its sub-networks do not (``conv.conv.weight``,
    ``bn.bn.weight``, ``linear.linear.weight``), older files call a residual block's
    branch ``mobile_inverted_conv``, and parallel training puts ``module.`` in front.
    """
    name = re.sub(r"^(module\.)*(body\.)?", "", name)
    name = re.sub(r"\b(\w+)(\.\1)+\b", r"\1", name)
    name = re.sub(r"^(blocks\.\d+)\.(?:mobile_inverted_)?conv\.", r"\1.", name)
    for theirs, ours in names.items():
        if name.startswith(f"{theirs}."):
            return ours + name[len(theirs) :]
    return name
