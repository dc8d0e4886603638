"""Gaussian process regression with one kernel for each block of features.

The kernel is a sum: for each block a rational quadratic one, which is smooth, and a linear
one; and a rational quadratic one over all blocks. How much each counts, and over which
distance, is fitted to the labels (maximum a posteriori), so a block that tells nothing
fades out.

Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, chapters
2 (regression), 4 (kernels) and 5 (fitting, leave-one-out).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

FITTED_ROWS = 400
"""Labels that the kernel's parameters are fitted to; the process then learns from all."""

STEPS = 15
"""Iterations of L-BFGS at most; more of them rank other families worse (benchmarks/README.md)."""

ROWS = 512
"""Graphs whose covariances with others are worked out at once."""

_SMOOTH, _LINEAR, _NOISE = -1.0, -2.0, -2.0
"""Expected logarithms of the kernels' and the noise's variances, for labels of variance 1."""

_WIDTHS = (2.0, 3.0, 3.0, 3.0)
"""Deviations of what is expected of distances, of the two kinds of variances, and of the noise."""

_FARTHEST = 12.0
"""A parameter stays so near to what is expected, where no step can lead to numbers that overflow."""

_JITTER = 1e-6

Blocks = Sequence[Float[Tensor, "n _"]]
"""Standardised features of a set of graphs; blocks have different widths."""

Products = Iterable[tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]]
"""What a kernel needs of two sets of graphs, whatever its parameters; block by block, since each is large."""


@dataclass
class Kernel:
    """The kernel's parameters, as logarithms.

    Attributes:
        distance: (b,) over which each block's features vary.
        smooth: (b + 1,) variance of each block's smooth kernel, and of that over all blocks.
        linear: (b,) variance of each block's linear kernel.
        noise: variance of labels around what can be known.
    """

    distance: Tensor
    smooth: Tensor
    linear: Tensor
    noise: Tensor

    @classmethod
    def expected(cls, linear: Sequence[float], device: str) -> Kernel:
        """The prior's mean; ``linear`` says how much is expected of each block's linear kernel."""
        parts = [0.0] * len(linear), [_SMOOTH] * (len(linear) + 1), list(linear), _NOISE
        return cls(*(torch.tensor(part, dtype=torch.float64, device=device) for part in parts))

    @classmethod
    def of(cls, parameters: Float[Tensor, " p"]) -> Kernel:
        """All parameters in one row: for b blocks 3 b + 2."""
        blocks = (len(parameters) - 2) // 3
        distance, smooth, linear, noise = parameters.split([blocks, blocks + 1, blocks, 1])
        return cls(distance, smooth, linear, noise[0])

    def tensors(self) -> list[Tensor]:
        """All parameters."""
        return [self.distance, self.smooth, self.linear, self.noise]

    def __call__(self, products: Products) -> Float[Tensor, "n m"]:
        """Covariances between two sets of graphs, given their ``products``."""
        total = apart = torch.zeros((), dtype=torch.float64)
        for i, (inner, square) in enumerate(products):
            unit = torch.exp(-2 * self.distance[i])
            total = total + torch.exp(self.smooth[i]) / (1 + square * (unit / 2))
            total = total + torch.exp(self.linear[i]) * unit * inner
            apart = apart + square * unit
        covariances: Tensor = total + torch.exp(self.smooth[-1]) / (1 + apart / 2)
        return covariances

    def between(self, a: Blocks, b: Sequence[Float[Tensor, "m _"]]) -> Float[Tensor, "n m"]:
        """The same of features, some rows at once."""
        starts = range(0, len(a[0]), ROWS)
        return torch.cat([self(_products([block[start : start + ROWS] for block in a], b)) for start in starts])

    def variances(self, a: Blocks) -> Float[Tensor, " n"]:
        """The covariance of each graph with itself."""
        total = torch.exp(self.smooth).sum()
        for i, x in enumerate(a):
            total = total + torch.exp(self.linear[i] - 2 * self.distance[i]) * (x**2).mean(1)
        return total

    def noisy(self, covariances: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
        """Covariances of labels, in place."""
        jitter = _JITTER * (1 + covariances.diagonal().detach().mean())
        covariances.diagonal().add_(torch.exp(self.noise) + jitter)
        return covariances


def _products(a: Blocks, b: Sequence[Float[Tensor, "m _"]]) -> Iterator[tuple[Tensor, Tensor]]:
    """For each block the inner products and squared distances of all pairs, by the number of columns."""
    for x, y in zip(a, b, strict=True):
        inner = x @ y.T / x.shape[1]
        own, other = (x**2).mean(1), (y**2).mean(1)
        yield inner, inner.mul(-2).add_(own[:, None]).add_(other).clamp_(min=0)


def fit_kernel(blocks: Blocks, targets: Float[Tensor, " n"], linear: Sequence[float], *, steps: int = STEPS) -> Kernel:
    """The most probable parameters, given the first ``FITTED_ROWS`` labels."""
    few = [block[:FITTED_ROWS] for block in blocks]
    products = [*_products(few, few)]
    wanted = targets[:FITTED_ROWS, None]
    tensors = Kernel.expected(linear, str(targets.device)).tensors()
    prior = torch.cat([tensor.reshape(-1) for tensor in tensors])
    width = torch.cat([torch.full_like(t.reshape(-1), w) for t, w in zip(tensors, _WIDTHS, strict=True)])

    def loss(point: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        parameters = torch.tensor(point, device=targets.device, requires_grad=True)
        kernel = Kernel.of(parameters)
        root = torch.linalg.cholesky(kernel.noisy(kernel(products)))
        fit: Tensor = 0.5 * (wanted * torch.cholesky_solve(wanted, root)).sum() + root.diagonal().log().sum()
        fit = fit + 0.5 * (((parameters - prior) / width) ** 2).sum()
        (slope,) = torch.autograd.grad(fit, parameters)
        return float(fit.detach()), slope.cpu().numpy()

    start = prior.cpu().numpy()
    bounds = [(value - _FARTHEST, value + _FARTHEST) for value in start]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps})
    return Kernel.of(torch.tensor(found.x, device=targets.device))


class Process:
    """A kernel, and the labels that it knows."""

    def __init__(self, kernel: Kernel, blocks: Blocks, targets: Float[Tensor, " n"]) -> None:
        self.kernel, self.blocks = kernel, list(blocks)
        self._root = torch.linalg.cholesky(kernel.noisy(kernel.between(self.blocks, self.blocks)))
        self._weights = torch.cholesky_solve(targets[:, None], self._root)[:, 0]
        self.targets = targets

    def left_out(self) -> Float[Tensor, " n"]:
        """What each label would be predicted as by all others."""
        return self.targets - self._weights / torch.cholesky_inverse(self._root).diagonal()

    def predict(self, blocks: Blocks) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """Mean and variance for each row, without the noise of labels."""
        means, variances = [], []
        for start in range(0, len(blocks[0]), ROWS):
            part = [block[start : start + ROWS] for block in blocks]
            between = self.kernel(_products(part, self.blocks))
            means.append(between @ self._weights)
            known = (torch.linalg.solve_triangular(self._root, between.T, upper=False) ** 2).sum(0)
            variances.append((self.kernel.variances(part) - known).clamp(min=_JITTER))
        empty = torch.zeros(0, dtype=torch.float64)
        return torch.cat([empty, *(m.cpu() for m in means)]), torch.cat([empty, *(v.cpu() for v in variances)])
