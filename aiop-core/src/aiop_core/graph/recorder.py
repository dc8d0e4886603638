"""What every reader records a network on: values that flow, and the nodes that make them.

Readers of torch, ONNX and TensorFlow differ in names and layouts. The decisions that
make one network one graph are made here, once:

- Views and copies are no nodes; a view that keeps only a part is a ``Slice``, one that
  repeats its input a ``Tile``.
- Arithmetic with numbers or constants that are no parameters is no node; times the number 0 is a ``Zero``.
- Hard activations are spelt in the paper's vocabulary: H-swish is ReLU6 and Mul,
  H-sigmoid is ReLU6.
- A parameter is counted at the first node that uses it.
- Matrix products have their rows as H and W = 1, and as many groups as there are products.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from aiop_core.graph.build import GraphBuilder, Pair
from aiop_core.graph.ops import Op

Shape = tuple[int, ...]


class UnknownOperationWarning(UserWarning):
    """A network has an operation that the vocabulary has no name for."""


@dataclass(frozen=True)
class Value:
    """A tensor, as far as a graph goes.

    Attributes:
        shape: with the batch axis.
        node: the node that made it; ``None`` for weights and other constants.
        axis: which axis holds the channels.
        params: names of the parameters that a constant is made of.
    """

    shape: Shape
    node: int | None = None
    axis: int = 0
    params: frozenset[str] = frozenset()

    @property
    def flows(self) -> bool:
        """Whether it depends on the network's input."""
        return self.node is not None

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class Call(Protocol):
    """One operation of a framework, as a rule sees it.

    Attributes:
        name: the framework's name of the operation.
        values: the tensors that it reads, in order, absent ones left out.
        shapes: of every tensor that it gives.
    """

    name: str
    values: list[Value]
    shapes: list[Shape]

    def arg(self, index: int, name: str, default: Any = None) -> Any:
        """An argument or attribute; tensors among them are :class:`Value`."""
        ...


Rule = Callable[["Recorder", Any], Value | Sequence[Value]]
"""Appends the nodes of a call and gives the value of its result, or of each result."""


def geometry(shape: Shape, axis: int) -> tuple[int, int, int]:
    """(height, width, channels) of a tensor; the batch of one vanishes, longer shapes fold into width."""
    if not shape:
        return 1, 1, 1
    sizes = list(shape)
    channels = sizes.pop(axis)
    if len(sizes) > 1 and sizes[0] == 1:
        del sizes[0]
    while len(sizes) > 2 and sizes[0] == 1:
        del sizes[0]
    return max(sizes[0], 1) if sizes else 1, max(math.prod(sizes[1:]), 1), max(channels, 1)


def window(value: Any) -> Pair:
    """A window or stride as (height, width): (k, 1) in one dimension, (depth, height × width) in three."""
    if isinstance(value, int):
        return value, value
    value = list(value)
    return (value[0], math.prod(value[1:])) if value else (1, 1)


