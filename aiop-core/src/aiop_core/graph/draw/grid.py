"""The inner order of a block: a row and a lane for each child, and a way for each edge.

A child's row is the length of the longest path to it. Chains of children stay in one
lane, the longest in the middle. Edges that cannot run straight down a lane use *tracks*
to the right of all lanes, as in a subway map. Nothing here depends on which blocks are
open, so ``layout`` and the page share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiop_core.graph.draw.blocks import Item, Outline

IN = -1
"""The number of the child that stands for what a block reads; the first number after the children is what it gives."""


@dataclass(frozen=True)
class Route:
    """How an edge between two children runs: straight, down a lane, or down a track."""

    source: int
    target: int
    lane: int | None = None
    track: int | None = None


@dataclass(frozen=True)
class Grid:
    """A group's inner order; ``cells`` are (row, lane) of each child, rows from 1."""

    cells: Sequence[tuple[int, int]]
    rows: int
    routes: Sequence[Route]
    tracks: int


def make_grid(outline: Outline, group: Item) -> Grid:
    """The grid of a block's or run's children."""
    count = len(group.children)
    edges = _edges(outline, group)
    reads: list[list[int]] = [[] for _ in range(count + 1)]
    read_by: list[list[int]] = [[] for _ in range(count + 1)]
    for source, target in edges:
        reads[target].append(source)
        if source != IN:
            read_by[source].append(target)
    row = [0] * (count + 1)
    for child in range(count):
        row[child] = 1 + max((row[s] for s in reads[child] if s != IN), default=0)
    row[count] = max(row[:count]) + 1
    taken = _Lanes()
    lane = _lanes(row, read_by, taken)

    def place(child: int) -> tuple[int, int]:
        return (0, 0) if child == IN else (row[child], lane[child])

    lane_of: dict[tuple[int, int], int] = {}
    net: dict[int, int] = {}  # sources whose edges need a track, and the last row that each reaches
    for source, target in edges:
        (top, from_lane), (bottom, to_lane) = place(source), place(target)
        free = (n for n in (from_lane, to_lane) if taken.free(n, top + 1, bottom - 1, source))
        if bottom > top + 1 and (via := next(free, None)) is not None:
            taken.take(via, top + 1, bottom - 1, source)
            lane_of[source, target] = via
        elif bottom > top + 1:
            net[source] = max(net.get(source, 0), bottom)
    tracks = _Lanes()
    track_of: dict[int, int] = {}
    for source in sorted(net, key=lambda source: (net[source] - place(source)[0], source)):
        rows = place(source)[0] + 1, net[source] - 1
        track_of[source] = next(n for n in range(len(net)) if tracks.free(n, *rows, source))
        tracks.take(track_of[source], *rows, source)
    routes = [
        Route(source, target, lane_of[source, target])
        if (source, target) in lane_of
        else Route(source, target, track=track_of[source] if place(target)[0] > place(source)[0] + 1 else None)
        for source, target in edges
    ]
    cells = [(row[child], lane[child]) for child in range(count)]
    return Grid(cells, row[count] - 1, routes, max(track_of.values(), default=-1) + 1)


def _edges(outline: Outline, group: Item) -> list[tuple[int, int]]:
    """Edges between children, and from and to what is outside."""
    child_of = [n for n, child in enumerate(group.children) for _ in range(child.lo, child.hi)]
    found = set()
    for at in range(group.lo, group.hi):
        child = child_of[at - group.lo]
        for source in outline.reads[at]:
            found.add((child_of[source - group.lo] if source >= group.lo else IN, child))
        if any(reader >= group.hi for reader in outline.read_by[at]):
            found.add((child, len(group.children)))
    return sorted((a, b) for a, b in found if a != b)


@dataclass
class _Lanes:
    """Which rows of which lane are taken, and by whom."""

    spans: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)

    def free(self, lane: int, top: int, bottom: int, owner: int) -> bool:
        return all(who == owner or b < top or a > bottom for a, b, who in self.spans.get(lane, ()))

    def take(self, lane: int, top: int, bottom: int, owner: int) -> None:
        self.spans.setdefault(lane, []).append((top, bottom, owner))


def _lanes(row: Sequence[int], read_by: Sequence[Sequence[int]], taken: _Lanes) -> list[int]:
    """A lane for each child: chains of children stay in one, the longest in lane 0, others left and right of it."""
    out = len(row) - 1
    depth = [0] * (out + 1)
    for child in reversed(range(out)):
        depth[child] = 1 + max((depth[reader] for reader in read_by[child]), default=0)
    lane: list[int | None] = [None] * out + [0]
    for start in sorted(range(out), key=lambda child: (-depth[child], child)):
        if lane[start] is not None:
            continue
        chain = [start]
        while ahead := [r for r in read_by[chain[-1]] if lane[r] is None]:
            chain.append(max(ahead, key=lambda r: (depth[r], -r)))
        end = max(row[chain[-1]], min((row[r] for r in read_by[chain[-1]]), default=0) - 1)
        number = 0
        while not taken.free(number, row[start], end, start):
            number = -number if number > 0 else 1 - number
        for child in chain:
            lane[child] = number
        for child, after in zip(chain, [*chain[1:], None], strict=True):
            taken.take(number, row[child], end if after is None else row[after] - 1, child)
    return [number or 0 for number in lane]
