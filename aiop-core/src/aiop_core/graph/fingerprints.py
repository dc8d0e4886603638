"""Fingerprints of many graphs at once; each is the graph's own ``fingerprint``."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
from jaxtyping import Int

from aiop_core.graph.model import NODE_COLUMNS, WL_ROUNDS, GraphSet
from aiop_core.graph.refinement import Neighbours, Words, hash_rows

BLOCK_NODES = 50_000
"""About how many nodes are refined at once: their columns stay in the processor's cache."""


def fingerprints(graphs: GraphSet) -> list[str]:
    """Each graph's fingerprint; equal ones are the same network."""
    found: list[str] = []
    starts = graphs.node_offsets
    first = 0
    while first < len(graphs):
        last = max(int(np.searchsorted(starts, starts[first] + BLOCK_NODES, side="right")) - 1, first + 1)
        found += _block(graphs.take(np.arange(first, last)))
        first = last
    return found


def _block(graphs: GraphSet) -> list[str]:
    columns = [graphs.columns[name].reshape(len(graphs.graph_of_node), -1) for name in NODE_COLUMNS]
    colour = hash_rows([column for wide in columns for column in wide.T])
    shift = np.repeat(graphs.node_offsets[:-1], np.diff(graphs.edge_offsets))
    neighbours = Neighbours(graphs.edges + shift, len(colour))
    rounds = np.repeat(np.minimum(graphs.sizes, WL_ROUNDS), graphs.sizes)
    for done in range(WL_ROUNDS):
        refined = np.where(done < rounds, neighbours.refine(colour), colour)  # a small graph has few rounds
        before, colour = colour, refined
    (ordered, classes), (_, fewer) = _ordered(graphs, colour), _ordered(graphs, before)
    offsets = graphs.node_offsets.tolist()
    found = [hashlib.sha256(ordered[a:b].tobytes()).hexdigest()[:16] for a, b in pairwise(offsets)]
    for graph in np.flatnonzero(classes > fewer).tolist():  # rare, and each needs rounds of its own
        found[graph] = graphs[graph].fingerprint
    return found


def _ordered(graphs: GraphSet, colour: Words) -> tuple[Words, Int[np.ndarray, " g"]]:
    """The words by graph and size, and how many different ones each graph has."""
    of_node = graphs.graph_of_node  # ascending
    ordered = colour[np.lexsort((colour, of_node))]
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]) | (of_node[1:] != of_node[:-1])
    return ordered, np.bincount(of_node[new], minlength=len(graphs))