class Recorder:
    """Builds the graph while a reader walks through a network.

    Args:
        weights: how many numbers each parameter holds.
        channels_last: where the channels of a tensor of four axes are, if nothing else tells.
    """

    def __init__(self, weights: Mapping[str, int], *, channels_last: bool = False) -> None:
        self.builder = GraphBuilder()
        self._uncounted = dict(weights)
        self._channels_last = channels_last

    # --- values -------------------------------------------------------------------

    def input(self, shape: Shape, axis: int) -> Value:
        """The network's input."""
        return Value(shape, self.builder.add(Op.Input, (), geometry(shape, axis)), axis)

    def output(self, value: Value) -> None:
        """Mark a value as an output of the network."""
        self.emit(Op.Output, [value], value.shape, axis=value.axis)

    @staticmethod
    def constant(values: Iterable[Value], shape: Shape) -> Value:
        """What is computed from constants alone: a constant made of the same parameters."""
        return Value(shape, params=frozenset().union(*(v.params for v in values)))

    def claim(self, values: Iterable[Value | None]) -> int:
        """How many parameters these constants bring in that no earlier node has counted."""
        names = frozenset().union(*(v.params for v in values if v is not None and not v.flows))
        return sum(self._uncounted.pop(name, 0) for name in names)

    def default_axis(self, shape: Shape) -> int:
        """Where the channels are if nothing else tells."""
        return 1 if len(shape) > 3 and not self._channels_last else max(len(shape) - 1, 0)

    # --- nodes --------------------------------------------------------------------

    def emit(
        self,
        op: Op,
        values: Sequence[Value | None],
        shape: Shape,
        *,
        axis: int | None = None,
        reads: int | None = None,
        out: tuple[int, int, int] | None = None,
        seen: tuple[int, int, int] | None = None,
        **attributes: Any,
    ) -> Value:
        """Append the node that makes a tensor of ``shape`` from ``values``.

        ``axis`` and ``reads`` are the channel axes of the result and of what it is made
        from, where the operation fixes them; by default channels stay where they were.
        ``out`` and ``seen`` say (height, width, channels) where shapes do not.
        """
        flowing = [v for v in values if v is not None and v.flows]
        if axis is None:
            same = (v.axis for v in flowing if len(v.shape) == len(shape))
            axis = next(same, self.default_axis(shape))
        if seen is None and flowing:
            read = [geometry(v.shape, v.axis if reads is None else reads) for v in flowing]
            seen = read[0] if op is Op.Concat else min(read, key=math.prod)
        node = self.builder.add(
            op,
            [v.node for v in flowing if v.node is not None],
            out or geometry(shape, axis),
            seen=seen,
            params=self.claim(values),
            **attributes,
        )
        return Value(shape, node, axis)

    def arithmetic(self, op: Op, values: Sequence[Value], shape: Shape) -> Value:
        """A node if two activations meet, or an activation and a parameter; else the activation itself.

        A parameter that has one number for each channel is marked as ``bias``.
        """
        flowing = [v for v in values if v.flows]
        if op is Op.Mul and len(flowing) == 2 and flowing[0] == flowing[1]:
            op = Op.Pow
        if len(flowing) > 1 or any(v.params for v in values) or (op is Op.Div and not values[0].flows):
            vector = len(flowing) == 1 and any(
                v.params and _is_vector(v.shape, shape, flowing[0].axis) for v in values if not v.flows
            )
            return self.emit(op, values, shape, bias=vector)
        return self.view(flowing[0], shape, flowing[0].axis if len(shape) == len(flowing[0].shape) else None)

    def convolution(
        self,
        values: Sequence[Value | None],
        shape: Shape,
        *,
        kernel: Sequence[int],
        stride: Sequence[int],
        groups: int = 1,
        transposed: bool = False,
        axis: int = 1,
    ) -> Value:
        """A convolution of ``values``: activation, weight, and bias or ``None``."""
        x = values[0]
        assert x is not None
        depthwise = groups == x.shape[axis] > 1 and not transposed
        return self._window(
            Op.ConvTranspose if transposed else Op.Depthwise if depthwise else Op.Conv,
            values,
            shape,
            kernel,
            stride,
            axis,
            groups=groups,
            bias=values[2] is not None,
        )

    def _window(
        self, op: Op, values: Sequence[Value | None], shape: Shape, kernel: Any, stride: Any, axis: int, **more: Any
    ) -> Value:
        """A node with a window. A row, of H = 1 and a window of height 1, is what one dimension is: H × 1."""
        x = values[0]
        assert x is not None
        seen, out = geometry(x.shape, axis), geometry(shape, axis)
        kernel, stride = window(kernel), window(stride)
        if seen[0] == out[0] == kernel[0] == 1 and kernel[1] > 1:
            seen, out = (seen[1], 1, seen[2]), (out[1], 1, out[2])
            kernel, stride = (kernel[1], 1), (stride[1], 1)
        return self.emit(
            op, values, shape, axis=axis % len(shape), seen=seen, out=out, kernel=kernel, stride=stride, **more
        )

    def product(self, left: Value, right: Value, shape: Shape, *, bias: Value | None = None) -> Value:
        """A matrix product, or a stack of them, of (…, n, k) and (…, k, m).

        A constant matrix without a stack makes it a linear layer over all rows of the other.
        """
        if not right.flows and math.prod(right.shape[:-2]) == 1:
            inner, columns = left.shape[-1], shape[-1] if len(right.shape) > 1 else 1
            rows, heads, axis = left.size // inner, 1, len(shape) - 1
        elif not left.flows and math.prod(left.shape[:-2]) == 1:
            inner, columns = right.shape[max(len(right.shape) - 2, 0)], left.shape[-2] if len(left.shape) > 1 else 1
            rows, heads, axis = right.size // inner, 1, max(len(shape) - 2, 0)
        else:
            inner = left.shape[-1]
            rows = left.shape[-2] if len(left.shape) > 1 else 1
            columns = right.shape[-1] if len(right.shape) > 1 else 1
            heads, axis = max(math.prod(shape) // max(rows * columns, 1), 1), len(shape) - 1
            if not left.flows:
                rows, columns = columns, rows
        return self.emit(
            Op.MatMul,
            [left, right, bias],
            shape,
            axis=max(axis, 0),
            seen=(rows, 1, heads * inner),
            out=(rows, 1, heads * columns),
            groups=heads,
            bias=bias is not None,
        )

    def pool(self, op: Op, x: Value, shape: Shape, kernel: Any, stride: Any, *, axis: int | None = None) -> Value:
        """A pooling window over height and width."""
        return self._window(op, [x], shape, kernel, stride, x.axis if axis is None else axis)

    def adaptive_pool(self, op: Op, x: Value, shape: Shape) -> Value:
        """The window and stride that divide the input into that many cells."""
        inside = [d for d in range(max(len(shape) - 3, 1), len(shape)) if d != x.axis]
        steps = [max(x.shape[d] // max(shape[d], 1), 1) for d in inside]
        return self.pool(op, x, shape, steps, steps)

    def reduction(self, op: Op, x: Value, dims: Iterable[int] | None, shape: Shape) -> Value:
        """A reduction over ``dims``, all if ``None``; the channel axis keeps its place if axes are kept."""
        rank, axis = len(x.shape), x.axis
        if len(shape) != rank:
            gone = {d % rank for d in dims} if dims is not None else set(range(rank))
            axis = max(sum(1 for d in range(axis) if d not in gone) - (axis in gone), 0)
        return self.emit(op, [x], shape, axis=min(axis, max(len(shape) - 1, 0)))

    def concat(self, values: Sequence[Value], shape: Shape) -> Value:
        """A concatenation; with constants only one activation flows in."""
        return self.emit(Op.Concat, values, shape)

    def hard_swish(self, x: Value) -> Value:
        """H-swish, x · ReLU6(x + 3) / 6."""
        gate = self.emit(Op.ReLU6, [x], x.shape)
        return self.emit(Op.Mul, [x, gate], x.shape)

    def mish(self, x: Value) -> Value:
        """Mish, x · tanh(softplus(x))."""
        gate = self.emit(Op.Tanh, [self.emit(Op.Softplus, [x], x.shape)], x.shape)
        return self.emit(Op.Mul, [x, gate], x.shape)

    def clamp(self, x: Value, low: float | None, high: float | None, shape: Shape) -> Value:
        """ReLU and ReLU6 by their bounds; any other clamp keeps the shape and is no node."""
        if low == 0:
            return self.emit(Op.ReLU if high is None else Op.ReLU6, [x], shape)
        return self.view(x, shape, x.axis)

    # --- views --------------------------------------------------------------------

    def view(self, x: Value, shape: Shape, axis: int | None = None) -> Value:
        """``x`` under another shape; a part of it is a ``Slice``, more than it is a ``Tile``."""
        if axis is None:
            axis = _reshaped_axis(x, shape)
        size = math.prod(shape)
        if not size:
            return self.constant([], shape)
        if size < x.size:
            return self.emit(Op.Slice, [x], shape, axis=axis)
        if size > x.size:
            return self.emit(Op.Tile, [x], shape, axis=axis)
        return replace(x, shape=shape, axis=axis)

    def permute(self, x: Value, dims: Sequence[int]) -> Value:
        """``x`` with its axes in another order."""
        dims = [d % len(x.shape) for d in dims]
        return replace(x, shape=tuple(x.shape[d] for d in dims), axis=dims.index(x.axis) if dims else 0)

    def unknown(
        self, dialect: str, name: str, values: Sequence[Value], shapes: Sequence[Shape], *, place: str = ""
    ) -> list[Value]:
        """Nodes ``OOV`` for an operation that no rule knows, and a warning that says how to add one.

        ``place`` is what the file calls the node.
        """
        warnings.warn(
            f"{place or f'node {len(self.builder)}'}: the operation {name} is not in the vocabulary and becomes "
            f"'{Op.OOV.name}'; register a rule '{dialect}:{name}' through the hook aiop_register_operations",
            UnknownOperationWarning,
            stacklevel=2,
        )
        return [self.emit(Op.OOV, values, shape) for shape in shapes]


def _is_vector(constant: Shape, shape: Shape, axis: int) -> bool:
    """Whether a constant, broadcast to ``shape``, has one number for each channel."""
    aligned = (1,) * (len(shape) - len(constant)) + tuple(constant)
    return len(aligned) == len(shape) and all(n == (shape[d] if d == axis else 1) for d, n in enumerate(aligned))


def _reshaped_axis(x: Value, shape: Shape) -> int:
    """Where the channel axis is after a reshape.

    A reshape splits the axes into groups that hold the same numbers before and after. Of the
    axes that the channels' group becomes, it is the one with as many channels, or else the
    last that is no 1. A shape that holds other numbers keeps the axis by its rank and size.
    """
    if not shape:
        return 0
    channels = x.shape[x.axis] if x.shape else 1
    if math.prod(shape) != x.size or not x.shape or not x.size:
        if len(shape) == len(x.shape):
            return x.axis
        return x.axis if x.axis < len(shape) and shape[x.axis] == channels else len(shape) - 1
    before = after = 0
    while before < len(x.shape) and after < len(shape):
        start, inner, outer = after, x.shape[before], shape[after]
        first, before, after = before, before + 1, after + 1
        while inner != outer:
            if inner < outer:
                inner, before = inner * x.shape[before], before + 1
            else:
                outer, after = outer * shape[after], after + 1
        if first <= x.axis < before:
            candidates = range(start, after)
            exact = [d for d in candidates if shape[d] == channels]
            return (exact or [d for d in candidates if shape[d] > 1] or list(candidates))[-1]
    return len(shape) - 1
