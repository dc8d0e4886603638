"""The sub-networks of a supernet while it is trained: plain modules, run on slices of the shared weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from aiop_core.capabilities import Lesson
from aiop_core.contracts import Architecture, Level
from aiop_family_ofa.networks import Body, Network
from aiop_family_ofa.shrinking import Elastic
from aiop_family_ofa.space import Space
from aiop_family_ofa.weights import Supernet

A = TypeVar("A", bound=Architecture)


class Students(Generic[A]):
    """All sub-networks, with whatever the lesson puts on them.

    Args:
        space: the search space.
        lesson: what is taught; ``None`` for the networks' own classifiers.
        seed: of the first weights.
        device: a torch device.

    Attributes:
        supernet: the shared weights.
        head: the lesson's, for features as wide as the largest network's.
    """

    def __init__(self, space: Space[A], lesson: Lesson | None, seed: int, device: str) -> None:
        self._space = space
        self._kind: type[Body] | type[Network] = Body if lesson else Network
        self.supernet = Supernet.random(space, seed)
        tensors = self.supernet.tensors
        tensors.update({name: tensor.to(device) for name, tensor in tensors.items()})
        for name, tensor in tensors.items():
            tensor.requires_grad_(not name.endswith(("running_mean", "running_var")))
        self.head: nn.Module = nn.Identity()
        if lesson:
            self._widest = space.plan(space.largest).levels
            with seeded(seed, device):
                self.head = lesson.head(self._widest).to(device)

    @property
    def parameters(self) -> list[Tensor]:
        """Everything that is learnt, always in the same order."""
        return [t for t in self.supernet.tensors.values() if t.requires_grad] + list(self.head.parameters())

    def outputs(self, architecture: A, images: Tensor, *, training: bool = True) -> Tensor:
        """What a sub-network says of images; batch norms use the batch's own statistics.

        Args:
            architecture: which one.
            images: (batch, 3, H, W).
            training: use dropout, and remember the statistics. As in the library, those of all
                sub-networks mix.
        """
        with torch.device("meta"):
            body = self._kind(self._space.plan(architecture))
        with _mode((body, self.head), training=training):
            found = functional_call(body, self.supernet.sliced(body), (images,))
            out: Tensor = self.head(found if isinstance(found, Tensor) else _padded(found, self._widest))
        return out

    def draw(self, elastic: Elastic, count: int, rng: np.random.Generator) -> list[A]:
        """The largest sub-network that is open, the smallest and ``count`` random ones, none of them twice."""
        space = self._space
        every = [depths[-elastic.depths :] for depths in space.depths]
        random = [space.draw([d[rng.integers(len(d))] for d in every], rng, elastic) for _ in range(count)]
        return list(dict.fromkeys([space.largest, space.smallest(elastic), *random]))


def _padded(features: Sequence[Tensor], levels: Sequence[Level]) -> list[Tensor]:
    """``features`` with zero channels behind, as many as the largest network's."""
    return [
        nn.functional.pad(x, (0, 0, 0, 0, 0, level.channels - x.shape[1])) if x.shape[1] < level.channels else x
        for x, level in zip(features, levels, strict=True)
    ]


@contextmanager
def _mode(modules: Sequence[nn.Module], *, training: bool) -> Iterator[None]:
    """Train, or do nothing but take batch norms' statistics from the batch."""
    norms = [m for module in modules for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for module in modules:
        module.train(training)
    if not training:
        for norm in norms:
            norm.train()
            norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Dropout, and heads that are made, can only draw from the global generator: seed it, and put it back after."""
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        yield
