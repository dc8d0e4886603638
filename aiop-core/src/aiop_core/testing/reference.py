"""The in-memory reference plugin: the smallest family, task and predictor that keep every promise.

Beside them a zoo of three models. The conformance kit is proved on it, tests that need some
plugin use it, and authors read it beside ``docs/plugin-authors.md``. Importing it imports no
torch.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aiop_core.contracts import (
    Backbone,
    Family,
    FitReport,
    Labelled,
    Metric,
    Predictor,
    Progress,
    Registration,
    Task,
    Zoo,
)
from aiop_core.errors import LabelError, SpecError, WeightsError
from aiop_core.graph import cost
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.model import Graph, GraphSet
from aiop_core.graph.ops import Op
from aiop_core.hookspecs import hookimpl
from aiop_core.options import option

if TYPE_CHECKING:
    from torch import nn

STAGES = 5
"""Stages of a reference network; each halves the feature map."""

CLASSES = 10
"""Classes of the reference classifier."""


@dataclass(frozen=True)
class Chain:
    """A chain of convolutions: ``depth`` in each stage, all of one width and kernel."""

    depth: int
    width: int
    kernel: int

    @property
    def spec(self) -> str:
        """As in ``d2-w8-k3``."""
        return f"d{self.depth}-w{self.width}-k{self.kernel}"


class ReferenceFamily:
    """Twelve chains: one or two convolutions a stage, 4, 6 or 8 wide, 3 or 5 the kernel."""

    input_hw: tuple[int, int] = (64, 64)
    depths, widths, kernels = (1, 2), (4, 6, 8), (3, 5)

    def all(self) -> list[Chain]:
        """Every architecture there is."""
        return [Chain(*point) for point in itertools.product(self.depths, self.widths, self.kernels)]

    def sample(self, count: int, *, seed: int) -> list[Chain]:
        """``count`` of the chains, in a random order."""
        chains = self.all()
        if count > len(chains):
            raise SpecError(f"{count} distinct architectures asked, the reference family has {len(chains)}")
        return [chains[i] for i in np.random.default_rng(seed).permutation(len(chains))[:count]]

    def parse(self, spec: str) -> Chain:
        """The chain that ``d<depth>-w<width>-k<kernel>`` describes."""
        match = re.fullmatch(r"d(\d+)-w(\d+)-k(\d+)", spec)
        chain = Chain(*map(int, match.groups())) if match else None
        if chain is None or chain not in self.all():
            raise SpecError(
                f"'{spec}' is no chain; write d<depth>-w<width>-k<kernel> with depth in {self.depths}, "
                f"width in {self.widths}, kernel in {self.kernels}, e.g. d2-w8-k3"
            )
        return chain

    def backbone(self, architecture: Chain) -> Backbone:
        """The chain with a level after each stage, randomly initialised."""
        from aiop_core.testing.reference_modules import Body

        return Body(architecture)

    def network(self, architecture: Chain) -> nn.Module:
        """The chain, pooled, with a linear classifier."""
        from aiop_core.testing.reference_modules import Body, Pooled

        return Pooled(Body(architecture), CLASSES)

    def graph(self, architecture: Chain, input_hw: tuple[int, int]) -> Graph:
        """The graph of ``network``, composed."""
        builder = GraphBuilder()
        node = builder.input(input_hw)
        for position in range(STAGES * architecture.depth):
            stride = 2 if position % architecture.depth == 0 else 1
            node = builder.conv(node, architecture.width, architecture.kernel, stride=stride)
            node = builder.add(Op.ReLU, (builder.batch_norm(node),))
        builder.output(builder.linear(builder.mean(node), CLASSES))
        return builder.build()


@dataclass(frozen=True)
class TaskOptions:
    """The knobs of the reference task."""

    images: int = option(64, "training images", minimum=8)
    epochs: int = option(2, "passes over the training images", minimum=1)


class ReferenceTask:
    """Say in which quarter of a noisy image the bright square lies."""

    metrics: tuple[Metric, ...] = (
        Metric("quarter_accuracy", description="share of test images whose quarter is right"),
    )
    input_hw: tuple[int, int] = (32, 32)

    def __init__(self, options: TaskOptions) -> None:
        self.options = options

    def prepare(self) -> None:
        """Nothing: images are drawn when they are needed."""

    def model(self, backbone: Backbone) -> nn.Module:
        """The coarsest level, pooled, with a linear classifier of four."""
        from aiop_core.testing.reference_modules import Pooled

        return Pooled(backbone, 4)

    def train(self, model: nn.Module, *, seed: int, device: str, progress: Progress) -> None:
        """Cross-entropy with Adam, one batch a pass."""
        from aiop_core.testing.reference_modules import train

        train(model, self.options.images, self.options.epochs, self.input_hw, seed, device, progress)

    def evaluate(self, model: nn.Module, *, device: str) -> Mapping[str, float]:
        """Accuracy on 64 images that are always the same."""
        from aiop_core.testing.reference_modules import accuracy

        return {self.metrics[0].name: accuracy(model, self.input_hw, device)}

    def graphs(self, model: nn.Module) -> Mapping[str, Graph]:
        """The traced model."""
        from aiop_core.graph.trace import trace

        return {self.metrics[0].name: trace(model, (3, *self.input_hw))}


class ReferenceZoo:
    """Three of the reference family's networks, by the names of birds."""

    specs: Mapping[str, str] = {"wren": "d1-w4-k3", "robin": "d2-w4-k3", "heron": "d2-w8-k5"}

    def names(self) -> Sequence[str]:
        """From the smallest to the largest."""
        return list(self.specs)

    def module(self, name: str) -> nn.Module:
        """The network of that name."""
        family = ReferenceFamily()
        return family.network(family.parse(self.specs[name]))

    def input_shape(self, name: str) -> tuple[int, ...]:
        """All take images as the family does."""
        return 3, *ReferenceFamily.input_hw


