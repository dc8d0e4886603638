"""Recurrent layers in ONNX files: gates, directions and states as ``trace`` sees them."""

import pytest
import torch
from torch import nn

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from tests.aiop_core.onnx_files import f, i, names, node, save
from tests.aiop_core.test_onnx_torch import assert_same

from aiop_core.graph.cost import cost
from aiop_core.graph.onnx import read_onnx


class Steps(nn.Module):
    """What a recurrent layer gives at each step."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


class Started(nn.Module):
    """A layer that starts from what the first step gives, or from what it has learnt."""

    def __init__(self, *, learnt: bool) -> None:
        super().__init__()
        self.layer = nn.LSTM(8, 5, batch_first=True)
        self.first = None if learnt else nn.Linear(8, 5)
        self.hidden, self.cell = (nn.Parameter(torch.zeros(1, 1, 5)) for _ in range(2))

    def forward(self, x):
        hidden = self.hidden if self.first is None else self.first(x[:, 0])[None]
        return self.layer(x, (hidden, self.cell))[0]


LAYERS = {
    "lstm": (lambda: Steps(nn.LSTM(8, 5, batch_first=True)), [False, True]),
    "two layers in both directions": (
        lambda: Steps(nn.GRU(8, 5, 2, bidirectional=True, batch_first=True)),
        [False, True],
    ),
    "lstm in both directions, steps first": (lambda: Steps(nn.LSTM(8, 5, bidirectional=True)), [False, True]),
    "rnn": (lambda: Steps(nn.RNN(8, 5, batch_first=True, nonlinearity="relu")), [False]),  # the new one unrolls it
    "without biases": (lambda: Steps(nn.GRU(8, 5, bias=False, batch_first=True)), [False]),
    "a large state": (lambda: Steps(nn.GRU(8, 600, batch_first=True)), [True]),  # its zeros are in another file
    "states that flow": (lambda: Started(learnt=False), [False, True]),
    "learnt states": (lambda: Started(learnt=True), [False, True]),
}


@pytest.mark.parametrize(("name", "dynamo"), [(name, dynamo) for name in LAYERS for dynamo in LAYERS[name][1]])
def test_recurrent_layers(name, dynamo, tmp_path) -> None:
    shape = (1, 8) if "steps first" in name else (6, 8)
    assert_same(LAYERS[name][0](), shape, tmp_path, dynamo=dynamo, opset=18)


def test_both_directions_cost_what_torch_counts(tmp_path) -> None:
    """Each step multiplies by every weight: 2 directions · 4 gates · (10 + 5) · 5."""
    nodes = [
        node("Reshape", "x", "to", outputs="t"),
        node("LSTM", "t", "w", "r", "b", hidden_size=5, direction="bidirectional"),
    ]
    constants = {"to": i(36, 1, 10), "w": f(2, 20, 10), "r": f(2, 20, 5), "b": f(2, 40)}
    save(tmp_path / "net.onnx", nodes, constants, 14)
    graph = read_onnx(tmp_path / "net.onnx")
    assert names(graph) == "Recurrent"
    assert (graph.groups[1], graph.resolution[1].tolist()) == (4, [36, 36, 1, 1, 10, 10])
    assert (cost(graph).macs, cost(graph).params) == (36 * 600, 680)


def test_results_that_nobody_asks_for_are_nothing(tmp_path) -> None:
    nodes = [
        node("Reshape", "x", "to", outputs="t"),
        node("GRU", "t", "w", "r", outputs=("", "y"), hidden_size=5, direction="reverse"),
    ]
    save(tmp_path / "net.onnx", nodes, {"to": i(1, 1, 360), "w": f(1, 15, 360), "r": f(1, 15, 5)}, 14)
    assert names(read_onnx(tmp_path / "net.onnx")) == "Recurrent"  # the only step is the last one
