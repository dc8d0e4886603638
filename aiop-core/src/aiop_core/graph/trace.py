"""From any torch module to its graph: one eager run on meta tensors, recorded.

The module runs once, in evaluation mode, on tensors that have shapes and no contents,
under a ``TorchDispatchMode`` that sees every ATen call. That takes any Python control
flow, allocates no weights, computes nothing, and leaves the module as it was.
:mod:`aiop_core.graph.aten` says what each ATen call becomes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import is_dataclass, replace
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
        self._views: dict[int, list[Tensor]] = {}
        self._stale: set[int] = set()
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
        self._stale.discard(id(tensor))
        self._alive.append(tensor)

    def value(self, tensor: Tensor) -> Value:
        """Where ``tensor`` comes from; a constant without parameters if nothing is known."""
        known = self._values.get(id(tensor))
        if known is None:
            return Value(tuple(tensor.shape))
        if id(tensor) in self._stale:
            whole = self.value(self._whole(tensor))
            axis = known.axis if known.flows else None
            known = self.recorder.view(whole, known.shape, axis) if whole.flows else whole
            self.bind(tensor, replace(known, shape=tuple(tensor.shape)))
        return known

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.is_inference_mode_enabled() and func._can_decompose():  # torch leaves that out in this mode
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
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
            self._views.setdefault(id(self._whole(source)), []).append(view)
            self._alive.append(view)

    def _whole(self, tensor: Tensor) -> Tensor:
        """What ``tensor`` is a view of in the end."""
        while (source := self._viewed.get(id(tensor))) is not None:
            tensor = source
        return tensor

    def _same_place(self, one: Tensor, other: Tensor) -> bool:
        """Whether two tensors are the same part of the same contents, as after ``x[:1] += y``."""
        return (
            self._whole(one) is self._whole(other)
            and one.shape == other.shape
            and one.stride() == other.stride()
            and bool(one.storage_offset() == other.storage_offset())
        )

    def _write_through(self, written: Tensor) -> None:
        """After a tensor was written in place: all that share their contents with it change, too.

        Where a part is written, numbers of what was there and of what is new are chosen: ``Where``.
        """
        fresh, view = {id(written)}, written
        while (source := self._viewed.get(id(view))) is not None:
            new, before, shape = self.value(view), self.value(source), tuple(source.shape)
            part = view.numel() < source.numel()
            if not new.flows and not (part and before.flows):
                self.bind(source, Value(shape, params=new.params))  # a part of a constant has the whole's parameters
            elif part and (new.flows or new.params):
                axis = before.axis if before.flows else self.recorder.default_axis(shape)
                self.bind(source, self.recorder.emit(Op.Where, [before, new], shape, axis=axis))
            elif not part:
                axis = before.axis if before.flows else self.recorder.default_axis(shape)
                self.bind(source, Value(shape, new.node, axis))
            fresh.add(id(source))
            view = source
        self._stale |= {id(other) for other in self._views.get(id(view), [])} - fresh


@contextmanager
def _inference(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients and without fused attention.

    Afterwards all is as before, also what modules keep for themselves, such as caches of tensors.
    """
    attributes = [(vars(m), dict(vars(m))) for m in module.modules()]
    containers = [(v, copy(v)) for _, kept in attributes for v in kept.values() if type(v) in (dict, list, set)]
    fused = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for own, kept in attributes:
            own.clear()
            own.update(kept)
        for container, kept in containers:
            container.clear()
            container.extend(kept) if type(container) is list else container.update(kept)


def _advice(error: Exception, input_shape: tuple[int, ...]) -> str:
    """What to do about what a module raised."""
    text = str(error)
    if "meta tensor" in text or isinstance(error, NotImplementedError) or "data-dependent" in text:
        return "its code looks at the contents of a tensor, but a graph must hold for every input: take that part out"
    if "CUDA" in text or "NVIDIA" in text:
        return "it moves itself to a device; leave that to the caller"
    if "indices" in text and "Long" in text:
        return "if it takes tokens, wrap it in a module that makes them of its input, with .long()"
    if isinstance(error, TypeError) and "argument" in text:
        return "if it takes more than one tensor, wrap it in a module that takes the image alone"
    if len(input_shape) == 4 and input_shape[0] == 1:
        return f"leave the batch axis out: {','.join(map(str, input_shape[1:]))}"
    return "give the shape it expects without the batch axis, e.g. 3,224,224"


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
    name = type(module).__name__
    try:
        parameters = {name: torch.empty_like(p, device="meta") for name, p in module.named_parameters()}
        buffers = {name: torch.empty_like(b, device="meta") for name, b in module.named_buffers()}
        dtype = next((p.dtype for p in parameters.values() if p.is_floating_point()), torch.float32)
        image = torch.empty(1, *input_shape, device="meta", dtype=dtype)
        dispatch = _Dispatch(parameters, rules or {})
        recorder = dispatch.recorder
        dispatch.bind(image, recorder.input(tuple(image.shape), 1 if len(input_shape) > 2 else image.ndim - 1))
        layers = RecurrentLayers(recorder, dispatch.value, dispatch.bind)
        with _inference(module), dispatch, layers:
            result = functional_call(module, {**parameters, **buffers}, (image,))
    except Exception as error:  # a stranger's module may raise anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise GraphError(
            f"{name} cannot be traced with an input of shape {tuple(input_shape)}: {reason}; "
            + _advice(error, input_shape)
        ) from error
    outputs = [value for tensor in _tensors(result) if (value := dispatch.value(tensor)).flows]
    if not outputs:
        raise GraphError(f"{name} returns no tensor that depends on its input, but a {type(result).__name__}")
    for value in outputs:
        recorder.output(value)
    return fuse(prune(recorder.builder.build()))


def _tensors(result: Any) -> list[Tensor]:
    """The tensors in what a module returns, those in dataclasses included."""
    if is_dataclass(result):
        return [tensor for value in vars(result).values() for tensor in _tensors(value)]
    leaves = pytree.tree_leaves(result)
    if len(leaves) == 1 and leaves[0] is result:
        return [result] if isinstance(result, Tensor) else []
    return [tensor for leaf in leaves for tensor in _tensors(leaf)]