class ReferencePredictor:
    """Least squares on the logarithms of MACs, parameters and nodes."""

    def __init__(self) -> None:
        self._weights: np.ndarray[Any, Any] | None = None

    @staticmethod
    def features(graphs: GraphSet) -> np.ndarray[Any, Any]:
        """(graphs, 4): one, and the logarithms of MACs, parameters and nodes."""
        sizes = np.stack([cost.macs(graphs), cost.params(graphs), graphs.sizes], axis=1)
        return np.concatenate([np.ones((len(graphs), 1)), np.log1p(sizes)], axis=1)

    def fit(self, train: Labelled, *, seed: int, device: str, progress: Progress) -> FitReport:
        """Solve once; neither ``seed`` nor ``device`` matters."""
        if not np.isfinite(train.labels).all():
            raise LabelError("labels hold a value that is not finite; drop those records")
        self._weights = np.linalg.lstsq(self.features(train.graphs), train.labels, rcond=1e-6)[0]
        progress(1, 1)
        return FitReport({"mae": float(np.abs(self.predict(train.graphs) - train.labels).mean())})

    def predict(self, graphs: GraphSet) -> np.ndarray[Any, Any]:
        """A weighted sum of the features."""
        if self._weights is None:
            raise WeightsError("the reference predictor is not fitted yet; call fit or load")
        predicted: np.ndarray[Any, Any] = self.features(graphs) @ self._weights
        return predicted

    def save(self, folder: Path) -> None:
        """One JSON file."""
        weights = [] if self._weights is None else self._weights.tolist()
        (folder / "least_squares.json").write_text(json.dumps(weights), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read that file back."""
        path = folder / "least_squares.json"
        try:
            self._weights = np.array(json.loads(path.read_text(encoding="utf-8")), dtype=np.float64)
        except (OSError, ValueError) as error:
            raise WeightsError(f"'{path}' cannot be read ({error}); give a folder that 'save' wrote") from None


@hookimpl
def aiop_register_families() -> Sequence[Registration[Family[Chain]]]:
    """The reference family."""
    return [Registration("reference", "Twelve chains of convolutions, for tests.", lambda _: ReferenceFamily())]


@hookimpl
def aiop_register_tasks() -> Sequence[Registration[Task]]:
    """The reference task."""
    return [Registration("reference", "Find a square in noise, for tests.", ReferenceTask, TaskOptions)]


@hookimpl
def aiop_register_predictors() -> Sequence[Registration[Predictor]]:
    """The reference predictor."""
    return [Registration("reference", "Least squares on sizes, for tests.", lambda _: ReferencePredictor())]


@hookimpl
def aiop_register_zoos() -> Sequence[Registration[Zoo]]:
    """The reference zoo."""
    return [Registration("reference_zoo", "Three networks with names, for tests.", lambda _: ReferenceZoo())]
