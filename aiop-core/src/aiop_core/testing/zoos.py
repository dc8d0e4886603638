"""What every collection of models promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from aiop_core.contracts import Zoo
from aiop_core.errors import GraphError
from aiop_core.testing.promise import require


def _sampled(zoo: Zoo) -> list[str]:
    """The first, the middle and the last name."""
    names = list(zoo.names())
    return sorted({names[0], names[len(names) // 2], names[-1]}, key=names.index)


def _made(zoo: Zoo, name: str) -> Any:
    """A model without weights in memory, where its constructor allows it."""
    import torch

    try:
        with torch.device("meta"):
            return zoo.module(name)
    except Exception:  # noqa: BLE001 - it looks at the contents of tensors
        return zoo.module(name)


def names_are_distinct_words(zoo: Zoo) -> None:
    """``names`` gives at least one name, none of them twice, each a text without spaces."""
    names = list(zoo.names())
    require(bool(names), "names() is empty")
    odd = [name for name in names if not isinstance(name, str) or not name or name != "".join(name.split())]
    require(not odd, f"names() holds {odd[:1]!r}; a name is a text without spaces")
    twice = [name for name, count in Counter(names).items() if count > 1]
    require(not twice, f"names() holds '{''.join(twice[:1])}' twice")


def every_model_has_an_input_shape(zoo: Zoo) -> None:
    """``input_shape`` gives positive whole numbers for every name."""
    for name in zoo.names():
        shape = zoo.input_shape(name)
        good = isinstance(shape, tuple) and len(shape) > 0 and all(isinstance(n, int) and n > 0 for n in shape)
        require(good, f"input_shape('{name}') is {shape!r}, expected positive whole numbers such as (3, 224, 224)")


def models_are_modules_and_new_each_time(zoo: Zoo) -> None:
    """``module`` gives a ``torch.nn.Module`` that nobody else holds."""
    from torch import nn

    for name in _sampled(zoo):
        first, second = _made(zoo, name), _made(zoo, name)
        require(isinstance(first, nn.Module), f"module('{name}') is a {type(first).__name__}, expected a torch module")
        require(first is not second, f"module('{name}') gives one module twice; make a new one each time")


def models_can_be_traced(zoo: Zoo) -> None:
    """A model runs on an input of its shape, and becomes a graph with its parameters."""
    from aiop_core.graph.trace import trace

    for name in _sampled(zoo):
        module = _made(zoo, name)
        try:
            graph = trace(module, zoo.input_shape(name))
        except GraphError as error:
            require(kept=False, otherwise=f"'{name}' at input_shape('{name}'): {error}")
        require(int(graph.params.sum()) > 0 or not list(module.parameters()), f"'{name}' uses no parameter")


ZOO_CHECKS: tuple[Callable[[Zoo], None], ...] = (
    names_are_distinct_words,
    every_model_has_an_input_shape,
    models_are_modules_and_new_each_time,
    models_can_be_traced,
)
"""In the order in which an author meets them."""
