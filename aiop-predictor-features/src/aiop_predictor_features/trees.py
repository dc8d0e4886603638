"""Gradient-boosted trees on graph features."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import sklearn
from jaxtyping import Float
from safetensors.numpy import load_file, save
from sklearn.ensemble import GradientBoostingRegressor

from aiop_core.contracts import FitReport, Labelled, Progress
from aiop_core.errors import OptionError, WeightsError
from aiop_core.graph.features import graph_features
from aiop_core.graph.model import GraphSet
from aiop_core.options import build_options, options_dict
from aiop_core.records.scaling import checked_labels
from aiop_predictor_features.options import GbtOptions

TABLE_FILE, SETTINGS_FILE = "gbt.safetensors", "gbt.json"


class GradientBoostedTrees:
    """A predictor and baseline on :func:`~aiop_core.graph.features.graph_features`.

    These are scikit-learn's exact trees: its histogram ones need 20 labels a leaf, and on
    OFA-MobileNetV3 are behind at 20, 100 and 500 labels.

    scikit-learn has no file format for trees but pickles, so ``save`` writes the table of
    features and labels, the options and the seed, and ``load`` grows the same trees again:
    a second for 500 labels. Another version of scikit-learn may grow others; ``load``
    warns of it.
    """

    def __init__(self, options: GbtOptions) -> None:
        self.options = options
        self._seed = 0
        self._table: dict[str, np.ndarray[Any, Any]] = {}
        self._trees: GradientBoostingRegressor | None = None

    def fit(self, train: Labelled, *, seed: int, device: str, progress: Progress) -> FitReport:
        """Grow the trees; the same ones for the same seed.

        Raises:
            LabelError: if there are no labels, or one is not finite.
        """
        labels = checked_labels(train.labels)
        features, _ = graph_features(train.graphs)
        self._grow({"features": features, "labels": labels}, seed)
        progress(1, 1)
        return FitReport({"labels": float(len(labels)), "features": float(features.shape[1])})

    def predict(self, graphs: GraphSet) -> Float[np.ndarray, " n"]:
        """The sum of what the trees say.

        Raises:
            WeightsError: if nothing was fitted or loaded before.
        """
        trees = self._fitted()
        predictions: np.ndarray[Any, Any] = trees.predict(graph_features(graphs)[0]) if len(graphs) else np.zeros(0)
        return predictions

    def save(self, folder: Path) -> None:
        """Write what the trees grow from.

        Raises:
            WeightsError: if nothing was fitted or loaded before.
        """
        self._fitted()
        settings = {
            "scikit-learn": sklearn.__version__,
            "options": options_dict(self.options),
            "seed": self._seed,
            "names": _names(),
        }
        (folder / TABLE_FILE).write_bytes(save(self._table))  # not save_file, whose files others cannot read
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Grow the saved trees again, with the options that they were saved with.

        Raises:
            WeightsError: if a file is missing or damaged, or of other features.
        """
        try:
            settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
            table = load_file(folder / TABLE_FILE)
            options = build_options(GbtOptions, settings["options"])
            version, seed, names = settings["scikit-learn"], int(settings["seed"]), settings["names"]
            fits = table["features"].shape == (len(table["labels"]), len(names))
        except FileNotFoundError as error:
            raise WeightsError(
                f"{error.filename or folder} does not exist; give the folder that a fitted 'gbt' was saved into"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, OptionError, safetensors.SafetensorError) as error:
            raise WeightsError(f"'gbt' in {folder} is damaged ({error}); fit and save it again") from None
        if names != _names() or not fits:
            raise WeightsError(f"'gbt' in {folder} has other features than this version of aiop-core; fit it again")
        if version != sklearn.__version__:
            warnings.warn(
                f"'gbt' in {folder} was fitted with scikit-learn {version}, here is {sklearn.__version__}: "
                "its predictions may differ",
                stacklevel=2,
            )
        self.options = options
        self._grow(table, seed)

    def _grow(self, table: dict[str, np.ndarray[Any, Any]], seed: int) -> None:
        options = self.options
        trees = GradientBoostingRegressor(
            n_estimators=options.trees,
            learning_rate=options.lr,
            max_depth=options.depth,
            subsample=options.rows if len(table["labels"]) > 1 else 1.0,  # scikit-learn needs one label left out
            max_features=options.features,
            random_state=seed,
        )
        self._trees = trees.fit(table["features"], table["labels"])
        self._table, self._seed = table, seed

    def _fitted(self) -> GradientBoostingRegressor:
        if self._trees is None:
            raise WeightsError("predictor 'gbt' is not fitted yet; call fit, or load a folder that it was saved into")
        return self._trees


def _names() -> list[str]:
    """The features of this version, in order."""
    return list(graph_features(GraphSet.of([]))[1])
