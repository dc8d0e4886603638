"""``Einsum`` of two tensors as one stack of matrix products."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiop_core.errors import GraphError
from aiop_core.graph.recorder import Recorder, Shape, Value
from aiop_core.graph.tensorflow.operation import Operation


@dataclass(frozen=True)
class Equation:
    """``abc,cd->abd`` with the size of each letter."""

    left: str
    right: str
    out: str
    sizes: dict[str, int]

    @classmethod
    def of(cls, op: Operation) -> Equation:
        """The equation of an ``Einsum``.

        Raises:
            GraphError: if it does not have two tensors, or letters do not fit.
        """
        terms, _, out = str(op.attr("equation", "")).replace(" ", "").partition("->")
        parts = terms.split(",")
        if len(parts) != 2 or len(op.inputs) != 2:
            raise GraphError(
                f"node '{op.label}' ({op.name}) has the equation '{terms}->{out}'; allowed are two tensors"
            )
        # an ellipsis stands for as many axes as are left; capital letters are free for them
        ranks = [len(v.shape) - len(p.replace("...", "")) for v, p in zip(op.values, parts, strict=True)]
        dots = "ABCDEFGH"[: max(*ranks, 0)]
        parts = [p.replace("...", dots[len(dots) - r :] if r else "") for p, r in zip(parts, ranks, strict=True)]
        sizes: dict[str, int] = {}
        for part, value in zip(parts, op.values, strict=True):
            if len(part) != len(value.shape):
                raise GraphError(f"node '{op.label}' ({op.name}): '{part}' does not fit the shape {list(value.shape)}")
            for letter, size in zip(part, value.shape, strict=True):
                sizes[letter] = max(sizes.get(letter, 1), size)
        return cls(parts[0], parts[1], out.replace("...", dots), sizes)

    @property
    def shape(self) -> Shape:
        """Of the result."""
        return self._shape(self.out)

    def _shape(self, letters: str) -> Shape:
        return tuple(self.sizes[letter] for letter in letters)

    def _size(self, letters: str) -> int:
        return math.prod(self._shape(letters))


def einsum(recorder: Recorder, op: Operation) -> Value:
    """Letters in both and in the result are the stack, letters in both alone are summed over.

    The matrix whose own letters come first in the result is the left one.
    """
    equation = Equation.of(op)
    left, right = op.values
    a, b, out = equation.left, equation.right, equation.out
    own_a, own_b = [c for c in out if c in a and c not in b], [c for c in out if c in b and c not in a]
    if left.flows == right.flows:
        swap = bool(own_a and own_b) and out.index(own_b[0]) < out.index(own_a[0])
    else:
        swap = right.flows
    if swap:
        left, right, a, b, own_a, own_b = right, left, b, a, own_b, own_a
    stack = "".join(c for c in out if c in a and c in b)
    inner = "".join(c for c in a if c in b and c not in out)
    rows, columns, heads, depth = (equation._size("".join(x)) for x in (own_a, own_b, stack, inner))
    first = Value((heads, rows, depth), left.node, 2, left.params)
    if not right.flows and heads == 1:
        first, second = Value((rows, depth), left.node, 1, left.params), Value((depth, columns), params=right.params)
        product = recorder.product(first, second, (rows, columns))
    else:
        second = Value((heads, depth, columns), right.node, 2, right.params)
        product = recorder.product(first, second, (heads, rows, columns))
    axis = out.index(own_b[-1]) if own_b else max(len(out) - 1, 0)
    return Value(equation.shape, product.node, axis)
