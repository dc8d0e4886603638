"""From any torch module to its graph: one eager run on meta tensors, recorded.

The module runs once, in evaluation mode, on tensors that have shapes and no contents,
under a ``TorchDispatchMode`` that sees every ATen call. That takes any Python control
flow, allocates no weights, computes nothing, and leaves the module as it was.
:mod:`aiop_core.graph.aten` says what each ATen call becomes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from aiop_core.errors import GraphError
from aiop_core.graph import aten
from aiop_core.graph.aten.recurrent import RecurrentLayers
from aiop_core.graph.model import Graph
from aiop_core.graph.ops import Op
from aiop_core.graph.passes import fuse, prune
from aiop_core.graph.recorder import Recorder, Rule, UnknownOperationWarning, Value

__all__ = ["UnknownOperationWarning", "trace"]


class _Dispatch(TorchDispatchMode):
    """Sees every ATen call, knows which tensor is which value, and applies the rules."""

    def __init__(self, parameters: Mapping[str, Tensor], rules: Mapping[str, Rule]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch leaves it untyped
        self.recorder = Recorder({name: parameter.numel() for name, parameter in parameters.items()})
        self._rules = rules
        self._values: dict[int, Value] = {}
        self._viewed: dict[int, Tensor] = {}
        self._alive: list[Tensor] = []  # ids stay unique only while their tensors live
        for name, parameter in parameters.items():
            self.bind(parameter, Value(tuple(parameter.shape), params=frozenset([name])))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """We are never compiled; torch's default imports its compiler, seconds, to make sure of it."""
        return False

    def bind(self, tensor: Tensor, value: Value) -> None:
        """Remember where ``tensor`` comes from; an in-place operation binds it anew."""
        self._values[id(tensor)] = value
        self._alive.append(tensor)

    def value(self, tensor: Tensor) -> Value:
        """Where ``tensor`` comes from; a constant without parameters if nothing is known."""
        known = self._values.get(id(tensor))
        return Value(tuple(tensor.shape)) if known is None else known

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = aten.Call(func, args, kwargs or {}, self.value)
        if call.name == "copy" and self._same_place(*call.tensors):
            return call.out
        for result, value in zip(call.results, self._results(call), strict=False):
            self.bind(result, value)
        if call.name in aten.VIEWS and call.tensors:
            for result in call.results:
                self._remember_view(result, call.tensors[0])
        elif call.in_place and call.results:
            self._write_through(call.results[0])
        return call.out

    def _results(self, call: aten.Call) -> list[Value]:
        """What the results of a call are; those that a rule leaves out are constants."""
        if any(value.flows for value in call.values):
            rule = self._rules.get(call.name) or self._rules.get(f"aten::{call.name}") or aten.RULES.get(call.name)
            if rule is None:
                name = call.name if "::" in call.name else f"aten::{call.name}"
                return self.recorder.unknown("torch", name, call.values, call.shapes)
            made = rule(self.recorder, call)
            known = [made] if isinstance(made, Value) else list(made)
            return known + [Value(shape) for shape in call.shapes[len(known) :]]
        return [self.recorder.constant(call.values, shape) for shape in call.shapes]

    def _remember_view(self, view: Tensor, source: Tensor) -> None:
        """``view`` shares its contents with ``source``: what is written into one is in the other."""
        if view is not source:
            self._viewed[id(view)] = source
            self._alive.append(view)

    def _same_place(self, one: Tensor, other: Tensor) -> bool:
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

    def _write_through(self, view: Tensor) -> None:
        """After ``view`` was written in place: what it shares its contents with changes, too.

        Where a part is written, numbers of what was there and of what is new are chosen: ``Where``.
        """
        while (source := self._viewed.get(id(view))) is not None:
            written, before, shape = self.value(view), self.value(source), tuple(source.shape)
            axis = before.axis if before.flows else self.recorder.default_axis(shape)
            if not written.flows:
                self.bind(source, before if view.numel() < source.numel() else Value(shape, params=written.params))
            elif view.numel() < source.numel():
                self.bind(source, self.recorder.emit(Op.Where, [before, written], shape, axis=axis))
            else:
                self.bind(source, Value(shape, written.node, axis))
            view = source


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


def trace(module: nn.Module, input_shape: tuple[int, ...], rules: Mapping[str, Rule] | None = None) -> Graph:
    """The computation graph of a module.

    Args:
        module: any; its weights and training mode stay as they are.
        input_shape: of one input without the batch axis: (channels, height, width) of an
            image, or (length, features) of a sequence.
        rules: what operations become, by name (``library::operation``); they win over the
            rules of :mod:`aiop_core.graph.aten`.

    Raises:
        GraphError: if the module cannot run on an input of that shape, needs the contents
            of a tensor (``.item()``, a mask), or gives no tensor.
    """
    parameters = {name: torch.empty_like(p, device="meta") for name, p in module.named_parameters()}
    buffers = {name: torch.empty_like(b, device="meta") for name, b in module.named_buffers()}
    image = torch.empty(1, *input_shape, device="meta")
    dispatch = _Dispatch(parameters, rules or {})
    recorder = dispatch.recorder
    dispatch.bind(image, recorder.input(tuple(image.shape), 1 if len(input_shape) > 2 else image.ndim - 1))
    try:
        with _inference(module), dispatch, RecurrentLayers(recorder, dispatch.value, dispatch.bind):
            result = functional_call(module, {**parameters, **buffers}, (image,))
    except Exception as error:  # a stranger's module may raise anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise GraphError(
            f"{type(module).__name__} cannot be traced with an input of shape {tuple(input_shape)}: {reason}; "
            "give the shape it expects without the batch axis, e.g. 3,224,224"
        ) from error
    outputs = [v for t in pytree.tree_leaves(result) if isinstance(t, Tensor) and (v := dispatch.value(t)).flows]
    if not outputs:
        raise GraphError(f"{type(module).__name__} returns no tensor that depends on its input")
    for value in outputs:
        recorder.output(value)
    return fuse(prune(recorder.builder.build()))
