"""From any torch module to its graph: one eager run on meta tensors, recorded.

The module runs once, in evaluation mode, on tensors that have shapes and no contents,
under a ``TorchDispatchMode`` that sees every ATen call. That takes any Python control
flow, allocates no weights, computes nothing, and leaves the module as it was.
:mod:`aiop_core.graph.aten` says what each ATen call becomes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from aiop_core.errors import GraphError
from aiop_core.graph import aten
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.model import Graph
from aiop_core.graph.ops import Op
from aiop_core.graph.passes import prune


class UnknownOperationWarning(UserWarning):
    """The traced module calls an ATen operation that the vocabulary has no name for."""


@dataclass(frozen=True)
class Value:
    """What the recorder knows of a tensor.

    Attributes:
        node: the node that made it; ``None`` for weights and other constants.
        axis: which axis holds the channels.
        params: names of the parameters that a constant is made of.
    """

    node: int | None
    axis: int
    params: frozenset[str] = frozenset()


class Recorder(TorchDispatchMode):
    """Turns ATen calls into nodes. The rules of :mod:`aiop_core.graph.aten` work on it."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch leaves it untyped
        self.builder = GraphBuilder()
        self._values: dict[int, Value] = {}
        self._viewed: dict[int, Tensor] = {}
        self._alive: list[Tensor] = []  # ids stay unique only while their tensors live
        self._uncounted = {name: parameter.numel() for name, parameter in parameters.items()}
        for name, parameter in parameters.items():
            self.bind(parameter, Value(None, 0, frozenset([name])))

    def bind(self, tensor: Tensor, value: Value) -> None:
        """Remember where ``tensor`` comes from; an in-place operation binds it anew."""
        self._values[id(tensor)] = value
        self._alive.append(tensor)

    def remember_view(self, view: Tensor, source: Tensor) -> None:
        """``view`` shares its contents with ``source``: what is written into one is in the other."""
        if view is not source:
            self._viewed[id(view)] = source
            self._alive.append(view)

    def same_place(self, one: Tensor, other: Tensor) -> bool:
        """Whether two tensors are the same part of the same contents, as after ``x[:1] += y``."""

        def whole(tensor: Tensor) -> Tensor:
            while (source := self._viewed.get(id(tensor))) is not None:
                tensor = source
            return tensor

        return (
            whole(one) is whole(other)
            and one.shape == other.shape
            and one.stride() == other.stride()
            and bool(one.storage_offset() == other.storage_offset())
        )

    def write_through(self, view: Tensor) -> None:
        """After ``view`` was written in place: what it shares its contents with changes, too.

        A part that is written is a ``Concat`` of what was there and what is new.
        """
        while (source := self._viewed.get(id(view))) is not None:
            written, before = self.value(view), self.value(source)
            axis = before.axis if before.node is not None else 1 if source.ndim > 3 else max(source.ndim - 1, 0)
            node = written.node
            if node is not None and view.numel() < source.numel():
                inputs = [n for n in (before.node, node) if n is not None]
                node = self.builder.add(Op.Concat, inputs, self.shape(source, axis))
            self.bind(source, Value(node, axis))
            view = source

    def value(self, tensor: Any) -> Value:
        """Where ``tensor`` comes from; a constant without parameters if nothing is known."""
        return self._values.get(id(tensor), Value(None, 0))

    def is_activation(self, tensor: Any) -> bool:
        """Whether ``tensor`` depends on the network's input."""
        return isinstance(tensor, Tensor) and self.value(tensor).node is not None

    @staticmethod
    def shape(tensor: Tensor, axis: int) -> tuple[int, int, int]:
        """(height, width, channels) of an activation; the batch of one vanishes, longer shapes fold into width."""
        if not tensor.ndim:
            return 1, 1, 1
        sizes = list(tensor.shape)
        channels = sizes.pop(axis)
        if len(sizes) > 1 and sizes[0] == 1:
            del sizes[0]
        return max(sizes[0], 1) if sizes else 1, max(math.prod(sizes[1:]), 1), max(channels, 1)

    def claim(self, constants: list[Any]) -> int:
        """How many parameters these constants bring in that no earlier node has counted."""
        names = frozenset().union(*(self.value(c).params for c in constants if isinstance(c, Tensor)))
        return sum(self._uncounted.pop(name, 0) for name in names)

    def emit(
        self,
        op: Op,
        args: list[Any],
        out: Tensor,
        *,
        axis: int | None = None,
        reads: int | None = None,
        **attributes: Any,
    ) -> None:
        """Append the node that makes ``out`` from those of ``args`` that are tensors.

        ``axis`` and ``reads`` are the channel axes of ``out`` and of the activations that it
        is made from, where the operation fixes them; by default channels stay where they were.
        """
        inputs = [a for a in args if self.is_activation(a)]
        nodes = [node for a in inputs if (node := self.value(a).node) is not None]
        params = self.claim([a for a in args if not self.is_activation(a)])
        if axis is None:
            axis = next((self.value(a).axis for a in inputs if a.ndim == out.ndim), 1 if out.ndim > 3 else out.ndim - 1)
        read = [self.shape(a, self.value(a).axis if reads is None else reads) for a in inputs]
        seen = read[0] if op is Op.Concat else min(read, key=math.prod)
        node = self.builder.add(op, nodes, self.shape(out, axis), seen=seen, params=params, **attributes)
        self.bind(out, Value(node, axis))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = aten.Call(func, args, kwargs or {})
        if call.name == "copy_" and self.same_place(*call.tensors):
            return call.out
        if any(self.is_activation(t) for t in call.tensors):
            rule = aten.RULES.get(call.name.removesuffix("_"))
            if rule is None:
                self._unknown(call)
            else:
                rule(self, call)
        else:
            params = frozenset().union(*(self.value(t).params for t in call.tensors))
            for result in call.results:
                self.bind(result, Value(None, 0, params))
        if call.name in aten.VIEWS and call.tensors:
            for result in call.results:
                self.remember_view(result, call.tensors[0])
        elif call.name.endswith("_") and call.results:
            self.write_through(call.results[0])
        return call.out

    def _unknown(self, call: aten.Call) -> None:
        warnings.warn(
            f"node {len(self.builder)}: the operation {call.full_name} is not in the vocabulary and becomes "
            f"'{Op.OOV.name}'; add a rule for '{call.name}' to aiop_core.graph.aten.RULES",
            UnknownOperationWarning,
            stacklevel=2,
        )
        for result in call.results:
            self.emit(Op.OOV, call.tensors, result)


