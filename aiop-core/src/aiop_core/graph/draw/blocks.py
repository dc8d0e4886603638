"""Finding blocks: what a person would draw as one box, nested, with repeats in a row recognised.

Nodes are put in an order in which branches stay together. Every interval of that order
can be one box without making a cycle, so blocks are intervals. Two rules find them:

- **Structure**: from a node that all paths to a joining node pass, up to that joining
  node, if nothing else leads in or out: residual blocks, squeeze-and-excitation,
  Inception modules, attention.
- **Repetition**: equal pieces in a row (same operations, windows, strides and inner
  edges; widths may differ): NASNet's cells, DenseNet's layers, a transformer's pairs of
  attention and MLP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from aiop_core.graph.draw.kinds import kind_of
from aiop_core.graph.model import Graph

MIN_BLOCK = 4
"""Nodes; smaller pieces are clearer without a frame."""

ALWAYS_BLOCK = 40
"""Nodes; a structural block may be this large even if it is most of a small graph."""

MAX_DEPTH = 4
"""Structural blocks within each other; a U-shaped network has as many as it has levels."""

MIN_SAVED = 7
"""Nodes that folding a run must hide."""

MAX_PIECE, MAX_PHASES = 100, 20
"""Items of a repeated piece, and places where the first may begin, that are tried; bounds the time for any graph."""

MAX_STACK = 6
"""Nodes that are drawn as the rows of one box."""

MAX_OPEN_ENDS = 2
"""Nodes of a run that others read; with more, such as the stages of an encoder, folding would hide who reads what."""


@dataclass(frozen=True)
class Item:
    """A piece of the drawing that covers positions ``lo`` to ``hi`` of the order.

    Attributes:
        kind: a ``stack`` is one box with a row for each node; a ``block`` can be opened;
            a ``run`` is equal blocks in a row.
        lo: its first position.
        hi: one after its last.
        name: the same for equal blocks.
        children: its parts in order; none in a stack.
    """

    kind: Literal["stack", "block", "run"]
    lo: int
    hi: int
    name: str = ""
    children: tuple[Item, ...] = ()

    def walk(self) -> Iterator[Item]:
        """It and everything in it, outer before inner."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Outline:
    """A graph and its blocks.

    Attributes:
        graph: what is drawn.
        order: the node at each position.
        reads: for each position, the positions that it reads, ascending.
        read_by: for each position, the positions that read it, ascending.
        root: the block that holds everything.
    """

    graph: Graph
    order: Sequence[int]
    reads: Sequence[Sequence[int]]
    read_by: Sequence[Sequence[int]]
    root: Item


def find_blocks(graph: Graph) -> Outline:
    """The blocks of a graph."""
    order = together(graph)
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    reads: list[list[int]] = [[] for _ in order]
    read_by: list[list[int]] = [[] for _ in order]
    for source, target in sorted(set(map(tuple, position[graph.edges].T.tolist()))):
        reads[target].append(source)
        read_by[source].append(target)
    return Outline(graph, order, reads, read_by, _Finder(graph, order, reads, read_by).root())


def together(graph: Graph) -> list[int]:
    """A topological order in which branches stay together: depth first from the outputs, latest input first."""
    reads: list[list[int]] = [[] for _ in range(len(graph))]
    used = np.zeros(len(graph), dtype=bool)
    for source, target in graph.edges.T.tolist():
        reads[target].append(source)
        used[source] = True
    order: list[int] = []
    begun = np.zeros(len(graph), dtype=bool)
    for end in np.flatnonzero(~used).tolist():
        stack = [(end, iter(sorted(reads[end], reverse=True)))]
        begun[end] = True
        while stack:
            node, left = stack[-1]
            for source in left:
                if not begun[source]:
                    begun[source] = True
                    stack.append((source, iter(sorted(reads[source], reverse=True))))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


