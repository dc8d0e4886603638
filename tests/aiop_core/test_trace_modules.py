"""The tracer on modules that write in place, keep things, or are not what they should be."""

import dataclasses

import pytest
import torch
from torch import nn

from aiop_core.errors import GraphError
from aiop_core.graph.check import problems
from aiop_core.graph.cost import cost
from aiop_core.graph.model import Graph
from aiop_core.graph.ops import Op
from aiop_core.graph.trace import trace


def names(graph: Graph) -> list[str]:
    return [Op(int(op)).name for op in graph.op]


class Written(nn.Module):
    """Convolutions, and a function that writes into what they give."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.vector = nn.Parameter(torch.zeros(8, 8))

    def forward(self, x):
        return self.function(self, x)


def through_a_view(net, x):
    y = net.first(x)
    view = y.view(1, 4, -1)
    y.add_(net.second(x))
    return view


def through_the_whole(net, x):
    y = net.first(x)
    flat = y.flatten(2)
    y.relu_()
    return flat.sigmoid() + net.second(x).flatten(2)


def parameter_into_a_part(net, x):
    y = net.first(x) + net.second(x)
    y[:, 1] = net.vector
    return y


def parameter_first(net, x):
    whole = x.new_zeros(1, 9, 8, 8)
    whole[:, 0] = net.vector
    whole[:, 1:5] = net.first(x)
    whole[:, 5:] = net.second(x)
    return whole


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (through_a_view, ["Input", "Conv", "Conv", "Add", "Output"]),
        (through_the_whole, ["Input", "Conv", "ReLU", "Sigmoid", "Conv", "Add", "Output"]),
        (parameter_into_a_part, ["Input", "Conv", "Conv", "Add", "Where", "Output"]),
        (parameter_first, ["Input", "Conv", "Where", "Conv", "Where", "Output"]),
    ],
)
def test_what_is_written_is_seen_wherever_it_is_shared(function, expected) -> None:
    net = Written(function)
    graph = trace(net, (3, 8, 8))
    assert names(graph) == expected
    own = 0 if function in (through_a_view, through_the_whole) else net.vector.numel()
    assert cost(graph).params == 2 * (3 * 4 + 4) + own
    assert problems(graph) == []


def test_parameters_that_are_put_together_are_all_there() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.upper, self.lower = nn.Parameter(torch.zeros(8)), nn.Parameter(torch.zeros(8))

        def forward(self, x):
            table = torch.zeros(2, 8)
            table[0] = self.upper
            table[1] = self.lower
            return x + table

    assert cost(trace(Table(), (2, 8))).params == 16


def test_inference_mode_in_forward_changes_nothing() -> None:
    class Decorated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

        @torch.inference_mode()
        def forward(self, x):
            return self.net(x)

    assert trace(Decorated(), (3, 8, 8)) == trace(Decorated().net, (3, 8, 8))


def test_what_a_module_keeps_for_itself_is_as_before() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.place, self.seen = nn.Conv2d(3, 4, 1), None, {}

        def forward(self, x):
            y = self.conv(x)
            if self.place is None:
                self.place = torch.arange(8).float() * y.new_ones(8)
                self.seen["place"] = self.place
            return y + self.place

    net = Keeps()
    first = trace(net, (3, 8, 8))
    assert net.place is None
    assert net.seen == {}
    assert trace(net, (3, 8, 8)) == first
    assert net(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 8, 8)


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16, torch.double])
def test_modules_of_any_precision_are_traced(dtype) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    assert trace(net, (3, 8, 8)) == trace(net.to(dtype), (3, 8, 8))


def test_outputs_in_dataclasses_are_found() -> None:
    @dataclasses.dataclass
    class Result:
        scores: torch.Tensor
        boxes: list[torch.Tensor]

    class Gives(nn.Module):
        def forward(self, x):
            return Result(x.relu(), [x.tanh()])

    assert names(trace(Gives(), (3, 8, 8))).count("Output") == 2


@pytest.mark.parametrize(
    ("net", "shape", "advice"),
    [
        (nn.Conv2d(3, 4, 1), (1, 3, 8, 8), "leave the batch axis out: 3,8,8"),
        (nn.Embedding(10, 4), (5,), r"wrap it in a module that makes them of its input, with \.long\(\)"),
        (nn.Bilinear(3, 3, 4), (3,), "wrap it in a module that takes the image alone"),
        (nn.LazyConv2d(4, 3), (3, 8, 8), "LazyConv2d cannot be traced"),
    ],
)
def test_advice_fits_what_went_wrong(net, shape, advice) -> None:
    with pytest.raises(GraphError, match=advice):
        trace(net, shape)


def test_contents_are_asked_for_in_vain() -> None:
    class Peeks(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(GraphError, match="looks at the contents of a tensor, but a graph must hold for every input"):
        trace(Peeks(), (3, 8, 8))
