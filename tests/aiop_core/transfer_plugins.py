"""Adaptable predictors and labels that tests of transfer share."""

from collections import defaultdict
from typing import ClassVar

import numpy as np

from aiop_core.contracts import AdaptableRegistration, BaselineRegistration, FitReport, Metric, Registration
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.fingerprints import fingerprints
from aiop_core.graph.model import GraphSet
from aiop_core.graph.ops import Op
from aiop_core.plugins import PluginSource
from aiop_core.records.cache import GraphCache
from aiop_core.testing.reference import Chain, ReferenceFamily, ReferencePredictor, hookimpl
from aiop_core.testing.reference_adaptable import AdaptableReference, AdaptOptions, TuneOptions


def two_branches(left, right, *, swapped=False):
    """Two convolutions side by side; ``swapped`` is the same network with its nodes in another order."""
    builder = GraphBuilder()
    node = builder.input((32, 32))
    made = {kernel: builder.conv(node, 8, kernel) for kernel in ((right, left) if swapped else (left, right))}
    node = builder.add(Op.Add, (made[left], made[right]) if left != right else (made[left], made[left]))
    builder.output(builder.linear(builder.mean(node), 10))
    return builder.build()


def chains(count, metric="acc", *, noise=0.0, scale=1.0, start=4, higher_is_better=True):
    """A cache of different chains whose labels grow with their width."""
    family = ReferenceFamily()
    found = [Chain(1 + i % 2, start + i // 2, 3) for i in range(count)]
    rng = np.random.default_rng(start)
    labels = [scale * (0.3 + 0.2 * np.log(chain.width) + 0.1 * chain.depth) + noise * rng.normal() for chain in found]
    graphs = GraphSet.of(family.graph(chain, (64, 64)) for chain in found)
    kind = Metric(metric, "points" if scale != 1 else "fraction", higher_is_better)
    return GraphCache.of(graphs, labels, [chain.spec for chain in found], ["chains"] * count, kind, {})


class Seeded(AdaptableReference):
    """Learns from a random half of what it is given, drawn from the seed."""

    fits = 0
    fails_at = None

    def _half(self, labels, seed):
        type(self).fits += 1
        if type(self).fits == type(self).fails_at:
            raise KeyboardInterrupt
        return labels.take(np.sort(np.random.default_rng(seed).permutation(len(labels))[: max(len(labels) // 2, 3)]))

    def fit(self, train, *, seed, device, progress):
        return super().fit(self._half(train, seed), seed=seed, device=device, progress=progress)

    def adapt(self, name, source, options, *, seed, device, progress):
        return super().adapt(name, self._half(source, seed), options, seed=seed, device=device, progress=progress)

    def tune(self, target, options, *, seed, device, progress):
        return super().tune(self._half(target, seed), options, seed=seed, device=device, progress=progress)


class Spy:
    """Remembers every label that it was ever given, saved and loaded ones included, and notes leaks."""

    truth: ClassVar[dict] = {}
    """Of each fingerprint, the labels of the target."""
    leaks: ClassVar[list] = []
    given: ClassVar[list] = []

    def __init__(self):
        self.known = defaultdict(set)

    def _learn(self, labels):
        prints = fingerprints(labels.graphs)
        type(self).given.append(list(zip(prints, labels.labels.tolist(), strict=True)))
        for name, label in type(self).given[-1]:
            self.known[name].add(label)
        return FitReport()

    def fit(self, train, *, seed, device, progress):
        self.known = defaultdict(set)
        return self._learn(train)

    def adapt(self, name, source, options, *, seed, device, progress):
        return self._learn(source)

    def tune(self, target, options, *, seed, device, progress):
        return self._learn(target)

    def predict(self, graphs):
        prints = fingerprints(graphs)
        type(self).leaks += [name for name in prints if self.known[name] & type(self).truth.get(name, set())]
        return graphs.sizes + np.random.default_rng(0).normal(size=len(graphs))

    def save(self, folder):
        lines = [f"{name} {label!r}" for name, labels in self.known.items() for label in labels]
        (folder / "known.txt").write_text("\n".join(lines))

    def load(self, folder):
        for line in (folder / "known.txt").read_text().splitlines():
            name, label = line.split()
            self.known[name].add(float(label))


class Mean(ReferencePredictor):
    def fit(self, train, *, seed, device, progress):
        self.mean = float(train.labels.mean())
        return FitReport()

    def predict(self, graphs):
        return np.full(len(graphs), self.mean)


class Plugin:
    """Two adaptable predictors, one that is not, and a baseline."""

    @staticmethod
    @hookimpl
    def aiop_register_predictors():
        return [
            AdaptableRegistration(
                "seeded", "", lambda _: Seeded(), adapt_options=AdaptOptions, tune_options=TuneOptions
            ),
            AdaptableRegistration("spy", "", lambda _: Spy()),
            Registration("plain", "", lambda _: ReferencePredictor()),
            BaselineRegistration("mean", "", lambda _: Mean(), asks="do labels differ?"),
        ]


source = PluginSource("transfer", "aiop-transfer", "0.1", lambda: Plugin)


def both(folder):
    """The flags of the two caches to learn from."""
    return "--cache", folder / "near.safetensors", "--cache", folder / "far.safetensors"


def evaluate(aiop, saved, folder, *more):
    """The command on the target, with ``more`` flags."""
    how = ("--cache", folder / "target.safetensors", "--out", folder / "e")
    return aiop("evaluate", "--predictor", saved, *how, *more)
