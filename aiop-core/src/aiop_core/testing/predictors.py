"""What every predictor promises. Each check fits new ones to a few small graphs."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from aiop_core.contracts import Labelled, Predictor, Uncertain, silent
from aiop_core.errors import AiopError, ContractError, WeightsError
from aiop_core.graph.cost import macs
from aiop_core.graph.model import GraphSet
from aiop_core.testing.promise import require
from aiop_core.testing.randomness import global_seed
from aiop_core.testing.reference import ReferenceFamily

MakePredictor = Callable[[], Predictor]

_TOLERANCE = 1e-4
"""How far equal predictions may differ: batches of another make-up add up in another order."""

_PICKLES = {".pkl", ".pickle", ".joblib", ".pt", ".pth"}


def example() -> Labelled:
    """All graphs of the reference family, with labels between 0.4 and 0.9 that grow with the MACs."""
    family = ReferenceFamily()
    graphs = GraphSet.of(family.graph(architecture, family.input_hw) for architecture in family.all())
    size = np.log(macs(graphs))
    noise = np.random.default_rng(0).normal(scale=0.02, size=len(graphs))
    return Labelled(graphs, 0.45 + 0.4 * (size - size.min()) / np.ptp(size) + noise)


def fitted(make: MakePredictor, labelled: Labelled | None = None) -> Predictor:
    """A new predictor, fitted on the example or on ``labelled``."""
    predictor = make()
    predictor.fit(labelled or example(), seed=7, device="cpu", progress=silent)
    return predictor


def close(a: Any, b: Any) -> bool:
    """Whether predictions are equal but for rounding."""
    return bool(np.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE))


def predictions_are_one_finite_number_a_graph(make: MakePredictor) -> None:
    """``predict`` gives (n,) float64, finite, and in the labels' unit."""
    train = example()
    found = fitted(make).predict(train.graphs)
    described = f"{getattr(found, 'dtype', type(found).__name__)} of shape {np.shape(found)}"
    right = isinstance(found, np.ndarray) and found.dtype == np.float64 and found.shape == train.labels.shape
    require(right, f"predict gave {described} for {len(train)} graphs, expected float64 of shape {train.labels.shape}")
    require(bool(np.isfinite(found).all()), "predict gave numbers that are not finite")
    low, high = 0.4 - 5, 0.9 + 5
    require(
        bool(((found > low) & (found < high)).all()),
        f"predictions reach from {found.min():g} to {found.max():g} though labels lie between 0.4 and 0.9; "
        "undo the scaling of labels",
    )


def fitting_is_seeded(make: MakePredictor) -> None:
    """Two predictors fitted with one seed predict the same, whatever the global random state."""
    found = []
    for seed in (1, 2):
        with global_seed(seed):
            found.append(fitted(make).predict(example().graphs))
    require(close(*found), "two fits with seed 7 predict differently; use a generator made from the seed")


def predictions_do_not_depend_on_the_other_graphs(make: MakePredictor) -> None:
    """A graph's prediction is the same in any order, and alone."""
    predictor, graphs = fitted(make), example().graphs
    together = predictor.predict(graphs)
    order = np.random.default_rng(0).permutation(len(graphs))
    require(close(predictor.predict(graphs.take(order)), together[order]), "predictions change with the graphs' order")
    require(close(predictor.predict(graphs[:1]), together[:1]), "the first graph alone gets another prediction")


def saving_and_loading_keeps_predictions(make: MakePredictor) -> None:
    """What ``load`` reads back predicts what was saved."""
    predictor, graphs = fitted(make), example().graphs
    with tempfile.TemporaryDirectory() as folder:
        predictor.save(Path(folder))
        loaded = make()
        loaded.load(Path(folder))
        require(close(loaded.predict(graphs), predictor.predict(graphs)), "a loaded predictor predicts otherwise")


