"""``StridedSlice``: what its five masks mean."""

from __future__ import annotations

from dataclasses import dataclass

from aiop_core.errors import GraphError
from aiop_core.graph.recorder import Shape
from aiop_core.graph.tensorflow.operation import Operation

Entry = slice | int | None
"""Of one axis: a range, one place (the axis goes), or ``None`` for a new axis."""


@dataclass(frozen=True)
class Sliced:
    """What a slice gives: its shape, and which axis of the input each axis comes from."""

    shape: Shape
    origins: tuple[int | None, ...]


def basic_index(op: Operation) -> tuple[Entry, ...]:
    """The index of a ``StridedSlice`` as numpy has it.

    Raises:
        GraphError: if it asks for more axes than there are, or has a stride of 0.
    """
    begin, end, strides = (op.ints(i) for i in (1, 2, 3))

    def masked(name: str, place: int) -> bool:
        return bool(int(op.attr(name, 0)) >> place & 1)

    rank = len(op.shape())
    new = sum(masked("new_axis_mask", i) and not masked("ellipsis_mask", i) for i in range(len(begin)))
    whole = any(masked("ellipsis_mask", i) for i in range(len(begin)))
    rest = rank - (len(begin) - new - whole)
    if rest < 0 or 0 in strides or not len(begin) == len(end) == len(strides):
        raise GraphError(f"node '{op.label}' ({op.name}) cannot cut a tensor of {rank} axes; the file is damaged")
    index: list[Entry] = []
    for i, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        if masked("ellipsis_mask", i):
            index += [slice(None)] * rest
            rest = 0
        elif masked("new_axis_mask", i):
            index.append(None)
        elif masked("shrink_axis_mask", i):
            index.append(first)
        else:
            start = None if masked("begin_mask", i) else first
            index.append(slice(start, None if masked("end_mask", i) else last, step))
    return (*index, *[slice(None)] * rest)


def sliced(op: Operation) -> Sliced:
    """Shape and axes of a ``StridedSlice``."""
    shape: list[int] = []
    origins: list[int | None] = []
    axis = 0
    for entry in basic_index(op):
        if entry is None:
            shape.append(1)
            origins.append(None)
            continue
        if isinstance(entry, slice):
            shape.append(len(range(*entry.indices(op.shape()[axis]))))
            origins.append(axis)
        elif not -op.shape()[axis] <= entry < op.shape()[axis]:
            raise GraphError(
                f"node '{op.label}' ({op.name}) takes place {entry} of an axis of {op.shape()[axis]}; "
                "the file is damaged or --input-shape too small"
            )
        axis += 1
    return Sliced(tuple(shape), tuple(origins))
