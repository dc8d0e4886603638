"""NAS-Bench-101: cells of up to seven vertices and nine edges.

Source: Ying et al., "NAS-Bench-101" (ICML 2019).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from aiop_core.errors import SpecError
from aiop_core.graph.ops import Op
from aiop_family_nasbench.layers import classifier, conv_bn_relu
from aiop_family_nasbench.plans import Block, BlockDraft, Layer, NetworkPlan, chain
from aiop_family_nasbench.spaces import literal, read

LETTERS = {"conv1x1-bn-relu": "1", "conv3x3-bn-relu": "3", "maxpool3x3": "p"}
"""The benchmark's names of the operations, and ours in a spec."""

MAX_VERTICES, MAX_EDGES = 7, 9

SIZE = 423_624
"""How many cells there are that no renumbering of vertices makes equal."""

WIDTHS = (128, 256, 512)
CELLS = 3
"""In each of the three stacks."""

CLASSES = 10

_VERTEX = re.compile(r"([13p]):([0-6]+)", re.ASCII)
_EXAMPLE = "3:0_p:01_o:02"


@dataclass(frozen=True)
class NB101Architecture:
    """The vertices that lie on a way from the input to the output.

    Attributes:
        letters: the operation of each vertex, input and output left out.
        sources: which vertices each of them reads, and then the output; the input is 0.
    """

    letters: str
    sources: tuple[tuple[int, ...], ...]

    @property
    def spec(self) -> str:
        """Vertices with what they read, separated by ``_``, the output last, e.g. ``3:0_p:01_o:02``."""
        vertices = zip(f"{self.letters}o", self.sources, strict=True)
        return "_".join(f"{letter}:{''.join(map(str, sources))}" for letter, sources in vertices)


@dataclass(frozen=True)
class NB101Space:
    """All cells of the benchmark."""

    input_hw: tuple[int, int] = (32, 32)

    def sample(self, count: int, rng: np.random.Generator) -> list[NB101Architecture]:
        """``count`` distinct cells: random operations and edges, drawn until they are allowed.

        Raises:
            SpecError: if there are fewer.
        """
        if not 0 <= count <= SIZE:
            raise SpecError(f"{count} architectures were asked of nb101, which has {SIZE}; ask for 0 to that many")
        found: dict[NB101Architecture, None] = {}
        while len(found) < count:
            matrix = np.triu(rng.integers(2, size=(MAX_VERTICES, MAX_VERTICES)), 1)
            letters = "".join(rng.choice(list(LETTERS.values()), size=MAX_VERTICES - 2))
            try:
                found[_pruned(matrix, letters)] = None
            except ValueError:
                continue
        return list(found)

    def parse(self, text: str) -> NB101Architecture:
        """The cell of a spec, or of a JSON object with ``adjacency`` and ``ops``.

        Vertices on no way from the input to the output are dropped, as in the benchmark.
        Isomorphic cells stay apart, since channels depend on the order of vertices.

        Raises:
            SpecError: naming what is malformed and what is allowed.
        """
        return read(text, title="nb101", example=_EXAMPLE, reader=_read)

    def plan(self, architecture: NB101Architecture) -> NetworkPlan:
        """The network of a cell."""
        body, channels = [_stem()], WIDTHS[0]
        for width in WIDTHS:
            if width != channels:
                body.append(_pool(channels))
            first = _cell(architecture, channels, width)
            rest = first if width == channels else _cell(architecture, width, width)
            body += [first, *[rest] * (CELLS - 1)]
            channels = width
        return NetworkPlan(tuple(body), _head())


# --- Texts --------------------------------------------------------------------------


def _read(text: str) -> NB101Architecture:
    return _from_table(literal(text)) if text[:1] == "{" else _from_text(text)


def _from_text(text: str) -> NB101Architecture:
    *vertices, output = text.split("_")
    found = [_VERTEX.fullmatch(vertex) for vertex in vertices]
    end = re.fullmatch(r"o:([0-6]+)", output, re.ASCII)
    if not end or None in found:
        wrong = output if not end else vertices[found.index(None)]
        raise ValueError(
            f"{wrong!r:.20} is no vertex, expected an operation 1, 3, p or o and what it reads, as in 3:01"
        )
    chosen = [vertex for vertex in found if vertex]
    matrix = np.zeros((len(chosen) + 2,) * 2, dtype=int)
    for target, sources in enumerate([*(vertex[2] for vertex in chosen), end[1]], 1):
        for source in map(int, sources):
            if source >= target or matrix[source, target]:
                raise ValueError(f"vertex {target} reads '{sources}', expected different vertices before it")
            matrix[source, target] = 1
    return _pruned(matrix, "".join(vertex[1] for vertex in chosen))


