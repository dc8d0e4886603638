"""NAS-Bench-201: cells of four nodes, five operations on each of six edges.

Source: Dong and Yang, "NAS-Bench-201" (ICLR 2020).
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from aiop_core.graph.ops import Op
from aiop_family_nasbench.layers import classifier, conv_bn, layered, relu, relu_conv_bn, summed_cell
from aiop_family_nasbench.plans import Block, BlockDraft, Layer, NetworkPlan, chain
from aiop_family_nasbench.spaces import draw, literal, read

LETTERS = {"none": "0", "skip_connect": "s", "nor_conv_1x1": "1", "nor_conv_3x3": "3", "avg_pool_3x3": "p"}
"""The benchmark's names of the operations, and ours in a spec."""

NASLIB = "s031p"
"""The operations by NASLib's numbers, which list edges by the nodes that they leave."""

WIDTHS = (16, 32, 64)
CELLS = 5
"""In each of the three stages."""

DATASETS = {"cifar10": (10, 32), "cifar100": (100, 32), "imagenet16_120": (120, 16)}
"""How many classes there are, and how large the images."""


@dataclass(frozen=True)
class NB201Architecture:
    """For each node after the first, one letter for each edge that comes in, by the node it leaves."""

    cell: tuple[str, ...]

    @property
    def spec(self) -> str:
        """Nodes separated by ``_``, e.g. ``3_s1_30p``."""
        return "_".join(self.cell)


@dataclass(frozen=True)
class NB201Space:
    """All 15,625 cells, in the networks of one data set."""

    dataset: str = "cifar10"

    @property
    def input_hw(self) -> tuple[int, int]:
        """The (height, width) of the data set's images."""
        return (DATASETS[self.dataset][1],) * 2

    def sample(self, count: int, rng: np.random.Generator) -> list[NB201Architecture]:
        """``count`` distinct cells.

        Raises:
            SpecError: if there are fewer.
        """
        cells = list(itertools.product(LETTERS.values(), repeat=6))
        return [_architecture("".join(cells[i])) for i in draw("nb201", len(cells), count, rng)]

    def parse(self, text: str) -> NB201Architecture:
        """The cell of a spec, of the benchmark's ``|op~0|+|op~0|op~1|+…``, or of NASLib's six numbers.

        Isomorphic cells stay apart, since the benchmark measured each of them.

        Raises:
            SpecError: naming what is malformed and what is allowed.
        """
        return read(text, title="nb201", example="3_s1_30p", reader=_read)

    def plan(self, architecture: NB201Architecture) -> NetworkPlan:
        """The network of a cell."""
        body = [_stem()]
        for stage, channels in enumerate(WIDTHS):
            if stage:
                body.append(_residual(WIDTHS[stage - 1], channels))
            body += [_cell(architecture.cell, channels)] * CELLS
        return NetworkPlan(tuple(body), _head(WIDTHS[-1], DATASETS[self.dataset][0]))


def _architecture(letters: str) -> NB201Architecture:
    return NB201Architecture((letters[0], letters[1:3], letters[3:]))


def _read(text: str) -> NB201Architecture:
    if text[:1] in ("(", "["):
        numbers = literal(text)
        if len(numbers) != 6 or any(type(n) is not int or not 0 <= n < len(NASLIB) for n in numbers):
            raise ValueError("NASLib's form has 6 numbers from 0 to 4")
        return _architecture("".join(NASLIB[numbers[i]] for i in (0, 1, 3, 2, 4, 5)))
    if "~" in text:
        return _architecture("".join(_letters(node, number) for number, node in enumerate(_nodes(text.split("+")), 1)))
    letters = "".join(LETTERS.values())
    for number, node in enumerate(_nodes(text.split("_")), 1):
        if not re.fullmatch(f"[{letters}]{{{number}}}", node):
            raise ValueError(f"node {number} is '{node}', expected {number} of the letters {letters}")
    return NB201Architecture(tuple(text.split("_")))


def _nodes(parts: list[str]) -> list[str]:
    if len(parts) != 3:
        raise ValueError(f"it has {len(parts)} nodes, expected 3")
    return parts


def _letters(node: str, number: int) -> str:
    """``|op~0|op~1|`` as letters."""
    edges = node.removeprefix("|").removesuffix("|").split("|")
    names = [edge.removesuffix(f"~{source}") for source, edge in enumerate(edges)]
    if node != f"|{'|'.join(f'{name}~{source}' for source, name in enumerate(names))}|" or len(edges) != number:
        raise ValueError(
            f"node {number} is '{node}', expected {number} edges, as in |{'op~0|op~1|op~2|'[: 5 * number]}"
        )
    if unknown := [name for name in names if name not in LETTERS]:
        raise ValueError(f"there is no operation '{unknown[0]}', allowed are {', '.join(LETTERS)}")
    return "".join(LETTERS[name] for name in names)


@lru_cache
def _stem() -> Block:
    return chain(*conv_bn(3, WIDTHS[0], 3))


def _cell(cell: tuple[str, ...], channels: int) -> Block:
    layers = {
        "0": None,
        "s": (),
        "1": relu_conv_bn(channels, channels, 1),
        "3": relu_conv_bn(channels, channels, 3),
        "p": (Layer(Op.Avgpool, channels, channels, 3),),
    }
    zero = Layer(Op.Zero, channels, channels)
    return summed_cell(cell, layered(layers), lambda draft, value: draft.apply(value, zero), channels)


@lru_cache
def _residual(in_channels: int, channels: int) -> Block:
    """Two convolutions of stride 2, beside pooling and a 1×1 convolution."""
    draft = BlockDraft()
    y = draft.apply(0, *relu_conv_bn(in_channels, channels, 3, 2), *relu_conv_bn(channels, channels, 3))
    pool = Layer(Op.Avgpool, in_channels, in_channels, 2, 2)
    shortcut = draft.apply(0, pool, Layer(Op.Conv, in_channels, channels, 1))
    return draft.block(draft.add(shortcut, y), channels, 2)


@lru_cache
def _head(channels: int, classes: int) -> Block:
    return chain(Layer(Op.BatchNorm, channels, channels), relu(channels), *classifier(channels, classes))
