"""The tracer: what it records, what it leaves alone, and what it says when it cannot."""

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode

from aiop_core.errors import GraphError
from aiop_core.graph.check import problems
from aiop_core.graph.cost import cost
from aiop_core.graph.model import Graph
from aiop_core.graph.ops import Op
from aiop_core.graph.trace import UnknownOperationWarning, trace


def names(graph: Graph) -> list[str]:
    return [Op(int(op)).name for op in graph.op]


def counted_macs(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Torch's own counter on the same meta run; its FLOPs are two per MAC."""
    with FlopCounterMode(display=False) as counter:
        module.eval()(torch.empty(1, *shape))
    return counter.get_total_flops() // 2


class Squeeze(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x):
        gate = self.up(F.relu(self.down(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(gate)


def test_chain_has_the_shapes_kernels_and_parameters_of_its_layers() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    graph = trace(net, (3, 32, 20))
    assert names(graph) == ["Input", "Conv", "BatchNorm", "ReLU", "Maxpool", "Output"]
    assert graph.resolution[1].tolist() == [32, 16, 20, 10, 3, 8]
    assert graph.kernel[[1, 4]].tolist() == [[3, 3], [2, 2]]
    assert graph.stride[[1, 4]].tolist() == [[2, 2], [2, 2]]
    assert graph.params.tolist() == [0, 3 * 8 * 9 + 8, 16, 0, 0, 0]
    assert graph.bias.tolist() == [False, True, False, False, False, False]
    assert graph.edges.tolist() == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]]


def test_hard_activations_are_spelt_in_the_papers_vocabulary() -> None:
    written = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Hardswish())
    assert names(trace(written, (3, 8, 8))) == ["Input", "Conv", "ReLU6", "Mul", "Output"]

    class ByHand(nn.Module):
        def forward(self, x):
            return x * F.relu6(x + 3) / 6

    assert trace(nn.Sequential(written[0], ByHand()), (3, 8, 8)).fingerprint == trace(written, (3, 8, 8)).fingerprint


def test_squeeze_and_excitation_shows_the_small_side_of_its_product() -> None:
    graph = trace(Squeeze(16), (16, 14, 14))
    assert names(graph) == ["Input", "Mean", "Conv", "ReLU", "Conv", "ReLU6", "Mul", "Output"]
    assert graph.resolution[6].tolist() == [1, 14, 1, 14, 16, 16]
    assert sorted(map(tuple, graph.edges.T.tolist())) == [
        (0, 1),
        (0, 6),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (5, 6),
        (6, 7),
    ]


def test_depthwise_grouped_and_transposed_convolutions() -> None:
    net = nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 16, 3, padding=1, groups=4, bias=False),
        nn.ConvTranspose2d(16, 6, 4, stride=2, padding=1, bias=False),
    )
    graph = trace(net, (8, 10, 10))
    assert names(graph) == ["Input", "Depthwise", "Conv", "ConvTranspose", "Output"]
    assert graph.groups.tolist() == [1, 8, 4, 1, 1]
    assert cost(graph).params == sum(p.numel() for p in net.parameters())
    assert cost(graph).macs == counted_macs(net, (8, 10, 10))


def test_attention_counts_its_products_by_heads() -> None:
    net = nn.MultiheadAttention(32, 4, batch_first=True)

    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = net

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    graph = trace(SelfAttention(), (10, 32))
    assert cost(graph).params == sum(p.numel() for p in net.parameters())
    assert cost(graph).macs == 10 * 32 * 96 + 2 * 10 * 10 * 32 + 10 * 32 * 32


def test_shared_weights_are_counted_once_and_dead_branches_vanish() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            torch.sigmoid(x)
            return self.conv(self.conv(x))

    graph = trace(Twice(), (4, 8, 8))
    assert names(graph) == ["Input", "Conv", "Conv", "Output"]
    assert cost(graph).params == 20


def test_python_control_flow_and_several_outputs() -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 4, 4, 3, 2, 1) for i in range(3))

        def forward(self, x):
            found = {}
            for i, conv in enumerate(self.convs):
                x = conv(x)
                if x.shape[-1] <= 16:
                    found[i] = x
            return found

    graph = trace(Pyramid(), (3, 32, 32))
    assert names(graph).count("Output") == 3


def test_tracing_leaves_the_module_and_the_random_state_alone() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    trace(net, (3, 8, 8))
    assert [m.training for m in net] == [True, False, True]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(not value.is_meta for value in net.state_dict().values())


def test_no_weights_are_needed() -> None:
    with torch.device("meta"):
        net = nn.Conv2d(3, 2**15, 7)  # 19 MB each; a thousand of them would not fit
    assert cost(trace(net, (3, 14, 14))).macs == 8 * 8 * 49 * 3 * 2**15


