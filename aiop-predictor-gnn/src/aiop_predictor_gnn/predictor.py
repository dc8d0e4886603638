"""The predictor ``gnn``: graphs in, metric values out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from aiop_core.contracts import FitReport, Labelled, Progress
from aiop_core.errors import OptionError, WeightsError
from aiop_core.graph.cost import macs
from aiop_core.graph.model import GraphSet
from aiop_core.options import build_options, options_dict, suggest
from aiop_core.records.scaling import LabelScaling, checked_labels, gflops
from aiop_predictor_gnn.adapters import HOPS, AdaptedRegressor, Adapter
from aiop_predictor_gnn.batching import Layers
from aiop_predictor_gnn.checkpoint import SETTINGS_FILE, read_settings, read_weights, write_checkpoint
from aiop_predictor_gnn.encoder import LAYERS, GraphRegressor
from aiop_predictor_gnn.nodes import VOCABULARIES, NodeTable
from aiop_predictor_gnn.options import AdaptOptions, GnnOptions, TuneOptions
from aiop_predictor_gnn.paper import read_paper
from aiop_predictor_gnn.training import train as train_network
from aiop_predictor_gnn.tuning import fine_tune, tune_rescaling

PREDICT_GRAPHS = 512
"""Graphs unrolled at once: enough to share neighbourhoods, few enough to stay in the CPU's cache."""

AVERAGE, NONE = "average", "none"
"""What may be chosen beside an adapter's name: all of them, or the network's own head."""


