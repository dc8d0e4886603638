"""The predictor ``gp``: graphs in, metric values and their uncertainty out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from jaxtyping import Float
from safetensors.numpy import load_file, save

from aiop_core.contracts import FitReport, Labelled, NoOptions, Progress
from aiop_core.errors import OptionError, WeightsError
from aiop_core.graph.model import GraphSet
from aiop_core.metrics import kendall
from aiop_core.options import build_options, options_dict, suggest
from aiop_core.records.scaling import checked_labels
from aiop_predictor_gp.learner import Learner
from aiop_predictor_gp.options import GpOptions, GpTuneOptions
from aiop_predictor_gp.reading import Table, Vocabulary, structure
from aiop_predictor_gp.targets import Target
from aiop_predictor_gp.transfer import Source, Summary, readings, restored, state

ARRAYS_FILE, SETTINGS_FILE = "gp.safetensors", "gp.json"

PREDICT_GRAPHS = 2048
"""Graphs whose features are in memory at once."""

FORMAT = 1
"""Version of both files; raised when an older reader would misread them."""

FIRST = "pretraining"
"""What a data set that ``fit`` learnt is called; with several, ``pretraining0``, ``pretraining1`` …"""

AVERAGE = "average"


class GpPredictor:
    """A :class:`~aiop_core.contracts.Predictor` that is adaptable, uncertain, and comes to a target by its graphs.

    It reads every graph as numbers in blocks (:mod:`~aiop_predictor_gp.reading`) and learns
    labels from them by Gaussian processes. Earlier data sets are further blocks.
    """

    def __init__(self, options: GpOptions) -> None:
        self.options = options
        self._forget()

    def _forget(self) -> None:
        """Become as new."""
        self.tuning = GpTuneOptions()
        self.sources: dict[str, Source] = {}
        self.target: Summary | None = None
        self.awaits_tuning = False
        self.vocabulary = Vocabulary()
        self.scores: dict[str, Target] = {}
        self.learner: Learner | None = None
        self.reads_sources = False
        self.line: tuple[float, float] | None = None
        self.device = "cpu"

    # --- learning --------------------------------------------------------------------

    def fit(self, train: Labelled, *, seed: int, device: str, progress: Progress) -> FitReport:
        """Learn from ``train`` alone; the same seed gives the same predictor.

        After several sets ``predict`` only ranks.

        Raises:
            LabelError: if there are no labels, or one is not finite.
        """
        labels = checked_labels(train.labels)
        self._forget()
        self.device = device
        table = structure(train.graphs)
        self.sources = Source.each(FIRST, table, labels, train.sets, seed)
        if len(self.sources) == 1:  # several have no unit in common, and are asked as earlier data sets are
            self.learner = self._learn(train.graphs, labels, table, reads_sources=False, seed=seed, progress=progress)
        return FitReport(self._report(len(labels)))

    def adapt(
        self, name: str, source: Labelled, options: NoOptions, *, seed: int, device: str, progress: Progress
    ) -> FitReport:
        """Learn a further data set; what was learnt before stays as it is.

        Raises:
            LabelError: if there are no labels, or one is not finite.
            OptionError: if the name was used before.
            WeightsError: if nothing was fitted or loaded before.
        """
        self._fitted()
        labels = checked_labels(source.labels)
        found = Source.each(name, structure(source.graphs), labels, source.sets, seed)
        if name in (*self.sources, AVERAGE) or found.keys() & self.sources.keys():
            raise OptionError(f"'{name}' names a data set already ({', '.join(self.sources)}, {AVERAGE}); use another")
        self.device = device
        self.sources |= found
        self.tuning, self.awaits_tuning = GpTuneOptions(), False
        self.learner, self.line, self.target = None, None, None
        progress(1, 1)
        return FitReport(self._report(len(labels)))

    def align(self, graphs: GraphSet, options: GpTuneOptions) -> None:
        """Come to a target by its graphs alone, without labels: ``predict`` then ranks them.

        Raises:
            OptionError: if the options name a data set that was not learnt.
            WeightsError: if nothing was fitted or loaded before.
        """
        self._fitted()
        self._choose(options)
        if len(graphs):
            self.target, self.learner, self.line = Summary.of(structure(graphs)), None, None
            self.awaits_tuning = True

    def tune(
        self, target: Labelled, options: GpTuneOptions, *, seed: int, device: str, progress: Progress
    ) -> FitReport:
        """Come to a target by few labels, and by its graphs where ``align`` was not called.

        Raises:
            LabelError: if there are no labels, or one is not finite.
            OptionError: if the options name a data set that was not learnt.
            WeightsError: if nothing was fitted or loaded before.
        """
        self._fitted()
        labels = checked_labels(target.labels)
        self._choose(options)
        self.device = device
        table = structure(target.graphs)
        if not self.awaits_tuning:
            self.target = Summary.of(table)
        self.awaits_tuning = False
        self.learner, self.line = None, None
        found = self._transferred(table)
        if options.what != "scaling":
            learner = self._learn(target.graphs, labels, table, reads_sources=True, seed=seed, progress=progress)
            if options.what == "all" or learner.left_out_tau() > np.nan_to_num(kendall(labels, found), nan=-1.0):
                self.learner = learner
        if self.learner is None:
            self.line = _line(found, labels)
            progress(1, 1)
        return FitReport(self._report(len(labels)))

    def _choose(self, options: GpTuneOptions) -> None:
        names = [*self.sources, AVERAGE]
        if options.adapter not in names:
            raise OptionError(f"adapter is '{options.adapter}'; {suggest(options.adapter, names)}")
        self.tuning = options

    def _learn(
        self,
        graphs: GraphSet,
        labels: np.ndarray[Any, Any],
        table: Table,
        *,
        reads_sources: bool,
        seed: int,
        progress: Progress,
    ) -> Learner:
        """A learner fitted to graphs and their structure; ``_read`` then gives the blocks that it knows."""
        self.reads_sources = reads_sources
        self.vocabulary = Vocabulary.of(graphs)
        found = graphs.scores if self.options.scores else {}
        self.scores = {  # by rank, since proxies reach over many orders of magnitude
            name: Target.rank(known) for name in sorted(found) if len(known := found[name][np.isfinite(found[name])])
        }
        return Learner.fit(
            self._read(graphs, table), labels, self.options, seed=seed, device=self.device, progress=progress
        )

    # --- predicting ------------------------------------------------------------------

    def predict(self, graphs: GraphSet) -> Float[np.ndarray, " n"]:
        """One value for each graph: in the labels' unit after ``fit`` or ``tune``, else only a rank.

        Raises:
            WeightsError: if nothing was fitted or loaded before.
        """
        self._fitted()
        if not len(graphs):
            return np.zeros(0)
        if self.learner is not None:
            return np.concatenate([self.learner.labels(self._read(part)) for part in _parts(graphs)])
        found = self._transferred(structure(graphs))
        if self.line is not None:
            return self.line[0] + self.line[1] * found
        return Target.rank(next(iter(self.sources.values())).labels).inverse(found)

    def spread(self, graphs: GraphSet) -> Float[np.ndarray, " n"]:
        """A deviation for each graph, in the labels' unit; constant where only a scale was learnt.

        Raises:
            WeightsError: if nothing was fitted or loaded before.
        """
        self._fitted()
        if self.learner is None or not len(graphs):
            return np.ones(len(graphs))
        return np.concatenate([self.learner.spread(self._read(part)) for part in _parts(graphs)])

    def _read(self, graphs: GraphSet, table: Table | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """All blocks that the learner knows."""
        table = structure(graphs) if table is None else table
        read = {**table, **self.vocabulary.counts(graphs)}
        if self.scores:
            unknown = np.full(len(graphs), np.nan)
            columns = [target.transform(graphs.scores.get(name, unknown)) for name, target in self.scores.items()]
            read["scores"] = np.stack(columns, axis=1)
        if self.reads_sources:
            read["readings"] = np.stack(
                [column for name in sorted(self._asked()) for column in self._readings(name, table)], axis=1
            )
        return read

    def _readings(self, name: str, table: Table) -> list[np.ndarray[Any, Any]]:
        source = self.sources[name]
        return readings(source, source.learnt(self.options, device=self.device), self.target, table)

    def _transferred(self, table: Table) -> Float[np.ndarray, " n"]:
        """The mean of what the asked data sets say, in deviations of their labels."""
        mean: np.ndarray[Any, Any] = np.mean([self._readings(name, table)[0] for name in sorted(self._asked())], axis=0)
        return mean

    def _asked(self) -> list[str]:
        return list(self.sources) if self.tuning.adapter == AVERAGE else [self.tuning.adapter]

    # --- files -----------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write arrays and settings into an existing folder.

        Raises:
            WeightsError: if nothing was fitted or loaded before.
        """
        self._fitted()
        arrays, learner = self.learner.state("learner") if self.learner else ({}, None)
        for source in self.sources.values():
            source.learnt(self.options, device=self.device)  # once, and not whenever it is loaded
        transferred, learners = state(self.sources, self.target)
        arrays |= transferred
        for i, target in enumerate(self.scores.values()):
            arrays |= {f"score{i}.labels": target.labels, f"score{i}.scores": target.scores}
        arrays |= {f"word{i}": known for i, known in enumerate(self.vocabulary.known)}
        settings = {
            "format": FORMAT,
            "version": metadata.version("aiop-predictor-gp"),
            "options": options_dict(self.options),
            "tuning": options_dict(self.tuning),
            "sources": list(self.sources),
            "learners": learners,
            "aligned": self.target is not None,
            "awaits_tuning": self.awaits_tuning,
            "words": len(self.vocabulary.known),
            "scores": list(self.scores),
            "learner": learner,
            "reads_sources": self.reads_sources,
            "line": self.line,
        }
        content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        (folder / ARRAYS_FILE).write_bytes(content)  # not save_file, whose files others cannot read
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Become what was saved there, options included.

        Raises:
            WeightsError: if a file is missing, damaged, or of another version.
        """
        try:
            settings: Any = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
            arrays = load_file(folder / ARRAYS_FILE)
            if settings["format"] != FORMAT:
                raise WeightsError(
                    f"'gp' in {folder} has format {settings['format']}, this version reads {FORMAT}; fit it again"
                )
            self._restore(settings, arrays)
        except FileNotFoundError as error:
            missing = error.filename or folder / ARRAYS_FILE
            raise WeightsError(f"{missing} does not exist; give the folder that a fitted 'gp' was saved into") from None
        except (
            *(OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RuntimeError),
            *(OptionError, safetensors.SafetensorError),
        ) as error:
            raise WeightsError(f"'gp' in {folder} is damaged ({error}); fit and save it again") from None

    def _restore(self, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        found = GpPredictor(build_options(GpOptions, settings["options"]))
        found.tuning = build_options(GpTuneOptions, settings["tuning"])
        found.sources, found.target = restored(
            settings["sources"], settings["learners"], arrays, aligned=settings["aligned"]
        )
        found.vocabulary = Vocabulary(tuple(arrays[f"word{i}"] for i in range(settings["words"])))
        found.scores = {
            name: Target(arrays[f"score{i}.labels"], arrays[f"score{i}.scores"])
            for i, name in enumerate(settings["scores"])
        }
        found.reads_sources = bool(settings["reads_sources"])
        found.awaits_tuning = bool(settings["awaits_tuning"])
        if settings["line"]:
            intercept, slope = settings["line"]
            found.line = float(intercept), float(slope)
        if settings["learner"]:
            found.learner = Learner.restored("learner", arrays, settings["learner"])
        self.__dict__.update(found.__dict__)

    def _report(self, labels: int) -> dict[str, float]:
        processes = len(self.learner.processes) if self.learner else 0
        return {"labels": float(labels), "processes": float(processes), "data_sets": float(len(self.sources))}

    def _fitted(self) -> None:
        if not self.sources:
            raise WeightsError("predictor 'gp' is not fitted yet; call fit, or load a folder that it was saved into")


def _parts(graphs: GraphSet) -> Iterator[GraphSet]:
    """``graphs`` in parts of ``PREDICT_GRAPHS``."""
    return (graphs[start : start + PREDICT_GRAPHS] for start in range(0, len(graphs), PREDICT_GRAPHS))


def _line(found: Float[np.ndarray, " n"], labels: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Intercept and slope of the least-squares line; level if it would turn the ranking round."""
    offset = found - found.mean()
    spread = float(offset @ offset)
    slope = max(float(offset @ labels) / spread, 0.0) if spread > 0 else 0.0
    if slope == 0 and spread > 0:
        slope = 1e-6 * float(labels.std() + 1e-12)
    return float(labels.mean() - slope * found.mean()), slope
