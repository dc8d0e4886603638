"""TransNAS-Bench-101: cells on a fixed skeleton (micro), and skeletons of residual blocks (macro).

Source: Duan et al., "TransNAS-Bench-101" (CVPR 2021).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from aiop_core.graph.ops import Op
from aiop_family_nasbench.heads import INPUT_HW, TILES, head
from aiop_family_nasbench.layers import Edge, conv_bn, relu, relu_conv_bn, summed_cell
from aiop_family_nasbench.plans import Block, BlockDraft, Layer, NetworkPlan, chain
from aiop_family_nasbench.spaces import draw, read

OPERATIONS = "0123"
"""Of an edge: zero, identity, 1×1 convolution, 3×3 convolution."""

WIDTH = 64
"""Channels behind the stem."""

CELLS = 2
"""In each module."""

MICRO_SKELETON = "41414"

_Cell = Callable[[int, int, int], Block]
"""Input channels, output channels and stride of a cell."""

DEPTHS, STRIDED, WIDENED = range(4, 7), range(1, 5), range(1, 4)
"""Of a macro skeleton: how many modules there are, have stride 2, and double the channels."""


@dataclass(frozen=True)
class MicroArchitecture:
    """For each node after the first, one digit for each edge that comes in, by the node it leaves."""

    cell: tuple[str, ...]

    @property
    def spec(self) -> str:
        """Nodes separated by ``_``, e.g. ``3_12_031``."""
        return "_".join(self.cell)


@dataclass(frozen=True)
class MacroArchitecture:
    """A digit for each module: 1 plain, 2 double channels, 3 stride 2, 4 both."""

    modules: str

    @property
    def spec(self) -> str:
        """The digits, e.g. ``41414``."""
        return self.modules


@dataclass(frozen=True)
class MicroSpace:
    """All 4,096 cells, with the head of one task."""

    task: str = "class_object"

    @property
    def input_hw(self) -> tuple[int, int]:
        """The (height, width) of the task's images."""
        return INPUT_HW[self.task]

    def sample(self, count: int, rng: np.random.Generator) -> list[MicroArchitecture]:
        """``count`` distinct cells.

        Raises:
            SpecError: if there are fewer.
        """
        cells = ["".join(cell) for cell in itertools.product(OPERATIONS, repeat=6)]
        chosen = (cells[i] for i in draw("tnb101_micro", len(cells), count, rng))
        return [MicroArchitecture((cell[0], cell[1:3], cell[3:])) for cell in chosen]

    def parse(self, text: str) -> MicroArchitecture:
        """The cell of a spec, or of the benchmark's ``64-41414-a_bc_def``.

        Equivalent cells stay apart, since the benchmark measured each of them.

        Raises:
            SpecError: naming what is malformed and what is allowed.
        """
        return read(text, title="tnb101_micro", example="3_12_031", reader=_read_cell)

    def plan(self, architecture: MicroArchitecture) -> NetworkPlan:
        """The network of a cell."""
        return _network(MICRO_SKELETON, partial(_micro_cell, architecture.cell), self.task)


@dataclass(frozen=True)
class MacroSpace:
    """All 3,256 skeletons, with the head of one task."""

    task: str = "class_object"

    @property
    def input_hw(self) -> tuple[int, int]:
        """The (height, width) of the task's images."""
        return INPUT_HW[self.task]

    def sample(self, count: int, rng: np.random.Generator) -> list[MacroArchitecture]:
        """``count`` distinct skeletons.

        Raises:
            SpecError: if there are fewer.
        """
        every = list(_skeletons())
        return [MacroArchitecture(every[i]) for i in draw("tnb101_macro", len(every), count, rng)]

    def parse(self, text: str) -> MacroArchitecture:
        """The skeleton of a spec, or of the benchmark's ``64-<digits>-basic``.

        Raises:
            SpecError: naming what is malformed and what is allowed.
        """
        return read(text, title="tnb101_macro", example=MICRO_SKELETON, reader=_read_skeleton)

    def plan(self, architecture: MacroArchitecture) -> NetworkPlan:
        """The network of a skeleton."""
        return _network(architecture.modules, _basic_cell, self.task)


def _skeletons() -> Iterable[str]:
    """Every skeleton that the benchmark holds."""
    for depth in DEPTHS:
        for digits in itertools.product("1234", repeat=depth):
            if not _refusal("".join(digits)):
                yield "".join(digits)


