"""One operation of a TensorFlow graph, as shape functions and rules see it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aiop_core.errors import GraphError
from aiop_core.graph.recorder import Shape, Value

Contents = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Tensor:
    """A result of an operation; ``contents`` where it is a small constant."""

    value: Value
    contents: Contents | None = None


@dataclass
class Operation:
    """An operation with what it reads.

    Attributes:
        name: TensorFlow's name of the operation, such as ``Conv2D``.
        label: the node's name.
        inputs: what it reads, in order.
        attrs: its attributes.
        shapes: of every tensor that it gives.
    """

    name: str
    label: str
    inputs: Sequence[Tensor]
    attrs: Mapping[str, Any]
    shapes: list[Shape] = field(default_factory=list)

    @property
    def values(self) -> list[Value]:
        """The tensors that it reads."""
        return [tensor.value for tensor in self.inputs]

    @property
    def flowing(self) -> Value:
        """The first activation that it reads."""
        return next(v for v in self.values if v.flows)

    def arg(self, index: int, name: str, default: Any = None) -> Any:
        """The attribute ``name``, else the input at ``index``, else ``default``."""
        if self.attrs.get(name) is not None:
            return self.attrs[name]
        return self.inputs[index].value if 0 <= index < len(self.inputs) else default

    def attr(self, name: str, default: Any = None) -> Any:
        """The attribute ``name``; ``default`` if it is absent."""
        value = self.attrs.get(name)
        return default if value is None else value

    def shape(self, index: int = 0) -> Shape:
        """The shape of an input."""
        return self.inputs[index].value.shape

    def contents(self, index: int) -> Contents:
        """The numbers of an input that must be constant.

        Raises:
            GraphError: if they depend on the network's input, or are too many.
        """
        found = self.inputs[index].contents
        if found is None:
            raise GraphError(
                f"node '{self.label}' ({self.name}) needs the contents of its input {index} to tell shapes, "
                "and they depend on the network's input; allowed are constants"
            )
        return found

    def ints(self, index: int) -> list[int]:
        """The numbers of a constant input as a flat list."""
        return [int(v) for v in self.contents(index).reshape(-1)]

    @property
    def channels_first(self) -> bool:
        """Whether the layout is NCHW or NCDHW."""
        return str(self.attr("data_format", "NHWC")).startswith("NC")

    @property
    def channel_axis(self) -> int:
        """The axis of the channels in its layout."""
        return 1 if self.channels_first else len(self.shape()) - 1

    def spatial(self, sizes: Sequence[int]) -> list[int]:
        """Height and width (and depth) among numbers for every axis, such as strides."""
        return list(sizes[2:] if self.channels_first else sizes[1:-1])


MAX_SIZE = 2**31 - 1
"""Of one axis, and of height times width: what a graph's columns hold."""

MAX_RANK = 254
MAX_RESULTS = 65_536


def checked(op: Operation) -> list[Shape]:
    """The shapes that an operation gives.

    Raises:
        GraphError: if one has an axis below 0 or too long to be true.
    """
    for shape in op.shapes:
        if len(shape) > MAX_RANK or any(not 0 <= size <= MAX_SIZE for size in shape) or math.prod(shape) > MAX_SIZE**2:
            shown = "x".join(map(str, shape[:8]))
            raise GraphError(
                f"node '{op.label}' ({op.name}) would give a tensor of shape {shown}; "
                f"allowed are axes of 0 to {MAX_SIZE:,}; check --input-shape, or the file is damaged"
            )
    return op.shapes
