"""What a spelling gives: a graph or a module, and what to call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiop_core.graph.model import Graph

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NamedGraph:
    """A graph and what to call it: a canonical spec, or the spelling it was given by.

    Attributes:
        name: what to call it.
        graph: its graph.
        scores: numbers that are stored beside it, by name.
    """

    name: str
    graph: Graph
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TorchModel:
    """A module, what to call it, and the shape of one input without the batch axis."""

    name: str
    module: nn.Module
    input_shape: tuple[int, ...]
