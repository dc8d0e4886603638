"""A family: a search space whose networks are plans. Modules, and torch, come on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from aiop_core.contracts import Architecture
from aiop_family_nasbench.graphs import compose
from aiop_family_nasbench.spaces import Space

if TYPE_CHECKING:
    from torch import nn

    from aiop_core.contracts import Backbone
    from aiop_core.graph.model import Graph

A = TypeVar("A", bound=Architecture)


class NASBenchFamily(Generic[A]):
    """The networks of one benchmark.

    Attributes:
        input_hw: the (height, width) of the benchmark's images.
    """

    def __init__(self, space: Space[A]) -> None:
        self._space = space
        self.input_hw = space.input_hw

    def sample(self, count: int, *, seed: int) -> list[A]:
        """``count`` distinct architectures, every one of the space equally likely.

        Raises:
            SpecError: if the space has fewer.
        """
        return self._space.sample(count, np.random.default_rng(seed))

    def parse(self, spec: str) -> A:
        """The architecture of a canonical text, or of the benchmark's own.

        Raises:
            SpecError: naming what is malformed and what is allowed.
        """
        return self._space.parse(spec)

    def backbone(self, architecture: A) -> Backbone:
        """The body, with the features of the last cell of each resolution."""
        from aiop_family_nasbench.networks import Body, make

        return make(Body, self._space.plan(architecture), architecture.spec)

    def network(self, architecture: A) -> nn.Module:
        """The network as the benchmark trained it."""
        from aiop_family_nasbench.networks import Network, make

        return make(Network, self._space.plan(architecture), architecture.spec)

    def graph(self, architecture: A, input_hw: tuple[int, int]) -> Graph:
        """The network's graph, composed without a module; equal to the traced one."""
        return compose(self._space.plan(architecture), input_hw)

    def params(self, architecture: A) -> int:
        """How many parameters the network holds, those that no output depends on included."""
        return self._space.plan(architecture).params
