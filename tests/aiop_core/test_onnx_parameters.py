"""Which constants of ONNX files are parameters."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from tests.aiop_core.onnx_files import f, names, node, save  # noqa: E402
from tests.aiop_core.test_onnx_torch import exported, trained  # noqa: E402

from aiop_core.graph.cost import cost  # noqa: E402
from aiop_core.graph.onnx import read_onnx  # noqa: E402
from aiop_core.graph.ops import Op  # noqa: E402


class Then(nn.Module):
    """A linear layer, and what comes after it."""

    def __init__(self, after, width: int = 8) -> None:
        super().__init__()
        self.layer, self.after = nn.Linear(8, width), after
        self.register_buffer("places", torch.rand(width))

    def forward(self, x):
        return self.after(self, self.layer(x))


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def conv(*after: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), *after)


IMAGE = (3, 8, 8)
NETWORKS = {
    "layer norm without scale": (lambda: Then(lambda self, y: F.layer_norm(y, [8])), (8,)),
    "layer norm of rows": (lambda: Then(lambda self, y: F.layer_norm(y, [8])), (4, 8)),  # weights are transposed
    "instance norm without scale": (lambda: conv(nn.InstanceNorm2d(8)), IMAGE),
    "group norm": (lambda: conv(nn.GroupNorm(2, 8)), IMAGE),
    "group norm without scale": (lambda: conv(nn.GroupNorm(2, 8, affine=False)), IMAGE),
    "arithmetic with a buffer": (lambda: Then(lambda self, y: y + self.places * 2, 256), (8,)),
    "arithmetic with a range": (lambda: Then(lambda self, y: y * torch.linspace(0, 1, 8)), (8,)),
    "uneven pooling": (lambda: conv(nn.AdaptiveAvgPool2d(3)), IMAGE),
    "batch norm folded into weights": (lambda: conv(nn.BatchNorm2d(8, affine=False)), IMAGE),
    "one slope": (lambda: conv(nn.PReLU()), IMAGE),
    "a slope for each channel": (lambda: conv(nn.PReLU(8)), IMAGE),
    "a slope that is a number": (lambda: Then(lambda self, y: F.prelu(y, torch.tensor([0.2]))), (8,)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_new_exporter_of_torch_says_what_was_learnt(name, tmp_path) -> None:
    make, shape = NETWORKS[name]
    net = trained(make())
    assert cost(read_onnx(exported(net, shape, tmp_path, dynamo=True, opset=18))).params == count(net)


def test_parameters_that_an_exporter_computed_with_are_counted(tmp_path) -> None:
    """Their initializers have other names and shapes."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)
            self.scale, self.place = nn.Parameter(torch.rand(8)), nn.Parameter(torch.rand(8, 4))

        def forward(self, x):
            return self.layer(x) * torch.exp(self.scale)[None] + self.place.transpose(0, 1)

    net = trained(Scaled())
    graph = read_onnx(exported(net, (4, 8), tmp_path, dynamo=True, opset=18))
    assert (names(graph), cost(graph).params) == ("MatMul Mul Add", count(net))


@pytest.mark.parametrize("shape", [(1,), (1, 1, 1)])
def test_one_slope_is_a_parameter(shape, tmp_path) -> None:
    save(tmp_path / "net.onnx", [node("PRelu", "x", "w")], {"w": f(*shape)}, 16)
    assert cost(read_onnx(tmp_path / "net.onnx")).params == 1


def test_one_slope_in_a_file_of_the_old_exporter(tmp_path) -> None:
    net = trained(conv(nn.PReLU()))
    assert cost(read_onnx(exported(net, IMAGE, tmp_path))).params == 33


@pytest.mark.parametrize(("producer", "expected"), [("pytorch", 8), ("their.own", 4)])
def test_identity_of_a_parameter_is_another_one_only_in_files_of_torch(producer, expected, tmp_path) -> None:
    nodes = [
        node("Identity", "w", outputs="v"),
        node("Mul", "x", "w", outputs="a"),
        node("Add", "a", "v"),
    ]
    model = save(tmp_path / "net.onnx", nodes, {"w": f(4, 1, 1)}, 13)
    model.producer_name = producer
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    assert cost(read_onnx(tmp_path / "net.onnx")).params == expected


class Assigned(nn.Module):
    """Writes into a part of what it computed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        y = self.conv(x).clone()
        y[:, 0] = x[:, 1]
        return y.relu()


@pytest.mark.parametrize("dynamo", [False, True])
def test_assignment_to_a_part_chooses(dynamo, tmp_path) -> None:
    graph = read_onnx(exported(trained(Assigned()), IMAGE, tmp_path, dynamo=dynamo, opset=18))
    assert names(graph) == "Conv Slice Where ReLU"


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Div", "one", "x")], {"one": np.float32(1)}),
        ([node("Div", "two", "x")], {"two": np.array([2], np.float32)}),
        ([node("Reciprocal", "x")], {}),
        ([node("Pow", "x", "p")], {"p": np.float32(-1)}),
    ],
    ids=["one over", "two over", "reciprocal", "power"],
)
def test_reciprocals_are_quotients(nodes, constants, tmp_path) -> None:
    save(tmp_path / "net.onnx", nodes, constants, 13)
    graph = read_onnx(tmp_path / "net.onnx")
    assert (names(graph), cost(graph).params) == (Op.Div.name, 0)