def _from_table(cell: dict[str, Any]) -> NB101Architecture:
    if set(cell) != {"adjacency", "ops"}:
        raise ValueError(f"its keys are {', '.join(cell)}, expected adjacency and ops")
    ops = literal(cell["ops"]) if isinstance(cell["ops"], str) else cell["ops"]
    rows = literal(cell["adjacency"]) if isinstance(cell["adjacency"], str) else cell["adjacency"]
    if not isinstance(ops, list) or len(ops) < 2 or (ops[0], ops[-1]) != ("input", "output"):
        raise ValueError("'ops' must be a list that begins with input and ends with output")
    if unknown := [op for op in ops[1:-1] if not isinstance(op, str) or op not in LETTERS]:
        raise ValueError(f"there is no operation {unknown[0]!r:.40}, allowed are {', '.join(LETTERS)}")
    try:
        matrix = np.array(rows)
    except ValueError:
        matrix = np.zeros(0)
    if matrix.shape != (len(ops), len(ops)) or not np.isin(matrix, (0, 1)).all() or np.tril(matrix).any():
        raise ValueError(
            f"'adjacency' must be {len(ops)} rows of as many 0 and 1, none of them on or below the diagonal"
        )
    return _pruned(matrix.astype(int), "".join(LETTERS[op] for op in ops[1:-1]))


def _pruned(matrix: np.ndarray[Any, Any], letters: str) -> NB101Architecture:
    """The cell without what is on no way from the input to the output.

    Raises:
        ValueError: if nothing is left, or more than the benchmark allows.
    """
    last = len(matrix) - 1
    forward, backward = {0}, {last}
    for vertex in range(last + 1):
        if forward & set(np.flatnonzero(matrix[:, vertex]).tolist()):
            forward.add(vertex)
    for vertex in range(last, -1, -1):
        if backward & set(np.flatnonzero(matrix[vertex]).tolist()):
            backward.add(vertex)
    kept = sorted(forward & backward)
    if not {0, last} <= set(kept):
        raise ValueError("no way leads from its input to its output")
    cell = matrix[np.ix_(kept, kept)]
    if len(kept) > MAX_VERTICES or cell.sum() > MAX_EDGES:
        raise ValueError(
            f"it has {len(kept)} vertices and {cell.sum()} edges, allowed are {MAX_VERTICES} and {MAX_EDGES}"
        )
    sources = tuple(tuple(np.flatnonzero(cell[:, vertex]).tolist()) for vertex in range(1, len(kept)))
    return NB101Architecture("".join(letters[vertex - 1] for vertex in kept[1:-1]), sources)


# --- Networks -----------------------------------------------------------------------


@lru_cache
def _stem() -> Block:
    return chain(*conv_bn_relu(3, WIDTHS[0], 3))


@lru_cache
def _pool(channels: int) -> Block:
    return chain(Layer(Op.Maxpool, channels, channels, 2, 2))


@lru_cache
def _head() -> Block:
    return chain(*classifier(WIDTHS[-1], CLASSES))


def _widths(architecture: NB101Architecture, channels: int) -> list[int]:
    """Channels of each vertex behind the input, the output's last.

    Those that the output joins share its channels, the first ones taking the rest; any other
    has as many as the widest that reads it.
    """
    *sources, joined = architecture.sources
    ends = [vertex for vertex in joined if vertex]
    widths = dict.fromkeys(range(1, len(sources) + 1), 0)
    for number, vertex in enumerate(ends):
        widths[vertex] = channels // len(ends) + (number < channels % len(ends))
    for vertex in range(len(sources), 0, -1):
        if vertex not in ends:
            widths[vertex] = max(widths[reader] for reader, read in enumerate(sources, 1) if vertex in read)
    return [*widths.values(), channels]


def _cell(architecture: NB101Architecture, in_channels: int, channels: int) -> Block:
    """A cell; what reads the input projects it, what reads a wider vertex takes its first channels."""
    draft = BlockDraft()
    widths = [in_channels, *_widths(architecture, channels)]
    *inner, joined = architecture.sources
    values, texts = [0], ["x"]

    def read(source: int, width: int) -> int:
        if source == 0:
            return draft.apply(0, *conv_bn_relu(in_channels, width, 1))
        narrower = (Layer(Op.Slice, widths[source], width),) if width < widths[source] else ()
        return draft.apply(values[source], *narrower)

    for letter, sources, width in zip(architecture.letters, inner, widths[1:], strict=False):
        by_text = sorted(sources, key=lambda source: (texts[source], source))
        total = draft.add(*(read(source, width) for source in by_text))
        values.append(draft.apply(total, *_operation(letter, width)))
        texts.append(f"{letter}({'+'.join(texts[source] for source in by_text)})")
    ends = [values[source] for source in joined if source]
    parts = ([draft.concat(*ends)] if ends else []) + ([read(0, channels)] if 0 in joined else [])
    return draft.block(draft.add(*parts), channels)


def _operation(letter: str, channels: int) -> tuple[Layer, ...]:
    if letter == "p":
        return (Layer(Op.Maxpool, channels, channels, 3),)
    return conv_bn_relu(channels, channels, int(letter))
