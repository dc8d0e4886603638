"""The predictor ``gnn``: graphs in, metric values out."""

from __future__ import annotations

import dataclasses
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from aiop_core.contracts import FitReport, Labelled, Progress
from aiop_core.errors import OptionError, WeightsError
from aiop_core.graph.cost import macs
from aiop_core.graph.model import GraphSet
from aiop_core.options import build_options, options_dict
from aiop_core.records.scaling import LabelScaling, checked_labels, gflops
from aiop_predictor_gnn.batching import Layers
from aiop_predictor_gnn.checkpoint import SETTINGS_FILE, read_settings, read_weights, write_checkpoint
from aiop_predictor_gnn.encoder import LAYERS, GraphRegressor
from aiop_predictor_gnn.nodes import VOCABULARIES, NodeTable
from aiop_predictor_gnn.options import GnnOptions
from aiop_predictor_gnn.training import train as train_network

PREDICT_GRAPHS = 512
"""Graphs unrolled at once: enough to share neighbourhoods, few enough to stay in the CPU's cache."""


class GnnPredictor:
    """A :class:`~aiop_core.contracts.Predictor`: the paper's network, and the scaling of its labels."""

    def __init__(self, options: GnnOptions) -> None:
        self.options = options
        self.scaling = LabelScaling(options.scaling)
        self.vocabulary = VOCABULARIES[options.vocabulary]
        self.network: GraphRegressor | None = None

    def fit(self, train: Labelled, *, seed: int, device: str, progress: Progress) -> FitReport:
        """Learn from ``train`` alone; on the CPU the same seed gives the same network.

        Raises:
            LabelError: if there are no labels, or one is not finite.
        """
        labels = checked_labels(train.labels)
        self.vocabulary = VOCABULARIES[self.options.vocabulary]
        size = gflops(macs(train.graphs))
        self.scaling = LabelScaling.fit(self.options.scaling, labels, size)
        generator = torch.Generator().manual_seed(seed)
        self.network = GraphRegressor.initialised(self.vocabulary, generator).to(device)
        return FitReport(
            train_network(
                self.network,
                self.layers(train.graphs),
                self.scaling.transform(labels, size),
                self.options,
                rng=np.random.default_rng(seed),
                device=device,
                progress=progress,
            )
        )

    def layers(self, graphs: GraphSet) -> Layers:
        """``graphs`` as this predictor's network reads them."""
        nodes = NodeTable.of(graphs, self.vocabulary, self.options.normalise)
        return Layers.of(graphs, nodes, LAYERS)

    def predict(self, graphs: GraphSet) -> Float[np.ndarray, " n"]:
        """One value for each graph, in the labels' unit.

        Raises:
            WeightsError: if nothing was fitted or loaded before.
        """
        network = self._fitted()
        device = network.output.weight.device
        targets = np.zeros(len(graphs))
        with torch.inference_mode():
            for start in range(0, len(graphs), PREDICT_GRAPHS):
                part = slice(start, start + PREDICT_GRAPHS)
                targets[part] = network(self.layers(graphs[part]).batch(device)).cpu().numpy()
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
        }
        write_checkpoint(folder, network, settings)

    def load(self, folder: Path) -> None:
        """Become what was saved there, options included.

        Raises:
            WeightsError: if a file is missing, damaged, or of another vocabulary.
        """
        settings = read_settings(folder)
        options, scaling = _restored(settings, folder)
        try:
            vocabulary = VOCABULARIES[options.vocabulary].as_of(settings.get("ops", ()))
        except WeightsError as error:
            raise WeightsError(f"{folder / SETTINGS_FILE}: {error}") from None
        with torch.device("meta"):
            network = GraphRegressor(vocabulary)
        read_weights(folder, network)
        self.options, self.scaling, self.vocabulary, self.network = options, scaling, vocabulary, network

    def _fitted(self) -> GraphRegressor:
        if self.network is None:
            raise WeightsError("predictor 'gnn' has no weights yet; call fit, or load a folder that it was saved into")
        return self.network


def _restored(settings: dict[str, Any], folder: Path) -> tuple[GnnOptions, LabelScaling]:
    """Options and scaling from a settings file."""
    try:
        return build_options(GnnOptions, settings["options"]), LabelScaling(**settings["scaling"])
    except (KeyError, TypeError, OptionError) as error:
        raise WeightsError(
            f"{folder / SETTINGS_FILE} does not describe a 'gnn' of this version ({error}); fit and save it again"
        ) from None
