"""What the visible boxes say and how they are coloured, whoever draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from aiop_core.errors import GraphError
from aiop_core.graph.cost import node_macs
from aiop_core.graph.draw.blocks import Outline, find_blocks
from aiop_core.graph.draw.kinds import KINDS, amount, kind_of
from aiop_core.graph.draw.layout import Box
from aiop_core.graph.model import NODE_COLUMNS, Graph

Values = np.ndarray[Any, Any]

Wholes = Mapping[str, Mapping[tuple[int, int], float]]

HEAT = ((255, 247, 224), (254, 217, 142), (254, 153, 41), (204, 76, 2), (110, 30, 4))
"""From nothing to the most."""

COOL = ((255, 247, 224), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))
"""From nothing to the most negative."""

KIND_COLOURS = "kind"
"""The colouring by kind of operation; others are named after what they show."""


@dataclass(frozen=True)
class Scene:
    """A graph that is to be drawn.

    Attributes:
        graph: what is drawn.
        title: whose graph it is; shown as it is, escaped.
        heat: further values by name, one for each node, beside MACs and parameters.
        colour: ``kind``, ``MACs``, ``parameters`` or a name in ``heat``.
        whole: by a name in ``heat``, values of boxes that are not the sum of their nodes';
            a box is known by its first position in the outline's order and one after its last.
        note: shown before the summary, such as a predicted value.

    Raises:
        GraphError: if values do not fit the graph's nodes or are not finite, or ``colour`` is none of these.
    """

    graph: Graph
    title: str
    heat: Mapping[str, Values] = field(default_factory=dict)
    colour: str = KIND_COLOURS
    whole: Wholes = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        for name, values in self.heat.items():
            shape = np.shape(values)
            if shape != (len(self.graph),) or not np.isfinite(values).all():
                raise GraphError(
                    f"heat '{name}' has shape {shape}; give one finite number for each of the {len(self.graph)} nodes"
                )
        if self.colour not in (KIND_COLOURS, *self.values):
            allowed = ", ".join((KIND_COLOURS, *self.values))
            raise GraphError(f"there is no colouring '{self.colour}'; choose one of {allowed}")

    @cached_property
    def outline(self) -> Outline:
        """The graph's blocks."""
        return find_blocks(self.graph)

    @cached_property
    def values(self) -> Mapping[str, Values]:
        """All values that can be shown as heat, by name."""
        macs = node_macs({name: getattr(self.graph, name) for name in NODE_COLUMNS})
        given = {name: np.asarray(values, dtype=np.float64) for name, values in self.heat.items()}
        return {"MACs": macs, "parameters": self.graph.params, **given}

    @cached_property
    def kinds(self) -> list[str]:
        """The kind of each node."""
        return [kind_of(int(op)) for op in self.graph.op]

    @cached_property
    def present(self) -> list[str]:
        """Kinds that occur, in the order of the legend."""
        return [kind for kind in KINDS if kind in set(self.kinds)]

    @property
    def summary(self) -> str:
        """The note, and nodes, MACs and parameters, in one line."""
        macs, params = (int(self.values[name].sum()) for name in ("MACs", "parameters"))
        size = f"{len(self.graph):,} nodes · {amount(macs)} MACs · {amount(params)} parameters"
        return f"{self.note} · {size}" if self.note else size

    def nodes(self, box: Box, at: int | None = None) -> list[int]:
        """The nodes that a box stands for, or those of its row at position ``at``."""
        positions = range(box.item.lo, box.item.hi) if at is None else (at,)
        return [self.outline.order[p + shift] for shift in box.shifts for p in positions]

    def total(self, name: str, nodes: list[int]) -> float:
        """The sum of some nodes' values."""
        return float(self.values[name][nodes].sum())

    def value(self, name: str, box: Box, at: int | None = None) -> float:
        """What a box or its row at position ``at`` shows: of all copies that it stands for together."""
        known = self.whole.get(name, {}) if at is None else {}
        spans = [(box.item.lo + shift, box.item.hi + shift) for shift in box.shifts]
        if all(span in known for span in spans):
            return sum(known[span] for span in spans)
        return self.total(name, self.nodes(box, at))

    @property
    def heat_note(self) -> str:
        """How the colours are to be read."""
        if self.colour in self.whole:
            return "square-root scale; a closed block as a whole, copies summed"
        return "square-root scale; a folded box shows the sum of what it stands for"


def heat_colour(value: float, most: float) -> tuple[int, int, int]:
    """The colour of a value where the largest is ``most``; by square root, so that small ones differ, too."""
    ramp = COOL if value < 0 else HEAT
    at = min((abs(value) / most) ** 0.5, 1.0) * (len(ramp) - 1) if most else 0.0
    low = min(int(at), len(ramp) - 2)
    red, green, blue = (round(a + (b - a) * (at - low)) for a, b in zip(ramp[low], ramp[low + 1], strict=True))
    return red, green, blue


def is_dark(colour: tuple[int, int, int]) -> bool:
    """Whether text on it should be white."""
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue < 140