@dataclass
class _Finder:
    graph: Graph
    order: list[int]
    reads: list[list[int]]
    read_by: list[list[int]]
    names: dict[object, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph, rows = self.graph, self.order
        self.kinds = [kind_of(int(graph.op[node])) for node in rows]
        columns = np.column_stack([graph.op, graph.kernel, graph.stride])[rows]
        self.tokens = [tuple(row) for row in columns.tolist()]
        last = [readers[-1] if readers else at for at, readers in enumerate(self.read_by)]
        self.alive = [sum(1 for s in range(at) if last[s] >= at) for at in range(len(rows) + 1)]

    def root(self) -> Item:
        items = self.items(0, len(self.order), self.structural())
        return Item("block", 0, len(self.order), "", self.fold(items))

    def structural(self) -> list[tuple[int, int]]:
        """Intervals with one way in and one way out that end at a joining node, outer before inner."""
        count = len(self.order)
        dominator = self.dominators()
        first_read = np.array([sources[0] if sources else i for i, sources in enumerate(self.reads)])
        last_reader = np.array([readers[-1] if readers else i for i, readers in enumerate(self.read_by)])
        found = []
        for end, sources in enumerate(self.reads):
            entry = dominator[end]
            size = end - entry
            if len(sources) < 2 or entry < 0 or not MIN_BLOCK <= size <= max(ALWAYS_BLOCK, count // 3):
                continue
            if first_read[entry + 1 : end + 1].min() >= entry and last_reader[entry + 1 : end].max() <= end:
                found.append((entry + 1, self.with_tail(end + 1)))
        kept: list[tuple[int, int]] = []
        around: list[int] = []  # where the blocks end that the next one is in
        for begin, stop in sorted(found, key=lambda interval: (interval[0], -interval[1])):
            around = [end for end in around if end > begin]
            if len(around) < MAX_DEPTH:
                kept.append((begin, stop))
                around.append(stop)
        return kept

    def dominators(self) -> list[int]:
        """For each position, the nearest one that all paths to it pass; -1 if there is none."""
        above: list[int] = []
        for sources in self.reads:
            meet = sources[-1] if sources else -1
            for other in sources:
                while meet != other:
                    if meet > other:
                        meet = above[meet]
                    else:
                        other = above[other]  # noqa: PLW2901
            above.append(meet)
        return above

    def with_tail(self, end: int) -> int:
        """``end`` moved behind the activations that only the interval's result goes through."""
        while (
            end < len(self.order)
            and self.kinds[end] == "activation"
            and self.reads[end] == [end - 1]
            and self.read_by[end - 1] == [end]
        ):
            end += 1
        return end

    def items(self, lo: int, hi: int, blocks: list[tuple[int, int]]) -> list[Item]:
        """Positions ``lo`` to ``hi`` as stacks and the blocks among them."""
        items, at = [], lo
        inner = [b for b in blocks if lo <= b[0] and b[1] <= hi and b != (lo, hi)]
        while at < hi:
            block = next((b for b in inner if b[0] == at), None)
            if block:
                items.append(self.block(*block, self.items(*block, inner)))
                at = block[1]
                inner = [b for b in inner if b[0] >= at]
            else:
                stop = min((b[0] for b in inner), default=hi)
                end = self.stack_end(at, stop)
                items.append(Item("stack", at, end))
                at = end
        return items

    def stack_end(self, lo: int, hi: int) -> int:
        """How far the box that begins at ``lo`` reaches: through what reads only within it, with one way out."""
        end = lo + 1
        if self.kinds[lo] == "io":
            return end
        for at in range(lo + 1, min(hi, lo + MAX_STACK)):
            gate = self.kinds[at] == "join" and len(self.reads[at]) > 1
            if not (gate or self.kinds[at] in ("norm", "activation")) or self.reads[at][0] < lo:
                break
            if all(self.read_by[p] and self.read_by[p][-1] <= at for p in range(lo, at)):
                end = at + 1
        return end

    def block(self, lo: int, hi: int, items: Sequence[Item]) -> Item:
        """These items as one block, named after its structure."""
        children = self.fold(items)
        name = self.names.setdefault(self.signature(lo, hi), _letters(len(self.names)))
        return Item("block", lo, hi, name, children)

    def row(self, at: int, lo: int) -> object:
        """What position ``at`` computes and what it reads from ``lo`` on."""
        return self.tokens[at], tuple(source - lo for source in self.reads[at] if source >= lo)

    def signature(self, lo: int, hi: int) -> object:
        """Equal for intervals with the same operations, windows, strides and inner edges."""
        return tuple(self.row(at, lo) for at in range(lo, hi))

    def fold(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """Items with equal pieces in a row put into runs, small pieces first, then pieces that hold such runs."""
        items = list(items)
        while found := self.next_run(items):
            start, period, count = found
            pieces = [items[i : i + period] for i in range(start, start + period * count, period)]
            copies = tuple(
                piece[0] if period == 1 and piece[0].kind == "block" else self.block(piece[0].lo, piece[-1].hi, piece)
                for piece in pieces
            )
            items[start : start + period * count] = [Item("run", copies[0].lo, copies[-1].hi, copies[0].name, copies)]
        return tuple(items)

    def next_run(self, items: Sequence[Item]) -> tuple[int, int, int] | None:
        """(first item, items in a copy, copies) of the longest run of the smallest pieces."""
        numbers: dict[object, int] = {}
        tokens = np.array([numbers.setdefault(self.signature(i.lo, i.hi), len(numbers)) for i in items])
        best, score = None, (-len(self.order), 0, 0)
        for period in range(1, min(len(items) // 2, MAX_PIECE) + 1):
            if period > -score[0]:
                break
            same = np.concatenate([[False], tokens[:-period] == tokens[period:], [False]])
            for begin, end in np.flatnonzero(same[1:] != same[:-1]).reshape(-1, 2).tolist():
                last = end + period
                for start in range(begin, min(begin + period, begin + MAX_PHASES, last - 2 * period + 1)):
                    count = self.copies(items, start, period, (last - start) // period)
                    stop = start + period * count
                    lo, hi = items[start].lo, items[stop - 1].hi
                    alive = sum(self.alive[items[i].lo] for i in range(start, stop, period))
                    rated = (-(hi - lo) // count, hi - lo, -alive)
                    if rated > score and self.folds_well(lo, hi, count):
                        best, score = (start, period, count), rated
        return best

    def copies(self, items: Sequence[Item], start: int, period: int, most: int) -> int:
        """How many pieces of ``period`` items from ``start`` on equal the first, inner edges included."""
        bounds = [(items[i].lo, items[i + period - 1].hi) for i in range(start, start + most * period, period)]
        (first, end), *others = bounds
        for n, (lo, hi) in enumerate(others, 1):
            same = (self.row(first + i, first) == self.row(lo + i, lo) for i in range(hi - lo))
            if hi - lo != end - first or not all(same):
                return n
        return most

    def folds_well(self, lo: int, hi: int, count: int) -> bool:
        """Whether one box for equal pieces from ``lo`` to ``hi`` saves room and hides nothing that matters."""
        size = (hi - lo) // count
        if size < MIN_BLOCK or size * (count - 1) < MIN_SAVED:
            return False
        ends = [p for p in range(lo, hi) if self.read_by[p] and self.read_by[p][-1] >= hi]
        readers = {reader for p in ends for reader in self.read_by[p] if reader >= hi}
        return len(ends) <= MAX_OPEN_ENDS or len(readers) == 1


def _letters(number: int) -> str:
    """A, B, … Z, AA, AB …."""
    text = ""
    while number >= 0:
        text = chr(ord("A") + number % 26) + text
        number = number // 26 - 1
    return text
