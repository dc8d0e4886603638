"""Rules for torch's operations: each gives the nodes that it should, where its shapes say."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode

from aiop_core.graph.aten import RULES
from aiop_core.graph.check import problems
from aiop_core.graph.cost import cost
from aiop_core.graph.model import Graph
from aiop_core.graph.ops import Op
from aiop_core.graph.recorder import Value, _reshaped_axis, geometry, window
from aiop_core.graph.trace import trace


class Does(nn.Module):
    def __init__(self, function, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList(torch.zeros(shape) for shape in shapes)

    def forward(self, x):
        return self.function(x, *self.weights)


def inner(function, *shapes, image=(6, 8, 8)) -> list[str]:
    """The nodes between input and output."""
    graph = trace(Does(function, *shapes), image)
    assert problems(graph) == []
    return [Op(int(op)).name for op in graph.op][1:-1]


def test_every_rule_is_of_an_operation_that_exists() -> None:
    import torchvision  # noqa: F401 - registers its operations

    for name in RULES:
        library, _, operation = name.rpartition("::")
        assert hasattr(getattr(torch.ops, library or "aten"), operation), name


@pytest.mark.parametrize(
    ("function", "nodes"),
    [
        (lambda x: x.reshape(1, 3, 2, 8, 8).transpose(1, 2).flatten(1, 2), []),
        (lambda x: x.permute(0, 2, 3, 1).contiguous().view(-1, 6), []),
        (lambda x: -x * 2 + 1, []),
        (lambda x: x.chunk(2, 1)[0], ["Slice"]),
        (lambda x: torch.cat(x.split(3, 1)[::-1], 1), ["Slice", "Slice", "Concat"]),
        (lambda x: torch.cat(x.unbind(1), 1), ["Slice"] * 6 + ["Concat"]),
        (lambda x: torch.stack([x, x.relu()], 1), ["ReLU", "Concat"]),
        (lambda x: torch.cat([x[:, :0], x.relu()], 1), ["ReLU", "Concat"]),
        (lambda x: x.repeat(1, 2, 1, 1), ["Tile"]),
        (lambda x: x[:, [0, 2]], ["Slice"]),
        (lambda x: x.gather(1, x.argmax(1, keepdim=True)), ["ArgMax", "Gather"]),
        (lambda x: torch.where(x > 0, x, x.exp()), ["Compare", "Exp", "Where"]),
        (lambda x: x.masked_fill(torch.ones(8, 8, device=x.device).bool(), 0), []),
        (lambda x: torch.addcmul(x, x.relu(), x.tanh()), ["ReLU", "Tanh", "Mul", "Add"]),
        (lambda x, s, b: torch.addcmul(b, x, s), ["Mul", "Add"]),
        (lambda x: x.lerp(x.relu(), 0.5), ["ReLU", "Sub", "Add"]),
        (lambda x: x.clamp(min=0), ["ReLU"]),
        (lambda x: x.clamp(0, 6), ["ReLU6"]),
        (lambda x: x.clamp(-1, 1), []),
        (lambda x: F.hardtanh(x - 1), []),
        (lambda x: F.hardtanh(x, 0, 1), ["ReLU6"]),
        (lambda x: torch.tensor(2.0) / x, ["Div"]),
        (lambda x: x * x, ["Pow"]),
        (lambda x: x.max(1)[1].float(), ["ArgMax"]),
        (lambda x: x.max(1)[0], ["Max"]),
        (lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), ["Maxpool", "Where"]),
        (lambda x: torch.sigmoid(x, out=torch.empty(1, 6, 8, 8, device="meta")), ["Sigmoid"]),
        (lambda x: x.relu().to("cpu") + x, ["ReLU", "Add"]),
        (lambda x: x**0.5, ["Sqrt"]),
        (lambda x: 1 / x, ["Div"]),
        (lambda x: torch.maximum(x, x.abs()), ["Abs", "Max"]),
        (lambda x: x.topk(3, 1)[0], ["TopK"]),
        (lambda x: x.std((2, 3)), ["Var"]),
        (lambda x: F.normalize(x, dim=1), ["Norm", "Div"]),
        (lambda x: F.glu(x, 1), ["Slice", "Slice", "Sigmoid", "Mul"]),
        (lambda x: F.unfold(x, 3, padding=1), ["Tile"]),
        (lambda x: F.fold(F.unfold(x, 2, stride=2), 8, 2, stride=2), ["Sum"]),
        (lambda x: F.interpolate(x, scale_factor=2), ["Resize"]),
        (lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2), ["SpacetoDepthND", "DepthtoSpaceND"]),
        (lambda x: F.channel_shuffle(x, 3), []),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), ["Paddings"]),
        (lambda x: torch.fft.irfft2(torch.fft.rfft2(x)), ["FFT"] * 2),
        (lambda x: F.grid_sample(x, torch.zeros(1, 4, 4, 2, device=x.device), align_corners=False), ["GridSample"]),
        (lambda x: F.mish(x - 1), ["Softplus", "Tanh", "Mul"]),
        (lambda x: F.instance_norm(x, eps=1), ["GroupNorm"]),
        (lambda x: F.adaptive_max_pool2d(x, 2), ["Maxpool"]),
        (lambda x: torch.einsum("bchw,bdhw->bcd", x, x.relu()), ["ReLU", "MatMul"]),
    ],
)
def test_operations_become_these_nodes(function, nodes) -> None:
    shapes = [(6, 1, 1)] * (function.__code__.co_argcount - 1)
    assert inner(function, *shapes) == nodes


def channels(graph: Graph, op: Op) -> list[int]:
    return graph.resolution[graph.op == op][:, 5].tolist()


def test_channels_are_followed_through_shuffles_and_token_layouts() -> None:
    def shuffle(x):
        return torch.relu(x.view(1, 3, 2, 8, 4).transpose(1, 2).reshape(1, 6, 8, 4))

    graph = trace(Does(shuffle), (6, 8, 4))
    assert graph.resolution[1].tolist() == [8, 8, 4, 4, 6, 6]

    def windows(x):  # (1, C, H, W) to windows of tokens (4, 16, C) and back
        tokens = x.permute(0, 2, 3, 1).view(1, 2, 4, 2, 4, 6).transpose(2, 3).reshape(4, 16, 6)
        tokens = F.gelu(tokens).view(1, 2, 2, 4, 4, 6).transpose(2, 3).reshape(1, 8, 8, 6)
        return torch.tanh(tokens.permute(0, 3, 1, 2))

    graph = trace(Does(windows), (6, 8, 8))
    assert graph.resolution[1].tolist() == [4, 4, 16, 16, 6, 6]
    assert graph.resolution[2].tolist() == [8, 8, 8, 8, 6, 6]

    def heads(x):  # (1, N, 3 · 2 · 4) to three of (1, 2, N, 4)
        q, k, v = x.view(1, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        return (q @ k.transpose(-2, -1)).softmax(-1) @ v

    graph = trace(Does(heads), (5, 24))
    assert graph.resolution[graph.op == Op.Slice][:, 1::2].tolist() == [[2, 5, 4]] * 3
    assert graph.groups[graph.op == Op.MatMul].tolist() == [2, 2]
    assert cost(graph).macs == 2 * 2 * 5 * 5 * 4


@pytest.mark.parametrize(
    ("shape", "axis", "after", "expected"),
    [
        ((1, 24, 7, 7), 1, (1, 3, 8, 7, 7), 2),
        ((1, 8, 3, 7, 7), 1, (1, 24, 7, 7), 1),
        ((1, 24, 7, 7), 1, (1, 24, 49), 1),
        ((1, 196, 576), 2, (1, 196, 3, 6, 32), 4),
        ((1, 24, 1, 1), 1, (1, 24), 1),
        ((24, 1, 1), 0, (1, 24), 1),
        ((1, 24, 7, 7), 1, (1, 1176), 1),
        ((1, 24), 1, (1, 1, 1, 24), 3),
        ((0, 3), 1, (3, 0), 1),
        ((), 0, (1,), 0),
        ((1, 24), 1, (), 0),
    ],
)
def test_the_channel_axis_after_a_reshape(shape, axis, after, expected) -> None:
    assert _reshaped_axis(Value(shape, 0, axis), after) == expected


def test_geometry_drops_a_batch_of_one_and_folds_what_is_longer() -> None:
    assert geometry((1, 3, 8, 4), 1) == (8, 4, 3)
    assert geometry((4, 16, 6), 2) == (4, 16, 6)
    assert geometry((1, 10), 1) == (1, 1, 10)
    assert geometry((), 0) == (1, 1, 1)
    assert (window(3), window([3]), window((2, 3)), window((2, 3, 4)), window(())) == (
        (3, 3),
        (3, 1),
        (2, 3),
        (2, 12),
        (1, 1),
    )


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.LSTM(12, 8, num_layers=2, bidirectional=True, batch_first=True), (10, 12)),
        (nn.LSTM(12, 8, bias=False, batch_first=True), (10, 12)),
        (nn.GRU(12, 8, batch_first=True), (10, 12)),
        (nn.RNN(12, 8, batch_first=True), (10, 12)),
    ],
)
def test_a_recurrent_layer_is_one_node_with_the_cost_of_all_its_steps(layer, shape) -> None:
    graph = trace(layer, shape)
    nodes = [Op(int(op)).name for op in graph.op]
    assert nodes.count("Recurrent") == layer.num_layers
    assert problems(graph) == []
    with FlopCounterMode(display=False) as counter:
        layer.to("meta")(torch.empty(1, *shape, device="meta"))
    assert cost(graph).macs == counter.get_total_flops() // 2
    assert cost(graph).params == sum(p.numel() for p in layer.parameters())


class Encoder(nn.Module):
    """The state of one recurrent layer starts the next."""

    def __init__(self, layer=nn.LSTM) -> None:
        super().__init__()
        self.first, self.second = layer(8, 16, batch_first=True), layer(8, 16, batch_first=True)

    def forward(self, x):
        _, state = self.first(x)
        return self.second(x, state)[0]


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
def test_the_state_that_a_recurrent_layer_starts_from_is_read(layer) -> None:
    net = Encoder(layer)
    graph = trace(net, (5, 8))
    assert cost(graph).params == sum(p.numel() for p in net.parameters())
    assert [Op(int(op)).name for op in graph.op].count("Recurrent") == 2
    assert problems(graph) == []


def test_products_with_a_constant_on_the_left_mix_rows() -> None:
    graph = trace(Does(lambda x, w: w @ x, (7, 10)), (10, 32))
    assert graph.resolution[1].tolist() == [32, 32, 1, 1, 10, 7]
    assert cost(graph).macs == 7 * 10 * 32


def test_a_learned_query_reads_what_flows() -> None:
    graph = trace(Does(lambda x, q: q @ x.view(10, 4, 8).permute(1, 2, 0), (4, 1, 8)), (10, 32))
    assert graph.resolution[1].tolist() == [10, 10, 1, 1, 32, 4]
    assert problems(graph) == []
    assert cost(graph).macs == 4 * 8 * 10


def test_what_weights_alone_give_costs_nothing() -> None:
    """Relative positions that a network computes from its parameters do not depend on the image."""
    graph = trace(Does(lambda x, a, b: x + a @ b, (8, 4), (4, 8)), (6, 8, 8))
    assert [Op(int(op)).name for op in graph.op] == ["Input", "Add", "Output"]
    assert (cost(graph).macs, cost(graph).params) == (0, 64)


def test_three_dimensional_convolutions_count_their_volume() -> None:
    layer = nn.Conv3d(3, 4, (2, 3, 5), bias=False)
    graph = trace(layer, (3, 4, 9, 9))
    assert cost(graph).macs == 4 * 3 * 30 * (3 * 7 * 5)


def test_a_strangers_rule_wins() -> None:
    def swish(recorder, call):
        return recorder.emit(Op.Swish, call.values, call.shapes[0])

    graph = trace(nn.Tanh(), (3, 4, 4), rules={"aten::tanh": swish})
    assert [Op(int(op)).name for op in graph.op] == ["Input", "Swish", "Output"]


def test_problems_are_told_by_node() -> None:
    good = trace(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.ReLU()), (4, 8, 8))
    assert problems(good) == []
    columns = {name: getattr(good, name).copy() for name in ("op", "resolution", "kernel", "stride", "groups", "bias")}
    columns["resolution"][2] = [6, 5, 6, 6, 4, 4]
    columns["groups"][1] = 3
    bad = Graph(**columns, params=good.params, edges=good.edges[:, :2])
    assert problems(bad) == [
        "node 1 (Conv) has 3 groups for 4 and 4 channels",
        "node 2 (ReLU) is read by nothing",
        "node 2 (ReLU) reads 144 numbers and gives 120",
        "node 3 (Output) reads nothing",
    ]
    columns["resolution"][1][:4] = [9, 6, 9, 6]
    assert "node 1 (Conv) reads 324 numbers, but its inputs give [256]" in problems(
        Graph(**columns, params=good.params, edges=good.edges)
    )
