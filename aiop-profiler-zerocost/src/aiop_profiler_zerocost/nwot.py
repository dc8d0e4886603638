"""nwot: how well the ReLUs of a network tell images apart."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten: Any = torch.ops.aten

RELUS = frozenset(
    {
        _aten.relu.default,
        _aten.relu_.default,
        _aten.leaky_relu.default,
        _aten.leaky_relu_.default,
        _aten._prelu_kernel.default,
    }
)
"""Calls that bend at zero, whatever module or function makes them."""

CLAMPS = frozenset({_aten.hardtanh.default, _aten.hardtanh_.default})
"""Calls that do so if their lower bound is zero, such as ReLU6."""


class ReluCodes(TorchDispatchMode):
    """Collects, while a network runs, in how many ReLU units each two images agree.

    Attributes:
        kernel: (batch, batch) counts, or nothing if no ReLU ran.
    """

    def __init__(self, batch: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch leaves it untyped
        self.batch = batch
        self.kernel: Tensor | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Look at the input of a ReLU before it is overwritten."""
        if func in RELUS or (func in CLAMPS and args[1:2] == (0,)):
            self._add(args[0])
        return func(*args, **(kwargs or {}))

    def _add(self, features: Tensor) -> None:
        if features.ndim < 2 or len(features) != self.batch:
            return  # rows are no images, such as windows or boxes
        agreement = agreements(features.detach().flatten(1) > 0)
        self.kernel = agreement if self.kernel is None else self.kernel + agreement


def agreements(codes: Tensor) -> Float[Tensor, "batch batch"]:
    """In how many of their binary units each two rows agree."""
    bits = codes.float()
    both, ones = bits @ bits.T, bits.sum(dim=1)
    return (2 * both - ones[:, None] - ones[None, :] + bits.shape[1]).double()


def nwot(kernel: Float[Tensor, "batch batch"]) -> float | None:
    """The logarithm of the determinant of the agreements; nothing if two images have equal codes.

    Source: Mellor et al., "Neural Architecture Search without Training", ICML 2021, equation 2.
    """
    sign, logarithm = torch.linalg.slogdet(kernel)
    return float(logarithm) if sign > 0 and logarithm.isfinite() else None
