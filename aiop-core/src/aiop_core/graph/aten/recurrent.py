"""Recurrent layers, seen before torch unrolls them into one product for each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from aiop_core.graph.ops import Op
from aiop_core.graph.recorder import Recorder, Value, geometry

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


class RecurrentLayers(TorchFunctionMode):
    """Makes one ``Recurrent`` node of each layer of ``torch.nn.LSTM``, ``GRU`` and ``RNN``.

    Args:
        recorder: where the nodes go.
        value: what a tensor is known as.
        bind: makes a tensor known.
    """

    def __init__(
        self, recorder: Recorder, value: Callable[[Tensor], Value], bind: Callable[[Tensor, Value], None]
    ) -> None:
        super().__init__()
        self._recorder, self._value, self._bind = recorder, value, bind

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        gates = _GATES.get(getattr(func, "__name__", ""))
        padded = len(args) == 9 and isinstance(args[1], Tensor | list | tuple)  # packed sequences have 8 arguments
        if gates is None or not padded or not self._value(args[0]).flows:
            return func(*args, **(kwargs or {}))
        x, state, weights, biases, layers, _, _, bidirectional, _ = args
        ways = 2 if bidirectional else 1
        each = len(weights) // (layers * ways)
        hidden = weights[1].shape[1]
        shape = (*x.shape[:-1], ways * (weights[each - 1].shape[0] if each in (3, 5) else hidden))  # a projected LSTM
        value = self._value(x)
        states = list(state) if isinstance(state, list | tuple) else [state]
        for layer in range(layers):
            own = [self._value(w) for w in weights[layer * ways * each : (layer + 1) * ways * each]]
            value = self._recorder.emit(
                Op.Recurrent,
                [value, *own, *(self._value(s) for s in states)],  # torch gives the states of all layers as one
                shape,
                axis=len(shape) - 1,
                seen=geometry(value.shape, -1),
                kernel=(ways, 1),
                groups=gates,
                bias=bool(biases),
            )
        results = [x.new_empty(shape), *(x.new_empty(s.shape) for s in states)]
        for result in results:
            made = tuple(result.shape) == shape
            self._bind(result, value if made else self._recorder.view(value, tuple(result.shape)))
        return tuple(results)
