"""One ATen call, run on meta tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aiop_core.graph.recorder import Shape, Value

BATCH_NORMS = "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training".split()

_SAME_SHAPE = frozenset(
    "elu gelu hardsigmoid hardswish hardtanh leaky_relu relu relu6 sigmoid silu softplus tanh".split() + BATCH_NORMS
)


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among arguments or results, those in lists and tuples included."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors_in(value)
    return found


class Call:
    """One ATen call: its operation and data.

    Attributes:
        name: such as ``convolution``, without the ``_`` of in-place variants; operations of
            other libraries with theirs, such as ``torchvision::nms``.
        in_place: whether it writes into its first tensor.
        args: by position; tensors are :class:`~aiop_core.graph.recorder.Value`.
        kwargs: by name.
        values: every tensor that it reads.
        shapes: of every tensor that it gives.
        out: what it gave.
        tensors: what ``values`` stand for.
        results: every tensor in ``out``.
    """

    def __init__(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], value: Callable[[Tensor], Value]
    ) -> None:
        full_name: str = func.overloadpacket._qualified_op_name
        self.in_place = full_name.endswith("_") and not full_name.endswith("__")
        self.name = full_name.removeprefix("aten::").removesuffix("_" if self.in_place else "")
        tensors, named = [_on_meta(v) for v in args], {k: _on_meta(v) for k, v in kwargs.items()}
        self.tensors = tensors_in([*tensors, *named.values()])
        self.values = [value(t) for t in self.tensors]
        self.args, self.kwargs = [_known(v, value) for v in tensors], {k: _known(v, value) for k, v in named.items()}
        if self.name == "_to_copy":  # a module that moves what it computes to a device of its choice
            named |= {"device": torch.device("meta")} if "device" in named else {}
        short = self.name in _SAME_SHAPE and "out" not in named
        self.out = self._short_cut(tensors[0]) if short else func(*tensors, **named)
        self.results = tensors_in([self.out])
        self.shapes: list[Shape] = [tuple(t.shape) for t in self.results]

    def _short_cut(self, x: Tensor) -> Any:
        """The result where its shape is the input's, without torch's slow way to it."""
        out = x if self.in_place else torch.empty_like(x)
        return (out, x.new_empty(0), x.new_empty(0)) if self.name in BATCH_NORMS else out

    def arg(self, index: int, name: str, default: Any = None) -> Any:
        """An argument by position or name; ``default`` where it is absent."""
        return self.args[index] if index < len(self.args) else self.kwargs.get(name, default)

    @property
    def flowing(self) -> Value:
        """The first activation that it reads."""
        return next(v for v in self.values if v.flows)


def _on_meta(value: Any) -> Any:
    """Tensors that a module keeps unregistered, or makes on a fixed device, join the others."""
    if isinstance(value, Tensor):
        return value if value.is_meta else torch.empty_like(value, device="meta")
    if isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value):
        return [_on_meta(v) for v in value]
    return value


def _known(argument: Any, value: Callable[[Tensor], Value]) -> Any:
    """An argument with values in place of tensors."""
    if isinstance(argument, Tensor):
        return value(argument)
    if isinstance(argument, list | tuple) and any(isinstance(v, Tensor) for v in argument):
        return [_known(v, value) for v in argument]
    return argument
