"""A network as blocks of layers: what modules, graphs and parameter counts are all made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from aiop_core.contracts import Level
from aiop_core.graph.ops import Op


@dataclass(frozen=True)
class Layer:
    """One primitive operation on one tensor.

    A window is padded so that it divides the size by ``stride``, rounded up, and a
    transposed convolution multiplies it. ``Slice`` keeps the first ``channels``,
    ``Paddings`` without a stride moves the map by one to the upper left, and with one
    fits an image of that stride and ``channels``; its contents are never looked at.
    """

    op: Op
    in_channels: int
    channels: int
    kernel: int = 0
    stride: int = 1
    bias: bool = False

    @property
    def params(self) -> int:
        """How many parameters it holds."""
        if self.op is Op.BatchNorm:
            return 2 * self.channels
        if self.op not in (Op.Conv, Op.ConvTranspose, Op.MatMul):
            return 0
        return self.in_channels * self.channels * max(self.kernel, 1) ** 2 + self.channels * self.bias


@dataclass(frozen=True)
class Step:
    """Layers one after the other, on one value of a block or on several joined by ``join``."""

    inputs: tuple[int, ...]
    layers: tuple[Layer, ...] = ()
    join: Op = Op.Identity


@dataclass(frozen=True, eq=False)
class Block:
    """A small directed graph of steps with one input and one output.

    Value 0 is the input, value ``i`` what step ``i - 1`` gives. Blocks are compared by
    identity: equal ones of a network are one object, and are composed once.

    Attributes:
        stride: by how much the output is smaller than the input.
    """

    steps: tuple[Step, ...]
    output: int
    channels: int
    stride: int = 1

    @cached_property
    def live(self) -> frozenset[int]:
        """The values that the output depends on."""
        live, waiting = {self.output}, [self.output]
        while waiting:
            value = waiting.pop()
            for source in self.steps[value - 1].inputs if value else ():
                if source not in live:
                    live.add(source)
                    waiting.append(source)
        return frozenset(live)

    @property
    def params(self) -> int:
        """How many parameters it holds, those of steps that nothing reads included."""
        return sum(layer.params for step in self.steps for layer in step.layers)


class BlockDraft:
    """Collects the steps of a block; values are numbers."""

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def apply(self, value: int, *layers: Layer) -> int:
        """``layers`` on ``value``; without any, the value itself."""
        return self._append(Step((value,), layers)) if layers else value

    def add(self, *values: int) -> int:
        """The sum, from left to right."""
        total = values[0]
        for value in values[1:]:
            total = self._append(Step((total, value), join=Op.Add))
        return total

    def concat(self, *values: int, then: tuple[Layer, ...] = ()) -> int:
        """The values side by side along the channels, and layers on that."""
        return self._append(Step(values, then, Op.Concat)) if len(values) > 1 else self.apply(values[0], *then)

    def block(self, output: int, channels: int, stride: int = 1) -> Block:
        """The block of all steps so far."""
        return Block(tuple(self._steps), output, channels, stride)

    def _append(self, step: Step) -> int:
        self._steps.append(step)
        return len(self._steps)


def chain(*layers: Layer) -> Block:
    """A block of layers one after the other."""
    draft = BlockDraft()
    stride = 1
    for layer in layers:
        stride *= layer.stride
    return draft.block(draft.apply(0, *layers), layers[-1].channels, stride)


@dataclass(frozen=True)
class NetworkPlan:
    """A body and the head on it.

    Attributes:
        body: blocks one after the other.
        tiles: into how many rows and columns the image is cut; the body runs on each tile,
            and the head sees the channels of all of them.
    """

    body: tuple[Block, ...]
    head: Block
    tiles: int = 1

    @property
    def params(self) -> int:
        """What the module holds."""
        return sum(block.params for block in (*self.body, self.head))

    @cached_property
    def taps(self) -> tuple[int, ...]:
        """Numbers of the blocks that are the last of their resolution, pooling aside."""
        strides = [block.stride for block in self.body] + [2]
        return tuple(i for i in range(len(self.body)) if strides[i + 1] > 1)

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The feature maps that a backbone gives: after the last block of each resolution."""
        levels, stride = [], 1
        for i, block in enumerate(self.body):
            stride *= block.stride
            if i in self.taps:
                levels.append(Level(block.channels, stride))
        return tuple(levels)
