"""Where things go: places for what is visible, when some blocks are open and others are not.

Opening a block only makes its row taller and its lane wider, so ``place`` is plain
arithmetic over the grids; ``page.js`` does the same when a reader opens a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aiop_core.graph.draw.blocks import Item, Outline
from aiop_core.graph.draw.grid import IN, Grid, Route, make_grid

BOX_WIDTH, ROW_HEIGHT, CLOSED_HEIGHT = 196, 20, 42
ROW_GAP, WIDE_GAP, LANE_GAP, TRACK_GAP, STRAND_GAP, PAD, HEADER = 20, 28, 30, 7, 4, 14, 24
BUNDLE = 60
"""The width at which many tracks or strands side by side move closer together."""

FOLD_HEIGHT, FOLD_RATIO = 1200, 0.8
"""A taller group is broken into columns, about this much wider than high."""


@dataclass(frozen=True)
class Box:
    """Something visible: a stack's rows, a closed block, or the frame of an open one.

    Attributes:
        item: what it shows.
        x: left edge.
        y: upper edge.
        width: in pixels.
        height: in pixels.
        is_open: whether it is a frame with its children inside.
        shifts: positions of the order that it stands for, relative to the item's own: those
            of all copies where a run is folded.
        copies: of the folded run that it stands for, 1 otherwise.
    """

    item: Item
    x: float
    y: float
    width: float
    height: float
    is_open: bool
    shifts: tuple[int, ...]
    copies: int = 1


@dataclass(frozen=True)
class Line:
    """An edge through ``points``; vertical at both ends, smooth where it changes its x.

    Attributes:
        points: (x, y) from the source down to the target.
        arrow: whether it ends at a box, not at a frame's border.
        quiet: whether it skips something.
    """

    points: tuple[tuple[float, float], ...]
    arrow: bool
    quiet: bool


@dataclass(frozen=True)
class Piece:
    """A placed item: its extent from the point where its input enters, and what is in it."""

    left: float
    right: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...] = ()

    def moved(self, dx: float, dy: float) -> Piece:
        """The same at another place."""
        return replace(
            self,
            boxes=tuple(replace(b, x=b.x + dx, y=b.y + dy) for b in self.boxes),
            lines=tuple(replace(n, points=tuple((x + dx, y + dy) for x, y in n.points)) for n in self.lines),
        )


IsOpen = Callable[[Item], bool]
"""Whether a block shows its children, or a run all its copies; a run that does not shows its first for all."""


def repeats_closed(root: Item) -> IsOpen:
    """Runs folded, and each kind of block open where it comes first."""
    first: dict[str, Item] = {}
    _remember_first(root, first)
    shown = {id(item) for item in first.values()}
    return lambda item: item is root or id(item) in shown


def _remember_first(item: Item, first: dict[str, Item]) -> None:
    if item.kind == "run":
        _remember_first(item.children[0], first)
    elif item.kind == "block" and item.name not in first:
        first[item.name] = item
        for child in item.children:
            _remember_first(child, first)


def everything_open() -> IsOpen:
    """Every node drawn."""
    return lambda _: True


def place(outline: Outline, is_open: IsOpen) -> Piece:
    """All that is visible, with its upper left corner at (0, 0)."""
    piece = _Placing(outline, is_open).place(outline.root, (0,))
    return piece.moved(piece.left, 0)


@dataclass(frozen=True)
class _Placing:
    outline: Outline
    is_open: IsOpen

    def place(self, item: Item, shifts: tuple[int, ...], copies: int = 1) -> Piece:
        half = BOX_WIDTH / 2
        if item.kind == "stack":
            height = ROW_HEIGHT * (item.hi - item.lo)
            return Piece(half, half, height, (Box(item, -half, 0, BOX_WIDTH, height, False, shifts, copies),))
        if item.kind == "run" and not self.is_open(item):
            first = item.children[0]
            spread = tuple(shift + copy.lo - first.lo for shift in shifts for copy in item.children)
            return self.place(first, spread, len(item.children))
        if not self.is_open(item):
            box = Box(item, -half, 0, BOX_WIDTH, CLOSED_HEIGHT, False, shifts, copies)
            return Piece(half, half, CLOSED_HEIGHT, (box,))
        return self.group(item, shifts, copies)

    def group(self, item: Item, shifts: tuple[int, ...], copies: int) -> Piece:
        """An open block: children on their grid, broken into columns if that is too tall."""
        pieces = [self.place(child, shifts) for child in item.children]
        root = item is self.outline.root
        spots = _Spots(make_grid(self.outline, item), pieces, 0 if root else HEADER)
        boxes: list[Box] = []
        lines: list[Line] = []
        for (x, y), piece in zip(spots.children, pieces, strict=True):
            moved = piece.moved(x, y)
            boxes += moved.boxes
            lines += moved.lines
        lines += spots.lines()
        left, right, height = spots.left + PAD, spots.right + PAD, spots.height + PAD * (not root)
        if not root:
            boxes.insert(0, Box(item, -left, 0, left + right, height, True, shifts, copies))
        return Piece(left, right, height, tuple(boxes), tuple(lines))


@dataclass(frozen=True)
class _Band:
    """Rows that share their lanes: the x of each lane and track from lane 0, and the extent on both sides of it."""

    lane_x: Mapping[int, float]
    track_x: Sequence[float]
    left: float
    right: float


def _make_band(cells: Sequence[tuple[int, Piece]], passing: Iterable[int], tracks: int) -> _Band:
    """Lanes as wide as the widest piece in them, also those that edges only pass; tracks to their right."""
    lanes = [0, *(lane for lane, _ in cells), *passing]
    sides = {lane: [0.0, 0.0] for lane in range(min(lanes), max(lanes) + 1)}
    for lane, piece in cells:
        sides[lane] = [max(sides[lane][0], piece.left), max(sides[lane][1], piece.right)]
    x = {0: 0.0}
    for lane in range(1, max(lanes) + 1):
        x[lane] = x[lane - 1] + sides[lane - 1][1] + LANE_GAP + sides[lane][0]
    for lane in range(-1, min(lanes) - 1, -1):
        x[lane] = x[lane + 1] - sides[lane + 1][0] - LANE_GAP - sides[lane][1]
    end = x[max(lanes)] + sides[max(lanes)][1]
    gap = min(TRACK_GAP, BUNDLE / max(tracks, 1))
    track_x = [end + LANE_GAP / 2 + gap * n for n in range(tracks)]
    return _Band(x, track_x, sides[min(lanes)][0] - x[min(lanes)], track_x[-1] if tracks else end)


class _Spots:
    """Coordinates in an open block, from the point where its input enters."""

    def __init__(self, grid: Grid, pieces: Sequence[Piece], top: float) -> None:
        self.grid, self.pieces, self.top = grid, pieces, top
        self.out = len(pieces)
        self.heights = [0.0] * (grid.rows + 2)
        widths = [0.0] * (grid.rows + 2)
        for (row, _), piece in zip(grid.cells, pieces, strict=True):
            self.heights[row] = max(self.heights[row], piece.height)
            widths[row] += piece.left + piece.right + LANE_GAP
        self._gaps()
        self._columns(widths)
        self._rows()

    def _ends(self, route: Route) -> tuple[int, int]:
        """The rows of a route's source and target."""
        top = 0 if route.source == IN else self.grid.cells[route.source][0]
        return top, self.grid.rows + 1 if route.target == self.out else self.grid.cells[route.target][0]

    def _lane(self, child: int) -> int:
        return 0 if child in (IN, self.out) else self.grid.cells[child][1]

    def _way(self, route: Route) -> int:
        """The lane in which a route passes rows, or would if it had no track."""
        return self._lane(route.source) if route.lane is None else route.lane

    def _gaps(self) -> None:
        """Where lanes may shift, the room below each row, and which sources' edges run through it."""
        rows = self.grid.rows
        self.gaps = [0.0] * (rows + 1)
        self.passing: list[set[int]] = [set() for _ in self.gaps]
        straight, tracked = {0, rows}, set()
        for route in self.grid.routes:
            top, bottom = self._ends(route)
            lanes = self._lane(route.source), self._way(route), self._lane(route.target)
            for row in range(top, bottom):
                before, after = lanes[0 if row == top else 1], lanes[2 if row + 1 == bottom else 1]
                bends = before != after or (route.track is not None and row in (top, bottom - 1))
                low = 0.0 if row == rows else ROW_GAP
                self.gaps[row] = max(self.gaps[row], WIDE_GAP if bends else low)
                self.passing[row].add(route.source)
                if route.track is not None and not bends:
                    tracked.add(row)
                elif before == after != 0:
                    straight.add(row)
        self.shifts = set(range(1, rows)) - straight
        for row in self.shifts & tracked:
            self.gaps[row] = WIDE_GAP

    def _columns(self, widths: Sequence[float]) -> None:
        """Which column and band each row is in: several columns if one were too tall."""
        rows = self.grid.rows
        total = sum(self.gaps) + sum(self.heights)
        area = sum(w * (h + ROW_GAP) for w, h in zip(widths, self.heights, strict=True))
        count = math.ceil(total / max(FOLD_HEIGHT, math.sqrt(area / FOLD_RATIO)))
        wanted, above = [0], self.gaps[0]
        for row in range(1, rows + 1):
            wanted.append(min(int((above + self.heights[row] / 2) / total * count), count - 1))
            above += self.heights[row] + self.gaps[row]
        self.breaks = {row: sorted(self.passing[row]) for row in range(1, rows) if wanted[row] != wanted[row + 1]}
        self.column, self.band = [0, 0], [0, 0]
        for row in range(1, rows + 1):
            self.column.append(self.column[-1] + (row in self.breaks))
            self.band.append(self.band[-1] + (row in self.breaks or row in self.shifts))
        by_band: list[list[tuple[int, Piece]]] = [[] for _ in range(self.band[-1] + 1)]
        for (row, lane), piece in zip(self.grid.cells, self.pieces, strict=True):
            by_band[self.band[row]].append((lane, piece))
        passing: list[set[int]] = [set() for _ in by_band]
        for route in self.grid.routes:
            top, bottom = self._ends(route)
            for row in range(top + 1, bottom):
                passing[self.band[row]].add(self._way(route) if route.track is None else 0)
        self.bands = [_make_band(*band, self.grid.tracks) for band in zip(by_band, passing, strict=True)]
        self.starts, self.centres, end = [], [], 0.0
        for column in range(self.column[-1] + 1):
            own = [self.bands[self.band[row]] for row in range(1, rows + 1) if self.column[row] == column]
            crossing = max((len(s) for row, s in self.breaks.items() if self.column[row] == column - 1), default=0)
            left = max(band.left for band in own)
            start = end + LANE_GAP + min(STRAND_GAP * crossing, BUNDLE) if column else -left
            self.starts.append(start)
            self.centres.append(start + left)
            end = start + left + max(band.right for band in own)
        self.left, self.right = -self.starts[0], end

    def _rows(self) -> None:
        """The upper edge of each row."""
        self.room = WIDE_GAP + min(STRAND_GAP * max(map(len, self.breaks.values())), BUNDLE) if self.breaks else 0.0
        first = self.top + self.room
        self.y, self.height = [first], 0.0
        for row in range(1, self.grid.rows + 2):
            above = self.y[row - 1] + self.heights[row - 1] + self.gaps[row - 1]
            self.y.append(first + self.gaps[0] if row - 1 in self.breaks else above)
            self.height = max(self.height, self.y[row] + self.heights[row] + self.room)

    @property
    def children(self) -> list[tuple[float, float]]:
        """Where each child's input enters."""
        return [(self._lane_x(row, lane), self.y[row]) for row, lane in self.grid.cells]

    def lines(self) -> list[Line]:
        """All edges between children, and from and to the frame."""
        return [self._line(route) for route in self.grid.routes]

    def _lane_x(self, row: int, lane: int) -> float:
        return self.centres[self.column[row]] + self.bands[self.band[row]].lane_x[lane]

    def _x(self, route: Route, row: int) -> float:
        """Where a route passes a row: at its ends in their lanes, between them in its lane or track."""
        top, bottom = self._ends(route)
        if row == top:
            return self._lane_x(row, self._lane(route.source))
        if row == bottom:
            return self._lane_x(row, self._lane(route.target))
        if route.track is None:
            return self._lane_x(row, self._way(route))
        return self.centres[self.column[row]] + self.bands[self.band[row]].track_x[route.track]

    def _line(self, route: Route) -> Line:
        top, bottom = self._ends(route)
        if route.source == IN:
            points = [(0.0, self.top)]
        else:
            points = [(self._x(route, top), self.y[top] + self.pieces[route.source].height)]
        for row in range(top, bottom):
            here, there = self._x(route, row), self._x(route, row + 1)
            low, high = self.y[row] + self.heights[row], self.y[row + 1]
            if row in self.breaks:
                strands = self.breaks[row]
                step = PAD / 2 + min(STRAND_GAP, BUNDLE / len(strands)) * strands.index(route.source)
                gutter = self.starts[self.column[row + 1]] - LANE_GAP / 2 - step + PAD / 2
                points += [(here, low), (here, low + step), (gutter, low + step)]
                points += [(gutter, self.y[0] - step), (there, self.y[0] - step), (there, high)]
            elif row in (top, bottom - 1) or here != there:
                points += [(here, low), (there, high)]
        out = route.target == self.out
        if out:
            points += [(points[-1][0], self.height), (0.0, self.height), (0.0, self.height + PAD)]
        return Line(tuple(dict.fromkeys(points)), not out, bottom > top + 1)