def test_unknown_operation_becomes_oov_with_a_warning_that_names_it() -> None:
    class Odd(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    with pytest.warns(
        UnknownOperationWarning,
        match=r"node 1: the operation aten::special_bessel_j0 .* register a rule 'torch:aten::special_bessel_j0'",
    ):
        graph = trace(Odd(), (3, 4, 4))
    assert names(graph) == ["Input", "OOV", "Output"]


def test_wrong_shape_is_one_clear_line() -> None:
    with pytest.raises(
        GraphError, match=r"Conv2d cannot be traced with an input of shape \(4, 8, 8\): .*; give the shape"
    ):
        trace(nn.Conv2d(3, 4, 1), (4, 8, 8))


def test_data_dependent_code_is_refused() -> None:
    class Peeks(nn.Module):
        def forward(self, x):
            return x if x.sum().item() > 0 else -x

    with pytest.raises(GraphError, match="Peeks cannot be traced"):
        trace(Peeks(), (3, 4, 4))


def test_module_without_output_is_refused() -> None:
    class Silent(nn.Module):
        def forward(self, x):
            return {"size": x.shape[-1]}

    with pytest.raises(GraphError, match="Silent returns no tensor"):
        trace(Silent(), (3, 4, 4))


@st.composite
def networks(draw) -> tuple[nn.Module, tuple[int, int, int]]:
    """Random small networks with groups, strides, branches, concatenation, gates and attention."""
    channels = draw(st.sampled_from([4, 8]))
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1)]
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from("conv depthwise residual concat squeeze norm pool attention up".split()))
        kernel, stride = draw(st.sampled_from([1, 3, 5])), draw(st.sampled_from([1, 2]))
        if kind == "conv":
            layers.append(nn.Conv2d(channels, 8, kernel, stride, kernel // 2, groups=draw(st.sampled_from([1, 2, 4]))))
            channels = 8
        elif kind == "depthwise":
            layers.append(nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False))
        elif kind == "residual":
            layers.append(Residual(channels))
        elif kind == "concat":
            layers.append(Branches(channels))
            channels *= 2
            if channels > 64:
                layers.append(nn.Conv2d(channels, 4, 1))
                channels = 4
        elif kind == "squeeze":
            layers.append(Squeeze(channels))
        elif kind == "norm":
            layers += [
                nn.BatchNorm2d(channels),
                draw(st.sampled_from([nn.ReLU(True), nn.Hardswish(), nn.SiLU(), nn.GELU()])),
            ]
        elif kind == "pool":
            layers.append(nn.MaxPool2d(3, 1, 1))
        elif kind == "attention":
            layers.append(Attention(channels, draw(st.sampled_from([1, 2, 4]))))
        else:
            layers.append(nn.ConvTranspose2d(channels, channels, 4, 2, 1))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5)]
    return nn.Sequential(*layers), (3, *draw(st.sampled_from([(16, 16), (24, 16), (17, 31)])))


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.conv(x)


class Branches(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return torch.cat([self.conv(x), torch.sigmoid(x)], dim=1)


class Attention(nn.Module):
    """Every pixel looks at all, in heads, with a scaled product as networks write it by hand."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.inner = heads, nn.Linear(channels, 3 * channels)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        parts = self.inner(tokens).view(*tokens.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        mixed = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(-1) @ value
        return x + mixed.transpose(1, 2).reshape(tokens.shape).transpose(1, 2).view(x.shape)


@settings(max_examples=60, deadline=None)
@given(networks())
def test_random_networks_keep_the_invariants(example: tuple[nn.Module, tuple[int, int, int]]) -> None:
    net, shape = example
    graph = trace(net, shape)
    assert "OOV" not in names(graph)
    assert problems(graph) == []
    assert cost(graph).params == sum(p.numel() for p in net.parameters())
    assert cost(graph).macs == counted_macs(net, shape)
    linked = nx.DiGraph(list(map(tuple, graph.edges.T.tolist())))
    assert nx.is_directed_acyclic_graph(linked)
    source, sinks = 0, [i for i, name in enumerate(names(graph)) if name == "Output"]
    assert set(linked) == {source} | nx.descendants(linked, source) == set(range(len(graph)))
    assert set(linked) == set(sinks) | set.union(*(nx.ancestors(linked, sink) for sink in sinks))
    views = any(isinstance(layer, Attention) for layer in net)
    for a, b in graph.edges.T:
        if len(linked.in_edges(b)) == 1 and not views:
            assert graph.resolution[a, [1, 3, 5]].tolist() == graph.resolution[b, [0, 2, 4]].tolist()
    assert trace(net, shape) == graph
    assert np.array_equal(graph.resolution[0, [0, 2, 4]], [*shape[1:], shape[0]])


def test_writing_into_a_part_is_seen_in_the_whole() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 1, 1)

        def forward(self, x):
            y = self.one(x)
            y[:, :1] += self.two(x)
            y.view(-1).relu_()
            return y

    net = Writes()
    graph = trace(net, (3, 8, 8))
    assert names(graph) == ["Input", "Conv", "Slice", "Conv", "Add", "Where", "ReLU", "Output"]
    assert cost(graph).params == sum(p.numel() for p in net.parameters())

    class Fills(nn.Module):
        def forward(self, x):
            out = torch.zeros_like(x)
            out[:, :2] = torch.sigmoid(x[:, :2])
            return out

    assert names(trace(Fills(), (3, 8, 8))) == ["Input", "Slice", "Sigmoid", "Where", "Output"]


def test_stacked_tensors_are_concatenated_and_a_height_of_one_stays() -> None:
    class Stacks(nn.Module):
        def forward(self, x):
            return torch.stack([torch.relu(x), torch.sigmoid(x)])

    assert names(trace(Stacks(), (3, 8, 8)))[-2:] == ["Concat", "Output"]
    assert trace(nn.Conv2d(3, 4, 1), (3, 1, 6)).resolution[1].tolist() == [1, 1, 6, 6, 3, 4]


def test_whatever_a_module_raises_is_one_clear_line() -> None:
    class Asserts(nn.Module):
        def forward(self, x):
            assert x.shape[-1] == 224, "only 224"
            return x

    with pytest.raises(GraphError, match=r"Asserts cannot be traced .*: only 224; give the shape"):
        trace(Asserts(), (3, 8, 8))
