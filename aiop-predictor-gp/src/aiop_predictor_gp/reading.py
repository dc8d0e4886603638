"""What is read of a graph: numbers in blocks, each block about one side of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aiop_core.graph.features import graph_features
from aiop_core.graph.model import GraphSet
from aiop_core.graph.paths import PATH_FEATURES, path_features
from aiop_core.graph.refinement import Neighbours, hash_rows

READ_GRAPHS = 512
"""Graphs read at once."""

WIDEST = 2000
"""Different nodes, or neighbourhoods, that are counted: those whose numbers vary most."""

_SIZES = ("log10_macs", "log10_params", "nodes", "edges", "depth", "width_max", "width_mean", "expansion_mean")
_SHAPE = ("op", "resolution", "kernel", "stride", "groups")

Table = Mapping[str, np.ndarray[Any, Any]]
"""Blocks by name, each (graphs, its columns)."""

Tally = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]

TRANSFERABLE = ("paths", "sizes", "counts")
"""Blocks that mean the same in every family and with every head.

Stages are not among them: a head that enlarges its maps moves every node to another stage."""


def structure(graphs: GraphSet) -> Table:
    """What a graph is made of: along paths, of the whole, by stage of resolution, by operation and kernel."""
    names = graph_features(GraphSet.of([]))[1]
    column = {name: i for i, name in enumerate(names)}
    stages = [i for name, i in column.items() if name.startswith("stage")]
    sizes = [column[name] for name in _SIZES]
    counts = sorted(set(column.values()) - set(stages) - set(sizes))
    paths, whole = [np.zeros((0, len(PATH_FEATURES)))], [np.zeros((0, len(names)))]
    for start in range(0, len(graphs), READ_GRAPHS):
        part = graphs[start : start + READ_GRAPHS]
        paths.append(path_features(part))
        whole.append(graph_features(part)[0])
    table = np.concatenate(whole)
    return {
        "paths": np.concatenate(paths),
        "sizes": table[:, sizes],
        "stages": table[:, stages],
        "counts": table[:, counts],
    }


def words(graphs: GraphSet) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """For every node a word for itself, and one for itself with its predecessors and successors."""
    columns = [graphs.columns[name].reshape(len(graphs.graph_of_node), -1) for name in _SHAPE]
    own = hash_rows([column for wide in columns for column in wide.T])
    shift = np.repeat(graphs.node_offsets[:-1], np.diff(graphs.edge_offsets))
    return own, Neighbours(graphs.edges + shift, len(own)).refine(own)


def _tally(word: np.ndarray[Any, Any], graph: np.ndarray[Any, Any]) -> Tally:
    """Each distinct word with the sum of its counts in graphs, and that of their squares."""
    distinct, number = np.unique(word, return_inverse=True)
    pairs, times = np.unique(graph * len(distinct) + number, return_counts=True)
    total, square = (np.bincount(pairs % len(distinct), times**power, len(distinct)) for power in (1, 2))
    return distinct, total, square


@dataclass(frozen=True)
class Vocabulary:
    """The nodes and neighbourhoods that training graphs differ in, as sorted words.

    Source: Shervashidze et al., "Weisfeiler-Lehman Graph Kernels", JMLR 2011.
    """

    known: tuple[np.ndarray[Any, Any], ...] = field(default_factory=tuple)

    @classmethod
    def of(cls, graphs: GraphSet) -> Vocabulary:
        """The ``WIDEST`` words of either kind that vary most between ``graphs``."""
        tallies: tuple[list[Tally], list[Tally]] = [], []
        for start in range(0, len(graphs), READ_GRAPHS):
            part = graphs[start : start + READ_GRAPHS]
            for word, tally in zip(words(part), tallies, strict=True):
                tally.append(_tally(word, part.graph_of_node))
        found = []
        for tally in tallies:
            word, total, square = (np.concatenate(column) for column in zip(*tally, strict=True))
            distinct, number = np.unique(word, return_inverse=True)
            total, square = (np.bincount(number, column, len(distinct)) for column in (total, square))
            variance = square / len(graphs) - (total / len(graphs)) ** 2
            kept = np.argsort(-variance, kind="stable")[:WIDEST]
            found.append(np.sort(distinct[kept[variance[kept] > 1e-12]]))
        return cls(tuple(found))

    def counts(self, graphs: GraphSet) -> Table:
        """How often each known word occurs in each graph."""
        table = {name: np.zeros((len(graphs), len(w)), np.float32) for name, w in zip(_WORDS, self.known, strict=True)}
        for start in range(0, len(graphs), READ_GRAPHS):
            part = graphs[start : start + READ_GRAPHS]
            for (name, known), word in zip(zip(_WORDS, self.known, strict=True), words(part), strict=True):
                if len(known):
                    place = np.minimum(np.searchsorted(known, word), len(known) - 1)
                    hit = known[place] == word
                    flat = part.graph_of_node[hit] * len(known) + place[hit]
                    table[name][start : start + READ_GRAPHS] = np.bincount(
                        flat, minlength=len(part) * len(known)
                    ).reshape(len(part), -1)
        return table


_WORDS = ("nodes", "neighbourhoods")