class GnnPredictor:
    """A :class:`~aiop_core.contracts.Adaptable`: the paper's network, its adapters, and the scaling of its labels.

    Attributes:
        options: of the fit.
        scaling: from predictions of the network to labels.
        normalise: how sizes are divided now; the last that was asked for.
        network: the backbone with its own head.
        adapters: by name, in the order in which they came.
        chosen: whose predictions count: ``average``, ``none``, or an adapter's name.
    """

    def __init__(self, options: GnnOptions) -> None:
        self.options = options
        self.scaling = LabelScaling(options.scaling)
        self.normalise = options.normalise
        self.vocabulary = VOCABULARIES[options.vocabulary]
        self.network: GraphRegressor | None = None
        self.adapters: dict[str, Adapter] = {}
        self.chosen = AVERAGE

    @classmethod
    def of_paper(cls, path: Path, options: GnnOptions, names: Sequence[str] | None = None) -> GnnPredictor:
        """The predictor in a ``.pt`` file of the research code, which does not know the unit of its labels.

        Until ``tune`` says one, predictions are in the scaled labels that it learnt.

        Args:
            path: the file.
            options: how labels are scaled and sizes divided; the vocabulary is the paper's.
            names: of its adapters; ``k0``, ``k1`` … by default.

        Raises:
            WeightsError: if the file cannot be read, or is not of the paper's network.
            OptionError: if there are not as many names as adapters.
        """
        network, adapters = read_paper(path)
        names = [f"k{i}" for i in range(len(adapters))] if names is None else names
        if len(names) != len(adapters) or len(set(names) | {AVERAGE, NONE}) != len(names) + 2:
            raise OptionError(
                f"{path} has {len(adapters)} adapters, the names given are {', '.join(names)}; give each one of its own"
            )
        predictor = cls(replace(options, vocabulary="paper"))
        predictor.scaling = LabelScaling("none")
        predictor.network, predictor.adapters = network, dict(zip(names, adapters, strict=True))
        return predictor

    def fit(self, train: Labelled, *, seed: int, device: str, progress: Progress) -> FitReport:
        """Learn from ``train`` alone; on the CPU the same seed gives the same network.

        Labels of several data sets are scaled set by set.

        Raises:
            LabelError: if there are no labels, or one is not finite.
        """
        self.scaling, targets = _scaled(self.options.scaling, train)
        self.vocabulary, self.normalise = VOCABULARIES[self.options.vocabulary], self.options.normalise
        self.adapters, self.chosen = {}, AVERAGE
        self.network = GraphRegressor.initialised(self.vocabulary, torch.Generator().manual_seed(seed)).to(device)
        layers, rng = self.layers(train.graphs), np.random.default_rng(seed)
        return FitReport(
            train_network(self.network, layers, targets, self.options, rng=rng, device=device, progress=progress)
        )

    def adapt(
        self, name: str, source: Labelled, options: AdaptOptions, *, seed: int, device: str, progress: Progress
    ) -> FitReport:
        """Add an adapter that learns ``source``; the network and earlier adapters stay.

        From then on the average of all adapters predicts, in the unit of ``source`` until
        ``tune`` says another.

        Raises:
            OptionError: if the name is taken.
            LabelError: if there are no labels, or one is not finite.
            WeightsError: if nothing was fitted or loaded before.
        """
        network = self._fitted(device)
        if not name or name in self.adapters or name in (AVERAGE, NONE):
            taken = ", ".join([AVERAGE, NONE, *self.adapters])
            raise OptionError(f"an adapter cannot be called '{name}'; taken are {taken}: choose another name")
        scaling, targets = _scaled(self.options.scaling, source)
        adapter = Adapter.initialised(torch.Generator().manual_seed(seed)).to(device)
        adapted = AdaptedRegressor(network.requires_grad_(False), [adapter])
        self.normalise = options.normalise or self.normalise
        layers = self.layers(source.graphs, [adapter])
        try:
            report = train_network(
                adapted, layers, targets, options, rng=np.random.default_rng(seed), device=device, progress=progress
            )
        finally:
            network.requires_grad_(True)
        self.adapters[name], self.scaling, self.chosen = adapter, scaling, AVERAGE
        return FitReport(report)

    def tune(self, target: Labelled, options: TuneOptions, *, seed: int, device: str, progress: Progress) -> FitReport:
        """Scale predictions as the labels of ``target`` are, and let these change what the options free.

        Raises:
            OptionError: if there is no adapter of that name, or none that could be tuned.
            LabelError: if there are no labels, or one is not finite.
            WeightsError: if nothing was fitted or loaded before.
        """
        network, adapters = self._fitted(device), self._chosen(options.adapter)
        if options.what == "adapters" and not adapters:
            raise OptionError("there are no adapters to tune; add one first, or tune heads, backbone or all")
        scaling, targets = _scaled(options.scaling or self.options.scaling, target)
        self.scaling, self.chosen = scaling, options.adapter
        self.normalise = options.normalise or self.normalise
        if options.what == "scaling":
            return FitReport({"train_labels": float(len(target))})
        learn = tune_rescaling if options.what == "rescale" else fine_tune
        layers, rng = self.layers(target.graphs, adapters), np.random.default_rng(seed)
        report = learn(network, adapters, layers, targets, options, rng=rng, device=device, progress=progress)
        return FitReport({"train_labels": float(len(target)), **report})

    def layers(self, graphs: GraphSet, adapters: list[Adapter] | None = None) -> Layers:
        """``graphs`` as this predictor's network reads them, with a hop more where adapters do."""
        nodes = NodeTable.of(graphs, self.vocabulary, self.normalise)
        return Layers.of(graphs, nodes, HOPS if adapters else LAYERS)

    def predict(self, graphs: GraphSet) -> Float[np.ndarray, " n"]:
        """One value for each graph, in the labels' unit.

        Raises:
            WeightsError: if nothing was fitted or loaded before.
        """
        network, adapters = self._fitted(), self._chosen(self.chosen)
        model = AdaptedRegressor(network, adapters) if adapters else network
        device = network.output.weight.device
        targets = np.zeros(len(graphs))
        with torch.inference_mode():
            for start in range(0, len(graphs), PREDICT_GRAPHS):
                part = slice(start, start + PREDICT_GRAPHS)
                targets[part] = model(self.layers(graphs[part], adapters).batch(device)).cpu().numpy()
        return self.scaling.inverse(targets, gflops(macs(graphs)))

    def save(self, folder: Path) -> None:
        """Write weights, options, vocabulary and scaling into an existing folder.

        Raises:
            WeightsError: if nothing was fitted or loaded before.
        """
        network = self._fitted()
        settings = {
            "version": metadata.version("aiop-predictor-gnn"),
            "options": options_dict(self.options),
            "scaling": dataclasses.asdict(self.scaling),
            "ops": self.vocabulary.op_names,
            "normalise": self.normalise,
            "adapters": list(self.adapters),
            "chosen": self.chosen,
        }
        write_checkpoint(folder, _together(network, self.adapters), settings)

    def load(self, folder: Path) -> None:
        """Become what was saved there, options included.

        Raises:
            WeightsError: if a file is missing, damaged, or of another vocabulary.
        """
        settings = read_settings(folder)
        options, scaling, names = _restored(settings, folder)
        try:
            vocabulary = VOCABULARIES[options.vocabulary].as_of(settings.get("ops", ()))
        except WeightsError as error:
            raise WeightsError(f"{folder / SETTINGS_FILE}: {error}") from None
        with torch.device("meta"):
            network, adapters = GraphRegressor(vocabulary), {name: Adapter() for name in names}
        read_weights(folder, _together(network, adapters))
        self.options, self.scaling, self.vocabulary, self.network = options, scaling, vocabulary, network
        self.adapters, self.chosen = adapters, settings.get("chosen", AVERAGE)
        self.normalise = settings.get("normalise", options.normalise)

    def _fitted(self, device: str | None = None) -> GraphRegressor:
        """The network; it and all adapters are moved to ``device`` if one is given."""
        if self.network is None:
            raise WeightsError("predictor 'gnn' has no weights yet; call fit, or load a folder that it was saved into")
        if device is not None:
            for module in (self.network, *self.adapters.values()):
                module.to(device)
        return self.network

    def _chosen(self, adapter: str) -> list[Adapter]:
        """The adapters that ``adapter`` stands for; none where the network's own head predicts."""
        if adapter == AVERAGE:
            return list(self.adapters.values())
        if adapter == NONE:
            return []
        if adapter not in self.adapters:
            raise OptionError(f"there is no adapter '{adapter}'; {suggest(adapter, [AVERAGE, NONE, *self.adapters])}")
        return [self.adapters[adapter]]


