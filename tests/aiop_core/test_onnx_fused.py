"""Fused and quantised operators, as ONNX Runtime and its quantiser write them."""

import numpy as np
import pytest

pytest.importorskip("onnx")
from onnx import TensorProto
from tests.aiop_core.onnx_files import IMAGE, f, i, names, node, run, save, volume

from aiop_core.graph.cost import cost
from aiop_core.graph.onnx import fused, read_onnx

W = {"w": f(6, 4, 3, 3)}
RUNTIME = {
    "FusedConv": (
        [node("FusedConv", "x", "w", "b", domain=fused.RUNTIME, activation="Relu")],
        {**W, "b": f(6)},
        "Conv ReLU",
    ),
    "FusedConv with a sum": (
        [
            node("Conv", "x", "w", outputs="a"),
            node("FusedConv", "x", "w", "b", "a", domain=fused.RUNTIME, activation="Relu"),
        ],
        {**W, "b": f(6)},
        "Conv Conv Add ReLU",
    ),
    "MatMulInteger": (
        [
            node("DynamicQuantizeLinear", "x", outputs="qst"),
            node("MatMulInteger", "q", "w", "t", outputs="i"),
            node("Cast", "i", outputs="c", to=TensorProto.FLOAT),
            node("Mul", "c", "s"),
        ],
        {"w": np.ones((10, 7), np.uint8)},
        "MatMul",
    ),
    "FusedConv without activation": ([node("FusedConv", "x", "w", domain=fused.RUNTIME)], W, "Conv"),
    "FusedGemm": (
        [
            node("Flatten", "x", outputs="a"),
            node("FusedGemm", "a", "w", "b", domain=fused.RUNTIME, activation="Sigmoid", transB=1),
        ],
        {"w": f(5, 360), "b": f(5)},
        "MatMul Sigmoid",
    ),
    "FusedMatMul": ([node("FusedMatMul", "x", "w", domain=fused.RUNTIME, transB=1)], {"w": f(7, 10)}, "MatMul"),
    "Gelu": ([node("Gelu", "x", domain=fused.RUNTIME)], {}, "GeLU"),
    "FastGelu": ([node("FastGelu", "x", "b", domain=fused.RUNTIME)], {"b": f(10)}, "Add GeLU"),
    "BiasGelu": ([node("BiasGelu", "x", "b", domain=fused.RUNTIME)], {"b": f(10)}, "Add GeLU"),
    "QuickGelu": ([node("QuickGelu", "x", domain=fused.RUNTIME)], {}, "Swish"),
    "SkipLayerNormalization": (
        [
            node("Reshape", "x", "to", outputs="a"),
            node("SkipLayerNormalization", "a", "a", "s", "b", "c", domain=fused.RUNTIME),
        ],
        {"to": i(1, 36, 10), "s": f(10), "b": f(10), "c": f(10)},
        "Add Add LayerNorm",
    ),
    "SkipSimplifiedLayerNormalization": (
        [
            node("Reshape", "x", "to", outputs="a"),
            node("SkipSimplifiedLayerNormalization", "a", "a", "s", domain=fused.RUNTIME),
        ],
        {"to": i(1, 36, 10), "s": f(10)},
        "Add LayerNorm",
    ),
    "QLinearConcat": (
        [
            node("QuantizeLinear", "x", "s", "z", outputs="q"),
            node("QLinearConcat", "s", "z", "q", "s", "z", "q", "s", "z", outputs="c", domain=fused.RUNTIME, axis=1),
            node("DequantizeLinear", "c", "s", "z"),
        ],
        {"s": np.float32(0.1), "z": np.uint8(7)},
        "Concat",
    ),
    "QLinearConv": (
        [
            node("QuantizeLinear", "x", "s", "z", outputs="q"),
            node("QLinearConv", "q", "s", "z", "w", "s", "z", "s", "z", "b", outputs="c"),
            node("DequantizeLinear", "c", "s", "z"),
        ],
        {"s": np.float32(0.1), "z": np.uint8(7), "w": np.ones((6, 4, 3, 3), np.uint8), "b": np.ones(6, np.int32)},
        "Conv",
    ),
}


@pytest.mark.parametrize("case", RUNTIME)
def test_operators_of_onnx_runtime(case, tmp_path) -> None:
    nodes, constants, expected = RUNTIME[case]
    model = save(tmp_path / "net.onnx", nodes, constants, 17, domains=[fused.RUNTIME])
    graph = read_onnx(tmp_path / "net.onnx")
    assert names(graph) == expected
    assert volume(graph) == run(model, IMAGE).size


def test_quantised_weights_are_parameters(tmp_path) -> None:
    nodes = [node("DequantizeLinear", "w", "s", "z", outputs="d", axis=0), node("Conv", "x", "d")]
    constants = {"w": np.ones((6, 4, 3, 3), np.int8), "s": f(6), "z": np.zeros(6, np.int8)}
    save(tmp_path / "net.onnx", nodes, constants, 13)
    assert cost(read_onnx(tmp_path / "net.onnx")).params == 6 * 4 * 9
