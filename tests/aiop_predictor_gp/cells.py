"""Small networks whose label is known from what they are made of."""

from __future__ import annotations

import numpy as np

from aiop_core.contracts import FitReport, Labelled, NoOptions, Progress, silent
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.model import Graph, GraphSet
from aiop_core.graph.ops import Op
from aiop_predictor_gp.options import GpOptions, GpTuneOptions
from aiop_predictor_gp.predictor import GpPredictor

KINDS = "31dspb"
"""3 × 3, 1 × 1 and depthwise convolution, nothing, pool, and two convolutions side by side."""

LENGTH = 7

QUICK = GpOptions(target="rank")
"""Trying both targets would take twice the time."""


def network(kinds: str, *, width: int = 16, hw: int = 32, head: int = 0) -> Graph:
    """One operation after the other; ``head`` further convolutions that are the same in every network."""
    builder = GraphBuilder()
    node = builder.conv(builder.input((hw, hw)), width, 3)
    for kind in kinds:
        match kind:
            case "3" | "1":
                node = builder.batch_norm(builder.conv(node, width, int(kind)))
            case "d":
                node = builder.conv(node, width, 3, groups=width)
            case "p":
                node = builder.add(Op.Avgpool, (node,), kernel=(3, 3))
            case "b":
                node = builder.add(Op.Add, (builder.conv(node, width, 3), builder.conv(node, width, 1)))
    for _ in range(head):
        node = builder.add(Op.ReLU, (builder.conv(node, 2 * width, 3),))
    builder.output(builder.linear(builder.mean(node), 10))
    return builder.build()


def specs(count: int, seed: int, length: int = LENGTH) -> list[str]:
    """Distinct networks, drawn at random."""
    rng, found = np.random.default_rng(seed), dict[str, None]()
    while len(found) < count:
        found["".join(rng.choice(list(KINDS), length))] = None
    return list(found)


def quality(kinds: str) -> float:
    """Between 0 and 1; grows ever less with convolutions, falls with pools; the order does not matter."""
    strength = {"3": 1.0, "b": 0.8, "d": 0.5, "1": 0.3, "s": 0.0, "p": -0.4}
    return float(0.9 - 0.5 * np.exp(-0.4 * sum(strength[kind] for kind in kinds)))


def labelled(count: int, seed: int, *, noise: float = 0.0, width: int = 16, head: int = 0) -> Labelled:
    """Networks with their quality."""
    drawn = specs(count, seed)
    graphs = GraphSet.of(network(kinds, width=width, head=head) for kinds in drawn)
    rng = np.random.default_rng(seed + 1)
    return Labelled(graphs, np.array([quality(kinds) for kinds in drawn]) + rng.normal(scale=noise, size=count))


def fit(data: Labelled, options: GpOptions | None = None, *, seed: int = 0, progress: Progress = silent) -> GpPredictor:
    """A new predictor that knows ``data``."""
    predictor = GpPredictor(options or QUICK)
    predictor.fit(data, seed=seed, device="cpu", progress=progress)
    return predictor


def adapt(predictor: GpPredictor, name: str, data: Labelled) -> FitReport:
    """The predictor learns a further data set."""
    return predictor.adapt(name, data, NoOptions(), seed=0, device="cpu", progress=silent)


def tune(predictor: GpPredictor, data: Labelled, what: str = "all", adapter: str = "average") -> FitReport:
    """The predictor comes to a target."""
    return predictor.tune(data, GpTuneOptions(what, adapter), seed=0, device="cpu", progress=silent)