@contextmanager
def _inference(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients and without fused attention; undone afterwards."""
    modes = {m: m.training for m in module.modules()}
    fused = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for m, mode in modes.items():
            m.training = mode


def trace(module: nn.Module, input_shape: tuple[int, ...]) -> Graph:
    """The computation graph of a module.

    Args:
        module: any; its weights and training mode stay as they are.
        input_shape: of one input without the batch axis: (channels, height, width) of an
            image, or (length, features) of a sequence.

    Raises:
        GraphError: if the module cannot run on an input of that shape, needs the contents
            of a tensor (``.item()``, a mask), or gives no tensor.
    """
    parameters = {name: torch.empty_like(p, device="meta") for name, p in module.named_parameters()}
    buffers = {name: torch.empty_like(b, device="meta") for name, b in module.named_buffers()}
    image = torch.empty(1, *input_shape, device="meta")
    recorder = Recorder(parameters)
    axis = 1 if len(input_shape) == 3 else image.ndim - 1
    recorder.bind(image, Value(recorder.builder.add(Op.Input, (), recorder.shape(image, axis)), axis))
    try:
        with _inference(module), recorder:
            result = functional_call(module, {**parameters, **buffers}, (image,))
    except Exception as error:  # a stranger's module may raise anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise GraphError(
            f"{type(module).__name__} cannot be traced with an input of shape {tuple(input_shape)}: {reason}; "
            "give the shape it expects without the batch axis, e.g. 3,224,224"
        ) from error
    outputs = [t for t in pytree.tree_leaves(result) if recorder.is_activation(t)]
    if not outputs:
        raise GraphError(f"{type(module).__name__} returns no tensor that depends on its input")
    for tensor in outputs:
        recorder.emit(Op.Output, [tensor], tensor)
    return prune(recorder.builder.build())
