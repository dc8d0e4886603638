"""The process gives what the textbook's formulas give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, RationalQuadratic

from aiop_predictor_gp import process
from aiop_predictor_gp.process import Kernel, Process, fit_kernel

WIDTHS = (3, 1, 5)


def kernel(seed: int, blocks: int) -> Kernel:
    rng = np.random.default_rng(seed)
    sizes = (blocks, blocks + 1, blocks)
    distance, smooth, linear = (torch.from_numpy(rng.normal(scale=0.7, size=size)) for size in sizes)
    return Kernel(distance, smooth, linear, torch.tensor(-1.5, dtype=torch.float64))


def rows(count: int, seed: int, widths: tuple[int, ...] = WIDTHS) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(size=(count, width))) for width in widths]


def targets(blocks: list[torch.Tensor], seed: int = 0, noise: float = 0.1) -> torch.Tensor:
    """A smooth function of the first block alone."""
    x = blocks[0]
    values = torch.sin(1.5 * x[:, 0]) + 0.3 * x[:, -1]
    values = values + noise * torch.from_numpy(np.random.default_rng(seed).normal(size=len(x)))
    return (values - values.mean()) / values.std()


def covariance(kernel: Kernel, a: list[torch.Tensor], b: list[torch.Tensor]) -> np.ndarray:
    """From the definition, with all pairs of scaled rows written out."""
    distance, smooth, linear = (np.exp(part.numpy()) for part in (kernel.distance, kernel.smooth, kernel.linear))
    found, apart = np.zeros((2, len(a[0]), len(b[0])))
    for k, (x, y) in enumerate(zip(a, b, strict=True)):
        u, v = x.numpy()[:, None] / distance[k], y.numpy()[None] / distance[k]
        square = ((u - v) ** 2).mean(-1)
        apart += square
        found += smooth[k] / (1 + square / 2) + linear[k] * (u * v).mean(-1)
    total: np.ndarray = found + smooth[-1] / (1 + apart / 2)
    return total


def log_posterior(kernel: Kernel, blocks: list[torch.Tensor], wanted: torch.Tensor, linear: list[float]) -> float:
    """Of the parameters, but for a constant; the prior is that of ``fit_kernel``."""
    noisy = covariance(kernel, blocks, blocks) + np.exp(float(kernel.noise)) * np.eye(len(wanted))
    y = wanted.numpy()
    likelihood = -0.5 * y @ np.linalg.solve(noisy, y) - 0.5 * np.linalg.slogdet(noisy)[1]
    prior = sum(
        float((((a - b) / width) ** 2).sum()) / 2
        for a, b, width in zip(kernel.tensors(), Kernel.expected(linear, "cpu").tensors(), (2, 3, 3, 3), strict=True)
    )
    return float(likelihood - prior)


def test_mean_and_variance_are_those_of_scikit_learn() -> None:
    width = 4
    known, new = rows(40, 0, (width,)), rows(15, 1, (width,))
    mine, y = kernel(2, 1), targets(known)
    length = np.sqrt(width) * np.exp(float(mine.distance[0]))

    def scaled(logarithm: torch.Tensor, kind: Any) -> Any:
        return ConstantKernel(np.exp(float(logarithm)), "fixed") * kind

    smooth = RationalQuadratic(length, 1.0, "fixed", "fixed")
    theirs = GaussianProcessRegressor(
        scaled(mine.smooth[0], smooth)
        + scaled(mine.smooth[1], smooth)
        + scaled(mine.linear[0] - 2 * np.log(length), DotProduct(0.0, "fixed")),
        alpha=np.exp(float(mine.noise)),
        optimizer=None,
    ).fit(known[0].numpy(), y.numpy())
    expected, deviation = theirs.predict(new[0].numpy(), return_std=True)
    mean, variance = Process(mine, known, y).predict(new)
    np.testing.assert_allclose(mean, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(variance, deviation**2, rtol=1e-3)


def test_several_blocks_add_up() -> None:
    known, new = rows(25, 0), rows(10, 1)
    mine, y = kernel(2, 3), targets(known)
    noisy = covariance(mine, known, known) + np.exp(-1.5) * np.eye(25)
    between = covariance(mine, new, known)
    mean, variance = Process(mine, known, y).predict(new)
    np.testing.assert_allclose(mean, between @ np.linalg.solve(noisy, y.numpy()), rtol=1e-3, atol=1e-4)
    expected = np.diag(covariance(mine, new, new)) - np.einsum("ij,ji->i", between, np.linalg.solve(noisy, between.T))
    np.testing.assert_allclose(variance, expected, rtol=1e-3)


def test_left_out_predictions_are_those_without_the_label() -> None:
    blocks = rows(20, 3)
    mine, y = kernel(4, 3), targets(blocks)
    found = Process(mine, blocks, y).left_out()
    for i in range(20):
        others = np.delete(np.arange(20), i)
        without = Process(mine, [block[others] for block in blocks], y[others])
        mean = without.predict([block[i : i + 1] for block in blocks])[0]
        assert found[i] == pytest.approx(float(mean[0]), rel=1e-3, abs=1e-4)


def test_rows_are_predicted_alike_however_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known, new = rows(30, 0), rows(17, 1)
    one = Process(kernel(2, 3), known, targets(known))
    whole = one.predict(new)
    monkeypatch.setattr(process, "ROWS", 5)
    for part, expected in zip(one.predict(new), whole, strict=True):
        np.testing.assert_allclose(part, expected)


def test_what_is_known_is_surer_and_far_away_is_not() -> None:
    known = rows(60, 0)
    one = Process(kernel(2, 3), known, targets(known))
    near, far = one.predict(known)[1], one.predict([5 + block for block in rows(60, 1)])[1]
    assert (near > 0).all()
    assert float(near.max()) < float(far.min())


@pytest.mark.parametrize("seed", range(3))
def test_fitting_makes_the_kernel_more_probable(seed: int) -> None:
    blocks, linear = rows(40, seed), [-2.0, -2.0, 0.0]
    y = targets(blocks, seed)
    start = log_posterior(Kernel.expected(linear, "cpu"), blocks, y, linear)
    found = fit_kernel(blocks, y, linear)
    end = log_posterior(found, blocks, y, linear)
    assert end > start + 3
    for tensor in found.tensors():  # and no small step from there is better
        for step in (0.3, -0.3):
            moved = Kernel(*(part + step if part is tensor else part for part in found.tensors()))
            assert log_posterior(moved, blocks, y, linear) < end + 0.05
    assert not any(tensor.requires_grad for tensor in found.tensors())


def test_a_block_that_tells_nothing_fades_out_and_noise_is_found() -> None:
    blocks = rows(150, 5)
    quiet, loud = (fit_kernel(blocks, targets(blocks, noise=noise), [-2.0] * 3) for noise in (0.05, 1.5))
    told = torch.exp(quiet.smooth[:3]) + torch.exp(quiet.linear)
    assert told[0] > 10 * told[1:].max()
    assert float(quiet.noise) < -3 < -1 < float(loud.noise) < 0.2


def test_the_kernel_is_fitted_to_so_many_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "FITTED_ROWS", 30)
    blocks = rows(60, 5)
    y = targets(blocks)
    first = fit_kernel([block[:30] for block in blocks], y[:30], [-2.0] * 3)
    for a, b in zip(fit_kernel(blocks, y, [-2.0] * 3).tensors(), first.tensors(), strict=True):
        np.testing.assert_allclose(a, b)
