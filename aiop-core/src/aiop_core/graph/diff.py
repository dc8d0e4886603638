"""What differs between two graphs, node by node."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aiop_core.graph.model import NODE_COLUMNS, WL_ROUNDS, Graph
from aiop_core.graph.ops import Op

_PARTS = {
    "resolution": ("H_in", "H_out", "W_in", "W_out", "C_in", "C_out"),
    "kernel": ("kH", "kW"),
    "stride": ("sH", "sW"),
}


@dataclass(frozen=True)
class Change:
    """A node that both graphs have, with other attributes: name to the values of both."""

    a: int
    b: int
    op: str
    values: dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Difference:
    """What two graphs do not share.

    Attributes:
        changed: nodes of both that differ.
        only_a, only_b: nodes of one, as (node, operation).
        edges_a, edges_b: edges between nodes of both that only one has, numbered as in that graph.
    """

    changed: Sequence[Change]
    only_a: Sequence[tuple[int, str]]
    only_b: Sequence[tuple[int, str]]
    edges_a: Sequence[tuple[int, int]]
    edges_b: Sequence[tuple[int, int]]

    def __bool__(self) -> bool:
        return any((self.changed, self.only_a, self.only_b, self.edges_a, self.edges_b))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def compare(a: Graph, b: Graph) -> Difference:
    """What differs; nothing if and only if the graphs are isomorphic with equal attributes.

    Nodes are matched by what they are and by what surrounds them, the surest first: what is
    left without a partner stands in ``only_a`` and ``only_b``.
    """
    if a.fingerprint == b.fingerprint:
        return Difference((), (), (), (), ())
    partner = _match(a, b)
    changed = []
    for node, other in sorted(partner.items()):
        if values := _changes(a, node, b, other):
            changed.append(Change(node, other, Op(int(a.op[node])).name, values))
    known = set(partner.values())
    edges_a, edges_b = _edges(a), _edges(b)
    back = {other: node for node, other in partner.items()}
    return Difference(
        changed,
        [(n, Op(int(a.op[n])).name) for n in range(len(a)) if n not in partner],
        [(n, Op(int(b.op[n])).name) for n in range(len(b)) if n not in known],
        [(s, t) for s, t in edges_a if s in partner and t in partner and (partner[s], partner[t]) not in set(edges_b)],
        [(s, t) for s, t in edges_b if s in back and t in back and (back[s], back[t]) not in set(edges_a)],
    )


def _edges(graph: Graph) -> list[tuple[int, int]]:
    return [(s, t) for s, t in graph.edges.T.tolist()]


def _changes(a: Graph, node: int, b: Graph, other: int) -> dict[str, tuple[Any, Any]]:
    """The attributes that differ, by name."""
    values: dict[str, tuple[Any, Any]] = {}
    for column in NODE_COLUMNS:
        ours, theirs = np.atleast_1d(getattr(a, column)[node]), np.atleast_1d(getattr(b, column)[other])
        for name, x, y in zip(_PARTS.get(column, (column,)), ours.tolist(), theirs.tolist(), strict=True):
            if x != y:
                values[name] = (x, y)
    return values


class _Matching:
    """Partners found so far, and the neighbours through which to find more."""

    def __init__(self, a: Graph, b: Graph) -> None:
        self.partner: dict[int, int] = {}
        self.taken: set[int] = set()
        self.near = [_neighbours(a), _neighbours(b)]

    def pair(self, node: int, other: int) -> None:
        """Make two nodes partners."""
        self.partner[node] = other
        self.taken.add(other)

    def by_colour(self, ours: Sequence[Any], theirs: Sequence[Any], *, unique: bool) -> list[int]:
        """Pair nodes of equal colour, only those alone in it if so asked; what was paired."""
        groups: dict[Any, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for node, colour in enumerate(ours):
            if node not in self.partner:
                groups[colour][0].append(node)
        for other, colour in enumerate(theirs):
            if other not in self.taken:
                groups[colour][1].append(other)
        new = []
        for mine, yours in groups.values():
            if (not unique and len(mine) == len(yours)) or len(mine) == len(yours) == 1:
                for node, other in zip(mine, yours, strict=True):
                    self.pair(node, other)
                    new.append(node)
        return new

    def spread(self, start: Iterable[int], ours: Sequence[Any], theirs: Sequence[Any]) -> None:
        """Pair the neighbours of partners that are alone in their colour on that side."""
        waiting = list(start)
        while waiting:
            node = waiting.pop()
            other = self.partner[node]
            for side in (0, 1):
                mine = [n for n in self.near[0][side][node] if n not in self.partner]
                yours = [n for n in self.near[1][side][other] if n not in self.taken]
                counts = Counter(ours[n] for n in mine), Counter(theirs[n] for n in yours)
                for n in mine:
                    if counts[0][ours[n]] == counts[1][ours[n]] == 1:
                        self.pair(n, next(m for m in yours if theirs[m] == ours[n]))
                        waiting.append(n)


def _neighbours(graph: Graph) -> tuple[list[list[int]], list[list[int]]]:
    before: list[list[int]] = [[] for _ in range(len(graph))]
    after: list[list[int]] = [[] for _ in range(len(graph))]
    for source, target in graph.edges.T.tolist():
        before[target].append(source)
        after[source].append(target)
    return before, after


def _match(a: Graph, b: Graph) -> dict[int, int]:
    """Partners: by surroundings from far to near, by attributes, and last by operation."""
    matching = _Matching(a, b)
    for rounds in (WL_ROUNDS, 4, 2, 1, 0):
        ours, theirs = a.colours(rounds).tolist(), b.colours(rounds).tolist()
        matching.spread(matching.by_colour(ours, theirs, unique=True), ours, theirs)
        matching.spread(list(matching.partner), ours, theirs)
    ours, theirs = a.op.tolist(), b.op.tolist()
    matching.spread(list(matching.partner), ours, theirs)
    rows = a.colours(0).tolist(), b.colours(0).tolist()
    for colours in (rows, (ours, theirs)):
        matching.spread(matching.by_colour(*colours, unique=False), *colours)
    return matching.partner
