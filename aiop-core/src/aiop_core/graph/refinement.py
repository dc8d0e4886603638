"""Weisfeiler-Lehman refinement: words for nodes that tell them and their surroundings.

It works on the columns of one graph or of many end to end alike. All sums wrap around at
64 bits, so that they depend on no order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt64

Words = UInt64[np.ndarray, " n"]


def hash_rows(columns: Sequence[np.ndarray[Any, Any]]) -> Words:
    """One 64-bit word for each row of integers, given by columns."""
    word = np.full(len(columns[0]), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in columns:
        word = mix(word + column.astype(np.int64, copy=False).view(np.uint64) * np.uint64(0xD1B54A32D192ED03))
    return word


def mix(value: Words) -> Words:
    """Scramble 64-bit words so that sums of them keep multisets apart (splitmix64's finaliser)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray[Any, Any] = value ^ (value >> np.uint64(31))
    return mixed


class Neighbours:
    """The edges of a graph, ready for sums over the predecessors and successors of each node."""

    def __init__(self, edges: Int[np.ndarray, "2 e"], nodes: int) -> None:
        self._sides = [_Side(here, there, nodes) for here, there in ((edges[1], edges[0]), (edges[0], edges[1]))]

    def refine(self, colour: Words) -> Words:
        """Each node's word of itself, its predecessors and its successors."""
        before, after = self._sides
        sums = (before.sums(mix(colour)), after.sums(mix(colour + np.uint64(1))))
        return hash_rows([colour.view(np.int64), *(part.view(np.int64) for part in sums)])


class _Side:
    """For each node the nodes at the other end of its edges, end to end in the nodes' order."""

    def __init__(self, here: np.ndarray[Any, Any], there: np.ndarray[Any, Any], nodes: int) -> None:
        self._there = there[np.argsort(here, kind="stable")]
        counts = np.bincount(here, minlength=nodes)
        self._stops = np.cumsum(counts)
        self._starts = self._stops - counts

    def sums(self, words: Words) -> Words:
        """For each node the sum of its neighbours' words."""
        running = np.zeros(len(self._there) + 1, dtype=np.uint64)
        np.cumsum(words[self._there], out=running[1:])
        summed: np.ndarray[Any, Any] = running[self._stops] - running[self._starts]
        return summed