def _together(network: GraphRegressor, adapters: Mapping[str, Adapter]) -> nn.Module:
    """One module whose state is the predictor's."""
    return AdaptedRegressor(network, list(adapters.values())) if adapters else network


def _scaled(kind: str, data: Labelled) -> tuple[LabelScaling, Float[np.ndarray, " n"]]:
    """Targets to learn, each data set's labels scaled by themselves, and the mean of these scalings.

    Raises:
        LabelError: if there are no labels, or one is not finite.
    """
    labels, size = checked_labels(data.labels), gflops(macs(data.graphs))
    sets = np.zeros(len(labels)) if data.sets is None else data.sets
    targets, scalings = np.empty(len(labels)), []
    for number in np.unique(sets):
        rows = sets == number
        scalings.append(LabelScaling.fit(kind, labels[rows], size[rows]))
        targets[rows] = scalings[-1].transform(labels[rows], size[rows])
    mean, deviation = (float(np.mean([getattr(s, name) for s in scalings])) for name in ("mean", "deviation"))
    return LabelScaling(kind, mean, deviation), targets


def _restored(settings: dict[str, Any], folder: Path) -> tuple[GnnOptions, LabelScaling, list[str]]:
    """Options, scaling and names of adapters from a settings file."""
    try:
        names = [str(name) for name in settings.get("adapters", [])]
        return build_options(GnnOptions, settings["options"]), LabelScaling(**settings["scaling"]), names
    except (KeyError, TypeError, OptionError) as error:
        raise WeightsError(
            f"{folder / SETTINGS_FILE} does not describe a 'gnn' of this version ({error}); fit and save it again"
        ) from None
