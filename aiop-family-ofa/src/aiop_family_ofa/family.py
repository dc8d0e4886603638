"""The three families: a search space and its options. Modules, and torch, come on demand."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from aiop_core.contracts import Architecture
from aiop_family_ofa import graphs, mobile, resnet
from aiop_family_ofa.options import MobileNetV3Options, ProxylessOptions, SupernetOptions
from aiop_family_ofa.sampling import STRATA, draw, sample
from aiop_family_ofa.shrinking import ALL
from aiop_family_ofa.space import Space

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from aiop_core.capabilities import Lesson
    from aiop_core.contracts import Backbone, FitReport, Level, Progress
    from aiop_core.graph.model import Graph
    from aiop_family_ofa.assembly import Assembly
    from aiop_family_ofa.training_options import TrainingOptions

A = TypeVar("A", bound=Architecture)


class OFAFamily(Generic[A]):
    """A family of the once-for-all networks.

    Attributes:
        input_hw: the resolution at which the supernets' accuracies are published.
        strata: how many ranges of depth ``draw`` tells apart.
    """

    input_hw = (224, 224)
    strata = len(STRATA)

    def __init__(self, space: Space[A], options: SupernetOptions) -> None:
        self._space = space
        self._options = options

    def sample(self, count: int, *, seed: int) -> list[A]:
        """``count`` distinct architectures, drawn as the option ``sampling`` says.

        Raises:
            SpecError: if the space has fewer.
        """
        rng = np.random.default_rng(seed)
        return sample(self._space, count, rng, by_depth=self._options.sampling == "depth")

    @property
    def widest(self) -> tuple[Level, ...] | None:
        """Each level as wide as any body's; ``None`` where all bodies are equally wide."""
        largest, smallest = (self._space.plan(a).levels for a in (self._space.largest, self._space.smallest(ALL)))
        return None if largest == smallest else largest

    def draw(self, stratum: int, *, seed: int) -> A:
        """A random architecture of a range of total depth, the shallowest being 0.

        Raises:
            SpecError: if there is no such stratum.
        """
        return draw(self._space, stratum, np.random.default_rng(seed))

    def parse(self, spec: str) -> A:
        """The architecture of a canonical text or of a published configuration.

        Raises:
            SpecError: naming what is malformed and what is allowed.
        """
        return self._space.parse(spec)

    def backbone(self, architecture: A) -> Backbone:
        """The body, with features of strides 4, 8, 16 and 32.

        Raises:
            WeightsError: if the weights that the options name cannot be had.
        """
        from aiop_family_ofa.networks import Body

        return self._assembly.make(Body, architecture)

    def network(self, architecture: A) -> nn.Module:
        """The ImageNet classifier.

        Raises:
            WeightsError: if the weights that the options name cannot be had.
        """
        from aiop_family_ofa.networks import Network

        return self._assembly.make(Network, architecture)

    def graph(self, architecture: A, input_hw: tuple[int, int]) -> Graph:
        """The classifier's graph, composed without a module; equal to the traced one."""
        return graphs.compose(self._space.plan(architecture), input_hw)

    def fingerprint(self) -> str:
        """Which weights the options find; see :class:`~aiop_core.capabilities.Fingerprinted`.

        Raises:
            DataError: if there are no calibration images.
            WeightsError: if the weights that the options name cannot be had.
        """
        return "" if self._options.weights == "none" else self._assembly.fingerprint

    def train_supernet(
        self, lesson: Lesson | None, out: Path, options: TrainingOptions, *, seed: int, device: str, progress: Progress
    ) -> FitReport:
        """Train shared weights into ``supernet.pth``, which the option ``weights`` reads.

        Raises:
            DataError: if there is nothing to learn from, or ``out`` holds another training or cannot be written.
        """
        from aiop_family_ofa.supernet_training import train

        return train(self._space, lesson, out, options, seed=seed, device=device, progress=progress)

    @cached_property
    def _assembly(self) -> Assembly[A]:
        from aiop_family_ofa.assembly import Assembly

        return Assembly(self._space, self._options, self.input_hw)


def create(options: SupernetOptions) -> OFAFamily[Any]:
    """The family that a class of options belongs to."""
    if isinstance(options, ProxylessOptions):
        return OFAFamily(mobile.proxyless(options.width), options)
    if isinstance(options, MobileNetV3Options):
        return OFAFamily(mobile.mobilenet_v3(options.width), options)
    return OFAFamily(resnet.ResNetSpace(), options)