def saving_writes_no_pickles(make: MakePredictor) -> None:
    """Files can be opened without running code that they hold."""
    with tempfile.TemporaryDirectory() as folder:
        fitted(make).save(Path(folder))
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        require(bool(files), "save wrote no file")
        for path in files:
            require(not _is_pickle(path), f"save wrote '{path.name}', a pickle; use safetensors, JSON or npy")


def loading_from_an_empty_folder_is_refused(make: MakePredictor) -> None:
    """``load`` raises WeightsError where nothing was saved."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            make().load(Path(folder))
        except WeightsError as error:
            require(bool(str(error).strip()), "the WeightsError for an empty folder has no message")
        except Exception as error:
            raise ContractError(f"load raised {type(error).__name__} instead of WeightsError") from error
        else:
            raise ContractError("load took an empty folder; it must raise WeightsError")


def labels_that_are_not_finite_are_refused(make: MakePredictor) -> None:
    """``fit`` raises an AiopError for nan and infinity."""
    for value in (np.nan, np.inf):
        labels = example().labels.copy()
        labels[3] = value
        try:
            fitted(make, replace(example(), labels=labels))
        except AiopError:
            continue
        except Exception as error:
            raise ContractError(f"fit raised {type(error).__name__} for a label {value}, not LabelError") from error
        raise ContractError(f"fit took a label that is {value}; it must raise LabelError")


def fitting_leaves_its_inputs_alone(make: MakePredictor) -> None:
    """Neither graphs nor labels are changed by ``fit`` and ``predict``."""
    source = example()
    columns = {name: column.copy() for name, column in source.graphs.columns.items()}
    given = Labelled(replace(source.graphs, columns=columns, edges=source.graphs.edges.copy()), source.labels.copy())
    fitted(make, given).predict(given.graphs)
    require(np.array_equal(given.labels, source.labels), "fit or predict changed the labels it was given")
    same = all(np.array_equal(columns[name], source.graphs.columns[name]) for name in columns)
    require(same and np.array_equal(given.graphs.edges, source.graphs.edges), "fit or predict changed the graphs")


def a_spread_is_one_positive_number_a_graph(make: Callable[[], Predictor]) -> None:
    """``spread``, where there is one, gives (n,) float64 above 0; the same when loaded, and for a graph alone."""
    predictor, graphs = fitted(make), example().graphs
    if not callable(getattr(predictor, "spread", None)):
        return
    found = cast(Uncertain, predictor).spread(graphs)
    described = f"{getattr(found, 'dtype', type(found).__name__)} of shape {np.shape(found)}"
    right = isinstance(found, np.ndarray) and found.dtype == np.float64 and found.shape == (len(graphs),)
    require(right, f"spread gave {described} for {len(graphs)} graphs, expected float64 of shape {(len(graphs),)}")
    require(bool((np.isfinite(found) & (found > 0)).all()), "spread gave numbers that are not finite and positive")
    require(close(cast(Uncertain, predictor).spread(graphs[:1]), found[:1]), "the first graph alone has another spread")
    with tempfile.TemporaryDirectory() as folder:
        predictor.save(Path(folder))
        loaded = make()
        loaded.load(Path(folder))
        require(close(cast(Uncertain, loaded).spread(graphs), found), "a loaded predictor has another spread")


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(2)
    if path.suffix in _PICKLES or (start[:1] == b"\x80" and start[1:] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        return True
    return zipfile.is_zipfile(path) and any(name.endswith(".pkl") for name in zipfile.ZipFile(path).namelist())


PREDICTOR_CHECKS: tuple[Callable[[MakePredictor], None], ...] = (
    predictions_are_one_finite_number_a_graph,
    fitting_is_seeded,
    predictions_do_not_depend_on_the_other_graphs,
    saving_and_loading_keeps_predictions,
    saving_writes_no_pickles,
    loading_from_an_empty_folder_is_refused,
    labels_that_are_not_finite_are_refused,
    fitting_leaves_its_inputs_alone,
    a_spread_is_one_positive_number_a_graph,
)
"""In the order in which an author meets them."""
