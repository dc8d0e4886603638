"""A tensor times the number 0 is ``Zero``, for torch as for ONNX."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from aiop_core.graph.onnx import read_onnx
from aiop_core.graph.ops import Op
from aiop_core.graph.trace import trace

FACTORS = pytest.mark.parametrize(("factor", "zeros"), [(0, 1), (0.0, 1), (0.5, 0), (1, 0)])


class Times(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return torch.relu(x) * self.factor


@FACTORS
def test_in_torch(factor, zeros):
    assert list(trace(Times(factor), (3, 8, 8)).op).count(Op.Zero) == zeros


@FACTORS
@pytest.mark.parametrize("first", [True, False])
def test_in_onnx(tmp_path, factor, zeros, first):
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Mul", ["f", "r"] if first else ["r", "f"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 8, 8)) for name in "xy")
    graph = helper.make_graph(nodes, "net", [x], [y], [numpy_helper.from_array(np.float32([factor]), "f")])
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    read = read_onnx(path)
    assert list(read.op).count(Op.Zero) == zeros
    assert read.fingerprint == trace(Times(factor), (3, 8, 8)).fingerprint


def test_a_network_of_zeros_is_exported_with_them(family, tmp_path):
    nb201 = family("nb201")
    architecture = nb201.parse("3_00_03s")
    network, path = nb201.network(architecture).eval(), tmp_path / "net.onnx"
    torch.onnx.export(network, (torch.zeros(1, 3, 32, 32),), path, dynamo=False)
    assert list(read_onnx(path).op).count(Op.Zero) == list(nb201.graph(architecture, (32, 32)).op).count(Op.Zero) == 15