def _refusal(modules: str) -> str:
    """Why these digits are no skeleton of the benchmark; empty if they are."""
    if not re.fullmatch("[1234]*", modules) or len(modules) not in DEPTHS:
        return f"the skeleton is '{modules}', expected 4 to 6 digits from 1 to 4"
    strided, widened = sum(_stride(d) == 2 for d in modules), sum(_widens(d) for d in modules)
    if strided not in STRIDED:
        return (
            "no module has stride 2, allowed are 1 to 4 (digits 3 and 4)"
            if not strided
            else (f"{strided} modules have stride 2, allowed are 1 to 4 (digits 3 and 4)")
        )
    if widened not in WIDENED:
        return f"{widened} modules double the channels, allowed are 1 to 3 (digits 2 and 4)"
    return ""


def _stride(digit: str) -> int:
    return 2 if digit in "34" else 1


def _widens(digit: str) -> bool:
    return digit in "24"


def _read_skeleton(text: str) -> MacroArchitecture:
    modules = _middle(text, rf"{WIDTH}-(.*)-basic")
    if refusal := _refusal(modules):
        raise ValueError(refusal)
    return MacroArchitecture(modules)


def _read_cell(text: str) -> MicroArchitecture:
    nodes = tuple(_middle(text, f"{WIDTH}-{MICRO_SKELETON}-(.*)").split("_"))
    if len(nodes) != 3:
        raise ValueError(f"it has {len(nodes)} nodes, expected 3")
    for number, node in enumerate(nodes, 1):
        if not re.fullmatch(f"[{OPERATIONS}]{{{number}}}", node):
            raise ValueError(f"node {number} is '{node}', expected {number} of the digits {OPERATIONS}")
    return MicroArchitecture(nodes)


def _middle(text: str, pattern: str) -> str:
    """What a pattern finds, or the text itself."""
    found = re.fullmatch(pattern, text)
    return found[1] if found else text


# --- Networks -----------------------------------------------------------------------


def _network(modules: str, cell: _Cell, task: str) -> NetworkPlan:
    """Stem, two cells for each module, and the task's head."""
    body, channels, stride = [_stem()], WIDTH, 4
    for digit in modules:
        before, channels = channels, channels * (2 if _widens(digit) else 1)
        body += [cell(before, channels, _stride(digit)), *[cell(channels, channels, 1)] * (CELLS - 1)]
        stride *= _stride(digit)
    return NetworkPlan(tuple(body), head(task, channels, stride), TILES if task == "jigsaw" else 1)


@lru_cache
def _stem() -> Block:
    half = WIDTH // 2
    return chain(*conv_bn(3, half, 3, 2), *relu_conv_bn(half, WIDTH, 3, 2))


@lru_cache
def _basic_cell(in_channels: int, channels: int, stride: int) -> Block:
    """A residual block. Its shortcut's batch norm has torch's epsilon; in the benchmark's code a 1 slipped in."""
    draft = BlockDraft()
    y = draft.apply(0, *relu_conv_bn(in_channels, channels, 3, stride), *relu_conv_bn(channels, channels, 3))
    changes = stride != 1 or in_channels != channels
    shortcut = draft.apply(0, *conv_bn(in_channels, channels, 1, stride)) if changes else 0
    return draft.block(draft.add(shortcut, y), channels, stride)


def _micro_cell(cell: tuple[str, ...], in_channels: int, channels: int, stride: int) -> Block:
    def edges(digit: str, source: int) -> Edge | None:
        return _edge(digit, channels if source else in_channels, channels, 1 if source else stride)

    def zeros(draft: BlockDraft, value: int) -> int:
        fit = Layer(Op.Paddings, in_channels, channels, stride=stride)
        changes = stride != 1 or in_channels != channels
        return draft.apply(value, *([fit] if changes else []), Layer(Op.Zero, channels, channels))

    return summed_cell(cell, edges, zeros, channels, stride)


def _edge(digit: str, in_channels: int, channels: int, stride: int) -> Edge | None:
    if digit == "0":
        return None
    if digit == "1":
        changes = stride != 1 or in_channels != channels
        return partial(_factorized_reduce, in_channels, channels, stride) if changes else lambda _, value: value
    layers = relu_conv_bn(in_channels, channels, 1 if digit == "2" else 3, stride)
    return lambda draft, value: draft.apply(value, *layers)


def _factorized_reduce(in_channels: int, channels: int, stride: int, draft: BlockDraft, value: int) -> int:
    """Two 1×1 convolutions, the second on a map that is moved by one, side by side."""
    half = channels // 2
    x = draft.apply(value, relu(in_channels))
    straight = draft.apply(x, Layer(Op.Conv, in_channels, half, 1, stride))
    shift = Layer(Op.Paddings, in_channels, in_channels)
    shifted = draft.apply(x, shift, Layer(Op.Conv, in_channels, channels - half, 1, stride))
    return draft.concat(straight, shifted, then=(Layer(Op.BatchNorm, channels, channels),))
