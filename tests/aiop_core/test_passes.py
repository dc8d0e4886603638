"""Passes leave the same network: with fewer nodes, under its operations' own names, in one form."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.check import problems
from aiop_core.graph.cost import cost
from aiop_core.graph.model import Graph
from aiop_core.graph.ops import Op, paper_op
from aiop_core.graph.passes import canonical, fuse, fuse_affine, prune
from aiop_core.graph.tensorflow.atrous import fold_atrous
from aiop_core.graph.trace import trace


def names(graph: Graph) -> list[str]:
    return [Op(int(op)).name for op in graph.op]


def chain(*, dead: bool = False):
    b = GraphBuilder()
    x = b.input((8, 8))
    conv = b.conv(x, 4, 3)
    if dead:
        b.add(Op.Sigmoid, (b.add(Op.Tanh, (conv,)),))
    b.output(b.add(Op.Add, (conv, b.add(Op.ReLU, (conv,)))))
    return b.build()


class Does(nn.Module):
    """A function of the image and some vectors as a module."""

    def __init__(self, function, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.vectors = nn.ParameterList(torch.zeros(shape) for shape in shapes)

    def forward(self, x):
        return self.function(x, *self.vectors)


def graph_of(function, *shapes: tuple[int, ...], image: tuple[int, ...] = (6, 8, 8)) -> Graph:
    return trace(Does(function, *shapes), image)


def test_nodes_that_reach_no_output_are_dropped() -> None:
    assert prune(chain(dead=True)) == chain()
    clean = chain()
    assert prune(clean) is clean


def test_a_graph_with_nothing_to_fuse_is_itself() -> None:
    clean = chain()
    assert fuse(clean) is clean
    assert fuse_affine(clean) is clean


def test_operations_have_the_papers_index_or_an_equivalent() -> None:
    assert paper_op(Op.ConvTranspose) is Op.Conv
    assert paper_op(Op.Softmax) is Op.OOV
    assert [op for op in Op if op < 32] == [paper_op(op) for op in Op if op < 32]


@pytest.mark.parametrize(
    ("spelt", "named"),
    [
        (lambda x: x * torch.sigmoid(x), F.silu),
        (lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)), F.gelu),
        (lambda x: 0.5 * x * (1 + torch.tanh(0.797 * (x + 0.044715 * x**3))), F.gelu),
        (lambda x: 0.5 * x * (1 + torch.tanh(0.797 * (x + 0.044715 * x * x * x))), F.gelu),
        (lambda x: 0.5 * x * (1 + torch.tanh(x * 0.797 * (1 + 0.044715 * x * x))), F.gelu),
        (lambda x: x * torch.clamp(x + 3, 0, 6) / 6, F.hardswish),
        (lambda x: torch.clamp(x + 3, 0, 6) / 6, F.hardsigmoid),
        (lambda x: x * torch.tanh(F.softplus(x)), F.mish),
        (lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-5).sqrt(), "layer_norm"),
        (
            lambda x: (
                (x - x.mean(-1, keepdim=True)) * ((x - x.mean(-1, keepdim=True)) ** 2).mean(-1).rsqrt()[..., None]
            ),
            None,
        ),
        (lambda x: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5), "layer_norm"),
        (lambda x: x * (1 / ((x * x).mean(-1, keepdim=True) + 1e-5).sqrt()), "layer_norm"),
    ],
)
def test_what_is_spelt_out_gets_its_name(spelt, named) -> None:
    if named is None:  # the mean is taken twice: what is computed twice stays twice
        assert names(graph_of(spelt)).count("Mean") == 3
        return
    if named == "layer_norm":
        assert names(graph_of(spelt, image=(10, 32))) == ["Input", "LayerNorm", "Output"]
    else:
        assert graph_of(spelt).fingerprint == graph_of(named).fingerprint


def test_a_norm_of_whole_channels_is_no_layer_norm() -> None:
    def norm(x, *, dims):
        return (x - x.mean(dims, keepdim=True)) / (x.var(dims, keepdim=True) + 1e-5).sqrt()

    assert names(graph_of(lambda x: norm(x, dims=(2, 3)))) == ["Input", "GroupNorm", "Output"]
    assert names(graph_of(lambda x: norm(x, dims=1))) == ["Input", "LayerNorm", "Output"]
    mixed = graph_of(lambda x: (x - x.mean(1, keepdim=True)) / (x.var((2, 3), keepdim=True) + 1e-5).sqrt())
    assert not {"GroupNorm", "LayerNorm"} & set(names(mixed))


@pytest.mark.parametrize(
    "other",
    [
        lambda x: x * torch.sigmoid(x + x.mean((2, 3), keepdim=True)),
        lambda x: x * torch.tanh(x),
        lambda x: x.relu() * torch.sigmoid(x),
        lambda x: x * torch.tanh(x + torch.sin(x)),
    ],
)
def test_what_only_looks_alike_stays(other) -> None:
    assert not {"Swish", "GeLU"} & set(names(graph_of(other)))


def test_a_layer_norm_takes_its_scale_and_shift() -> None:
    def norm(x, scale, shift):
        centred = x - x.mean(-1, keepdim=True)
        return centred / ((centred**2).mean(-1, keepdim=True) + 1e-6).sqrt() * scale + shift

    graph = trace(Does(norm, (32,), (32,)), (10, 32))
    assert names(graph) == ["Input", "LayerNorm", "Output"]
    assert graph.fingerprint == trace(nn.LayerNorm(32), (10, 32)).fingerprint


def test_a_vector_added_to_a_product_is_its_bias() -> None:
    graph = trace(Does(lambda x, w, b: x @ w + b, (32, 5), (5,)), (10, 32))
    assert graph.fingerprint == trace(nn.Linear(32, 5), (10, 32)).fingerprint
    for shape in ((10, 5), (10, 1)):
        position = trace(Does(lambda x, w, p: x @ w + p, (32, 5), shape), (10, 32))
        assert names(position) == ["Input", "MatMul", "Add", "Output"]
    square = trace(Does(lambda x, w, p: x @ w + p, (32, 10), (10, 1)), (10, 32))
    assert names(square) == ["Input", "MatMul", "Add", "Output"]


def test_a_second_bias_stays() -> None:
    twice = Does(lambda x, w, a, b: F.linear(x, w, a) + b, (5, 32), (5,), (5,))
    assert names(trace(twice, (10, 32))) == ["Input", "MatMul", "Add", "Output"]


def test_a_bias_that_is_used_twice_is_folded_twice() -> None:
    apart = trace(Does(lambda x, w, b: (x @ w + b).relu() @ w + b, (32, 32), (32,)), (10, 32))
    together = nn.Sequential(linear := nn.Linear(32, 32), nn.ReLU(), linear)
    assert apart.fingerprint == trace(together, (10, 32)).fingerprint


def test_a_scale_after_a_norm_with_its_own_stays() -> None:
    scaled = trace(Does(lambda x, s, t: F.rms_norm(x, (32,), s) * t, (32,), (32,)), (10, 32))
    assert names(scaled) == ["Input", "LayerNorm", "Mul", "Output"]


def test_scale_and_shift_are_a_batch_norm() -> None:
    affine = graph_of(lambda x, s, b: x * s + b, (6, 1, 1), (6, 1, 1))
    assert names(affine) == ["Input", "Mul", "Add", "Output"]
    assert fuse_affine(affine).fingerprint == trace(nn.BatchNorm2d(6), (6, 8, 8)).fingerprint
    four = graph_of(lambda x, g, v, b, m: x * (g * v.rsqrt()) + (b - m * g * v.rsqrt()), *[(6, 1, 1)] * 4)
    assert fuse_affine(four).params.tolist() == [0, 12, 0]
    three = graph_of(lambda x, v, b, m: x * v.rsqrt() + (b - m * v.rsqrt()), *[(6, 1, 1)] * 3)
    assert fuse_affine(three).params.tolist() == [0, 6, 0]
    position = graph_of(lambda x, s, p: x * s + p, (6, 1, 1), (6, 8, 8))
    assert fuse_affine(position) is position
    rows = graph_of(lambda x, s, b: x * s + b, (8, 1), (8, 1), image=(8, 8, 8))
    assert fuse_affine(rows) is rows


class Dense(nn.Module):
    def __init__(self, *, nested: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(6 + 4 * i, 4, 3, padding=1) for i in range(3))
        self.nested = nested

    def forward(self, x):
        found = [x]
        for conv in self.convs:
            if self.nested:
                x = torch.cat([x, conv(x)], 1)
            else:
                found.append(conv(torch.cat(found, 1) if len(found) > 1 else x))
        return x if self.nested else torch.cat(found, 1)


def conv(*args, **kwargs) -> nn.Module:
    return nn.Conv2d(*args, **kwargs)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            nn.Sequential(conv(6, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
            nn.Sequential(conv(6, 4, 3), nn.ReLU()),
        ),
        (nn.Sequential(conv(6, 4, 3), nn.BatchNorm2d(4)), conv(6, 4, 3)),
        (nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv(6, 4, 3, stride=2)), conv(6, 4, 3, stride=2, padding=1)),
        (nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3, 2)), nn.MaxPool2d(3, 2, padding=1)),
        (nn.Sequential(nn.AdaptiveAvgPool2d(8), conv(6, 4, 1)), conv(6, 4, 1)),
        (nn.AvgPool2d(8), nn.AdaptiveAvgPool2d(1)),
        (nn.MaxPool2d(8), Does(lambda x: x.amax((2, 3)))),
        (
            nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(6, 5, 1), nn.Flatten()),
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)),
        ),
        (Dense(nested=True), Dense(nested=False)),
        (
            Does(lambda x, w: x * F.conv2d(x, w).mean((2, 3), keepdim=True).expand_as(x), (6, 6, 1, 1)),
            Does(lambda x, w: x * F.conv2d(x, w).mean((2, 3), keepdim=True), (6, 6, 1, 1)),
        ),
        (Does(lambda x: x[:, :, 2:][..., 1:5].relu()), Does(lambda x: x[:, :, 2:, 1:5].relu())),
        (nn.Sequential(Does(lambda x, m: x - m, (6, 1, 1)), conv(6, 4, 3)), conv(6, 4, 3)),
    ],
)
def test_two_ways_to_write_a_network_have_one_canonical_graph(one, other) -> None:
    first, second = trace(one, (6, 8, 8)), trace(other, (6, 8, 8))
    assert canonical(first).fingerprint == canonical(second).fingerprint
    assert problems(canonical(first)) == []
    assert cost(canonical(first)).macs == cost(first).macs


def test_canonical_form_keeps_what_matters() -> None:
    narrow, wide = nn.Conv2d(6, 4, 3), nn.Conv2d(6, 4, 5, padding=1)
    assert canonical(trace(narrow, (6, 8, 8))).fingerprint != canonical(trace(wide, (6, 8, 8))).fingerprint
    before = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3))
    assert names(canonical(trace(before, (6, 8, 8)))) == ["Input", "BatchNorm", "ReLU", "Conv", "Output"]
    shared = Does(lambda x: (y := F.avg_pool2d(x, 2)) + F.batch_norm(y, torch.zeros(6), torch.ones(6)))
    assert "BatchNorm" in names(canonical(trace(shared, (6, 8, 8))))


def test_atrous_pairs_are_one_dilated_convolution() -> None:
    b = GraphBuilder()
    x = b.input((8, 8), 6)
    spread = b.add(Op.SpacetoBatchND, (x,), (6, 24, 6))
    inner = b.add(Op.Conv, (spread,), (4, 16, 4), kernel=(3, 3), bias=True, params=6 * 4 * 9 + 4)
    b.output(b.add(Op.BatchtoSpaceND, (inner,), (8, 8, 4)))
    dilated = trace(nn.Conv2d(6, 4, 3, dilation=2, padding=2), (6, 8, 8))
    assert canonical(fold_atrous(b.build())).fingerprint == canonical(dilated).fingerprint


def focus(x):
    return torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)


@pytest.mark.parametrize("network", [Dense(nested=False), Does(focus), Does(lambda x: torch.roll(x, 3, 2).relu())])
def test_canonical_is_idempotent(network) -> None:
    graph = canonical(trace(network, (6, 8, 8)))
    assert canonical(graph).fingerprint == graph.fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: torch.cat([x[:, :2], x[:, 2:4], x[:, :2]], 1).relu(), lambda x: x.relu()),
        (lambda x, w: F.conv2d(x * x, w), lambda x, w: F.conv2d(x, w, None)),
        (lambda x, w: F.conv2d(1 / x, w), lambda x, w: F.conv2d(x, w, None)),
        (lambda x: torch.cat([x[:, :3], x[:, :3].clone()], 1).relu(), lambda x: x.relu()),
        (lambda x: torch.cat([x[:, :, :4], x[:, :, :4].clone()], 2).relu(), lambda x: x.relu()),
        (lambda x: torch.cat([x[:, :, 5:], x[:, :, 1:5], x[:, :, :1]], 2).relu(), lambda x: x.relu()),
    ],
)
def test_different_networks_keep_different_canonical_graphs(one, other) -> None:
    shapes = [(4, 6, 1, 1)] * (one.__code__.co_argcount - 1)
    assert canonical(graph_of(one, *shapes)).fingerprint != canonical(graph_of(other, *shapes)).fingerprint


def test_a_learned_position_on_the_image_is_no_preprocessing() -> None:
    graph = canonical(graph_of(lambda x, w, p: F.conv2d(x + p, w), (4, 6, 1, 1), (6, 8, 8)))
    assert names(graph) == ["Input", "Add", "Conv", "Output"]


def test_two_paddings_in_a_row_are_in_the_window() -> None:
    padded = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.ZeroPad2d((1, 0, 1, 0)), conv(6, 4, 3))
    assert (
        canonical(trace(padded, (6, 8, 8))).fingerprint
        == canonical(trace(conv(6, 4, 3, padding=1), (6, 8, 8))).fingerprint
    )


def test_windows_that_do_not_cover_the_map_are_no_mean() -> None:
    assert "Avgpool" in names(canonical(graph_of(lambda x: F.avg_pool2d(x, 7, 7))))
    grouped = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(6, 4, 1, groups=2))
    assert "Conv" in names(canonical(trace(grouped, (6, 8, 8))))


def test_a_norm_after_a_product_of_two_maps_is_no_bias() -> None:
    def square(x):
        tokens = x.flatten(2)
        return F.batch_norm(tokens @ tokens.transpose(1, 2), torch.zeros(6), torch.ones(6))

    assert names(canonical(graph_of(square))) == ["Input", "MatMul", "BatchNorm", "Output"]


def test_padded_channels_stay() -> None:
    graph = canonical(graph_of(lambda x, w: F.conv2d(F.pad(x, (0, 0, 0, 0, 0, 2)), w), (4, 8, 1, 1)))
    assert "Paddings" in names(graph)


def test_rows_are_joined_as_rows() -> None:
    def joined(x):
        rows = torch.cat([torch.cat([x, x.relu()], 2), torch.cat([x.tanh(), x.exp()], 2)], 1)
        return rows.sigmoid()

    assert names(canonical(graph_of(joined))).count("Concat") == 3


def test_one_dimension_has_one_form() -> None:
    line = nn.Sequential(nn.Conv1d(6, 4, 3), nn.MaxPool1d(2), nn.AvgPool1d(3, 1))
    graph = trace(line, (6, 20))
    assert graph.kernel[1:4].tolist() == [[3, 1], [2, 1], [3, 1]]
    assert graph.resolution[1:4, :4].tolist() == [[20, 18, 1, 1], [18, 9, 1, 1], [9, 7, 1, 1]]
