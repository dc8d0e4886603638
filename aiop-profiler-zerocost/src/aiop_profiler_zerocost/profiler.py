"""The profiler ``zerocost``."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from aiop_core.errors import ModelError
from aiop_profiler_zerocost.batch_pass import run
from aiop_profiler_zerocost.fisher import fisher
from aiop_profiler_zerocost.gradients import grad_norm, l2_norm, plain, snip
from aiop_profiler_zerocost.images import noise
from aiop_profiler_zerocost.jacov import jacov
from aiop_profiler_zerocost.nwot import nwot
from aiop_profiler_zerocost.options import LOSS_PROXIES, ZeroCostOptions
from aiop_profiler_zerocost.outputs import random_label_loss
from aiop_profiler_zerocost.synflow import synflow
from aiop_profiler_zerocost.weights import weights_of


class ZeroCost:
    """Zero-cost proxies of a network with the weights that it has.

    One rule for all: a score that is undefined or not finite is left out. ``nwot`` is
    undefined without a ReLU, or where two images have equal codes; scores of the gradient
    where no output has one; ``synflow`` where nothing flows.
    """

    def __init__(self, options: ZeroCostOptions) -> None:
        self.options = options

    def profile(self, model: nn.Module, input_shape: tuple[int, ...]) -> Mapping[str, float]:
        """The chosen scores by name; the same for the same weights and seed.

        The model is copied, and left as it was.

        Raises:
            ModelError: if it has no weights, cannot be copied, or cannot be run on noise.
        """
        if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
            raise ModelError("zero-cost scores run the model, whose weights are not in memory (meta device)")
        if not weights_of(model):
            raise ModelError("zero-cost scores are about weights, and the model has none: no parameter with two axes")
        wanted = self.options.proxies
        found: dict[str, float | None] = {}
        if "l2_norm" in wanted:
            found["l2_norm"] = l2_norm([weight.detach() for weight in weights_of(model)])
        if set(wanted) - {"l2_norm", "synflow"}:
            with _running(self.options.seed, input_shape):
                found |= self._of_batch(_copy(model), input_shape)
        if "synflow" in wanted:
            with _running(self.options.seed, input_shape):
                found["synflow"] = synflow(_copy(model), input_shape)
        return {name: value for name in wanted if (value := found.get(name)) is not None and math.isfinite(value)}

    def _of_batch(self, network: nn.Module, input_shape: tuple[int, ...]) -> dict[str, float | None]:
        """The scores that need a batch of images, from one run."""
        generator = torch.Generator().manual_seed(self.options.seed)
        weights = weights_of(network)
        images = noise(self.options.noise, self.options.batch, input_shape, generator)
        done = run(network, images.to(weights[0]), self.options.proxies)
        found: dict[str, float | None] = {}
        if done.kernel is not None:
            found["nwot"] = nwot(done.kernel)
        if not done.outputs:
            return found
        if "jacov" in self.options.proxies:
            total = torch.stack([output.sum() for output in done.outputs]).sum()
            (gradient,) = torch.autograd.grad(total, done.images, retain_graph=True, allow_unused=True)
            found["jacov"] = None if gradient is None else jacov(gradient.flatten(1))
        if set(LOSS_PROXIES) & set(self.options.proxies):
            loss = random_label_loss(done.outputs, generator)
            gradients = torch.autograd.grad(loss, [*weights, *done.activations], allow_unused=True)
            with torch.no_grad():
                found |= _of_loss(weights, done.activations, gradients)
        return found


def _of_loss(
    weights: list[Tensor], activations: list[Tensor], gradients: tuple[Tensor | None, ...]
) -> dict[str, float | None]:
    """The scores made of the gradient of the loss, where it reaches anything."""
    found: dict[str, float | None] = {}
    reached = [(w, g) for w, g in zip(weights, gradients, strict=False) if g is not None]
    if reached:
        tensors, slopes = zip(*reached, strict=True)
        found |= {"grad_norm": grad_norm(slopes), "snip": snip(tensors, slopes), "plain": plain(tensors, slopes)}
    alive = [(z, g) for z, g in zip(activations, gradients[len(weights) :], strict=True) if g is not None]
    if alive:
        found["fisher"] = fisher(*zip(*alive, strict=True))
    return found


def _copy(model: nn.Module) -> nn.Module:
    """A copy in which everything can be differentiated.

    Raises:
        ModelError: if the model holds what cannot be copied.
    """
    try:
        network = copy.deepcopy(model)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"zero-cost scores work on a copy, and the model cannot be copied: {_line(error)}") from error
    for weight in network.parameters():
        weight.requires_grad_(weight.is_floating_point())
    return network


@contextmanager
def _running(seed: int, input_shape: tuple[int, ...]) -> Iterator[None]:
    """A stranger's network runs: with gradients, and random numbers that follow from the seed.

    Raises:
        ModelError: if it fails.
    """
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    except ModelError:
        raise
    except Exception as error:
        shape = ", ".join(map(str, input_shape))
        raise ModelError(
            f"zero-cost scores run the model on images of noise ({shape}), which fails: "
            f"{type(error).__name__}: {_line(error)}"
        ) from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
