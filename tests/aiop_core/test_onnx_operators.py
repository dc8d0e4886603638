"""ONNX operators one by one, as each opset writes them; shapes as ONNX Runtime or ONNX's own evaluator gives them."""

import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, defs  # noqa: E402
from tests.aiop_core.onnx_files import IMAGE, f, i, names, node, run, save, volume  # noqa: E402

from aiop_core.errors import GraphError  # noqa: E402
from aiop_core.graph.cost import cost  # noqa: E402
from aiop_core.graph.onnx import fused, read_onnx, rules, sequences  # noqa: E402
from aiop_core.graph.ops import Op  # noqa: E402
from aiop_core.graph.recorder import UnknownOperationWarning  # noqa: E402

W = {"w": f(6, 4, 3, 3)}
NORM = {"s": f(4), "b": f(4), "m": f(4), "v": f(4)}
CASES = {
    # convolutions
    "conv asymmetric pads": (11, [node("Conv", "x", "w", pads=[0, 1, 2, 0], strides=[2, 1])], W, "Conv"),
    "conv dilated": (22, [node("Conv", "x", "w", dilations=[2, 3])], W, "Conv"),
    "conv SAME_UPPER": (11, [node("Conv", "x", "w", auto_pad="SAME_UPPER", strides=[2, 3])], W, "Conv"),
    "conv SAME_LOWER": (11, [node("Conv", "x", "w", auto_pad="SAME_LOWER", strides=[3, 2])], W, "Conv"),
    "conv VALID": (11, [node("Conv", "x", "w", auto_pad="VALID")], W, "Conv"),
    "conv depthwise": (11, [node("Conv", "x", "w", group=4)], {"w": f(8, 1, 3, 3)}, "Depthwise"),
    "conv transposed": (
        11,
        [node("ConvTranspose", "x", "w", strides=[2, 2], output_padding=[1, 0], pads=[1, 1, 0, 1])],
        {"w": f(4, 5, 3, 3)},
        "ConvTranspose",
    ),
    "conv transposed to a shape": (
        11,
        [node("ConvTranspose", "x", "w", strides=[2, 2], output_shape=[18, 20])],
        {"w": f(4, 5, 3, 3)},
        "ConvTranspose",
    ),
    # pooling
    "max pool ceil": (11, [node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1)], {}, "Maxpool"),
    "max pool dilated": (12, [node("MaxPool", "x", kernel_shape=[2, 2], dilations=[3, 2])], {}, "Maxpool"),
    "max pool of 8": (8, [node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])], {}, "Maxpool"),
    "average pool 7": (7, [node("AveragePool", "x", kernel_shape=[2, 2], pads=[1, 0, 1, 0])], {}, "Avgpool"),
    "average pool 19 ceil": (
        19,
        [node("AveragePool", "x", kernel_shape=[4, 4], strides=[4, 4], ceil_mode=1)],
        {},
        "Avgpool",
    ),
    "global average": (11, [node("GlobalAveragePool", "x")], {}, "Mean"),
    "mean 11": (11, [node("ReduceMean", "x", axes=[2, 3])], {}, "Mean"),
    "mean 18": (18, [node("ReduceMean", "x", "a", keepdims=0)], {"a": i(-1, -2)}, "Mean"),
    "mean of nothing 18": (18, [node("ReduceMean", "x", noop_with_empty_axes=1)], {}, ""),
    "mean of all": (13, [node("ReduceMean", "x", keepdims=0)], {}, "Mean"),
    "global max": (11, [node("GlobalMaxPool", "x")], {}, "Maxpool"),
    "sum 13": (13, [node("ReduceSum", "x", "a")], {"a": i(1)}, "Sum"),
    "sum 11": (11, [node("ReduceSum", "x", axes=[1], keepdims=0)], {}, "Sum"),
    "sum of squares": (13, [node("ReduceSumSquare", "x", axes=[1])], {}, "Pow Sum"),
    "l2 norm": (13, [node("LpNormalization", "x", axis=1)], {}, "Norm Div"),
    # normalisation
    "batch norm 7": (7, [node("BatchNormalization", "x", *NORM)], NORM, "BatchNorm"),
    "batch norm 9": (9, [node("BatchNormalization", "x", *NORM, epsilon=1e-3)], NORM, "BatchNorm"),
    "batch norm 14": (14, [node("BatchNormalization", "x", *NORM)], NORM, "BatchNorm"),
    "batch norm 15": (15, [node("BatchNormalization", "x", *NORM)], NORM, "BatchNorm"),
    "instance norm": (11, [node("InstanceNormalization", "x", "s", "b")], {k: NORM[k] for k in "sb"}, "GroupNorm"),
    "group norm 21": (
        21,
        [node("GroupNormalization", "x", "s", "b", num_groups=2)],
        {k: NORM[k] for k in "sb"},
        "GroupNorm",
    ),
    "layer norm": (17, [node("LayerNormalization", "x", "s", axis=-1)], {"s": f(10)}, "LayerNorm"),
    "rms norm": (23, [node("RMSNormalization", "x", "s", axis=-1)], {"s": f(10)}, "LayerNorm"),
    "local response": (13, [node("LRN", "x", size=3)], {}, "Norm"),
    # sizes
    "upsample 7": (7, [node("Upsample", "x", scales=[1.0, 1.0, 2.0, 3.0])], {}, "Resize"),
    "upsample 9": (9, [node("Upsample", "x", "s")], {"s": np.array([1, 1, 2, 2], np.float32)}, "Resize"),
    "resize 10": (10, [node("Resize", "x", "s")], {"s": np.array([1, 1, 0.5, 2], np.float32)}, "Resize"),
    "resize 11 sizes": (
        11,
        [node("Resize", "x", "roi", "none", "to", mode="linear")],
        {"roi": np.zeros(0, np.float32), "none": np.zeros(0, np.float32), "to": i(1, 4, 13, 7)},
        "Resize",
    ),
    "resize 13 scales": (
        13,
        [node("Resize", "x", "", "s", mode="nearest")],
        {"s": np.array([1, 1, 1.5, 2], np.float32)},
        "Resize",
    ),
    "resize 18 axes": (18, [node("Resize", "x", "", "", "to", axes=[2, 3])], {"to": i(4, 5)}, "Resize"),
    "pad 7": (7, [node("Pad", "x", pads=[0, 0, 1, 2, 0, 0, 3, 4])], {}, "Paddings"),
    "pad 11": (11, [node("Pad", "x", "p")], {"p": i(0, 0, 1, 0, 0, 0, 1, 0)}, "Paddings"),
    "pad 18 axes": (18, [node("Pad", "x", "p", "", "a")], {"p": i(1, 1, 2, 2), "a": i(2, 3)}, "Paddings"),
    "pad of nothing": (13, [node("Pad", "x", "p")], {"p": i(*[0] * 8)}, ""),
    "pad that crops": (13, [node("Pad", "x", "p")], {"p": i(0, 0, -1, 0, 0, 0, -2, 0)}, "Slice"),
    "space to depth": (
        13,
        [node("Slice", "x", "s", "e", "a", outputs="b"), node("SpaceToDepth", "b", blocksize=2)],
        {"s": i(1), "e": i(9), "a": i(2)},
        "Slice SpacetoDepthND",
    ),
    "depth to space": (13, [node("DepthToSpace", "x", blocksize=2)], {}, "DepthtoSpaceND"),
    # views
    "squeeze 11": (11, [node("ReduceMax", "x", outputs="a", axes=[2]), node("Squeeze", "a", axes=[2])], {}, "Max"),
    "squeeze 13": (13, [node("ReduceMax", "x", outputs="a", axes=[2]), node("Squeeze", "a", "d")], {"d": i(-2)}, "Max"),
    "squeeze all": (13, [node("ReduceMax", "x", outputs="a", axes=[2]), node("Squeeze", "a")], {}, "Max"),
    "unsqueeze 11": (11, [node("Unsqueeze", "x", axes=[0, 5])], {}, ""),
    "unsqueeze 13": (13, [node("Unsqueeze", "x", "d")], {"d": i(2)}, ""),
    "split 2 to 11": (11, [node("Split", "x", outputs="ay", axis=1, split=[1, 3])], {}, "Slice"),
    "split 13": (13, [node("Split", "x", "n", outputs="ay", axis=1)], {"n": i(3, 1)}, "Slice"),
    "split 18": (18, [node("Split", "x", outputs="aby", axis=3, num_outputs=3)], {}, "Slice"),
    "slice 1 style": (9, [node("Slice", "x", starts=[1, 0], ends=[3, 2**31 - 1], axes=[1, 2])], {}, "Slice"),
    "slice 10": (
        10,
        [node("Slice", "x", "s", "e", "a", "t")],
        {"s": i(8), "e": i(0), "a": i(2), "t": i(-2)},
        "Slice",
    ),
    "gather one": (13, [node("Gather", "x", "n", axis=2)], {"n": np.array(-1)}, "Slice"),
    "gather all": (13, [node("Gather", "x", "n", axis=1)], {"n": i(3, 2, 1, 0)}, ""),
    "gather many": (13, [node("Gather", "x", "n", axis=1)], {"n": i(3, 2, 1, 0, 1)}, "Tile"),
    "flatten": (11, [node("Flatten", "x", axis=2)], {}, ""),
    "reshape 5": (11, [node("Reshape", "x", "to")], {"to": i(0, -1, 2)}, ""),
    "transpose": (11, [node("Transpose", "x", perm=[0, 2, 3, 1])], {}, ""),
    "transpose all": (11, [node("Transpose", "x")], {}, ""),
    "expand": (11, [node("Expand", "x", "to")], {"to": i(2, 1, 4, 9, 10)}, "Tile"),
    "tile": (11, [node("Tile", "x", "n")], {"n": i(1, 2, 1, 1)}, "Tile"),
    "dropout 7": (7, [node("Dropout", "x", ratio=0.3)], {}, ""),
    "dropout 12": (12, [node("Dropout", "x", "r", outputs=("y", "mask"))], {"r": np.float32(0.5)}, ""),
    "cast": (13, [node("Cast", "x", to=TensorProto.FLOAT16)], {}, ""),
    "center crop": (18, [node("CenterCropPad", "x", "to", axes=[2, 3])], {"to": i(5, 6)}, "Slice"),
    "trilu": (14, [node("Trilu", "x")], {}, ""),
    "scatter": (
        16,
        [node("ScatterND", "x", "at", "new")],
        {"at": np.array([[0, 1]]), "new": f(1, 9, 10)},
        "Where",
    ),
    # arithmetic
    "add of a parameter": (13, [node("Add", "x", "w")], {"w": f(4, 1, 1)}, "Add"),
    "add of a number": (13, [node("Add", "x", "w")], {"w": np.float32(3)}, ""),
    "sum of many": (13, [node("Sum", "x", "w", "x")], {"w": f(10)}, "Add Add"),
    "clip 6 of six": (7, [node("Clip", "x", min=0.0, max=6.0)], {}, "ReLU6"),
    "clip 11 of six": (11, [node("Clip", "x", "l", "h")], {"l": np.float32(0), "h": np.float32(6)}, "ReLU6"),
    "clip 13 from below": (13, [node("Clip", "x", "l")], {"l": np.float32(0)}, "ReLU"),
    "clip 13 far above": (
        13,
        [node("Clip", "x", "l", "h")],
        {"l": np.float32(0), "h": np.float32(3.4028235e38)},
        "ReLU",
    ),
    "clip from above": (13, [node("Clip", "x", "", "h")], {"h": np.float32(1)}, ""),
    "square root": (13, [node("Abs", "x", outputs="a"), node("Pow", "a", "p")], {"p": np.float32(0.5)}, "Abs Sqrt"),
    "square": (13, [node("Pow", "x", "p")], {"p": np.float32(2)}, "Pow"),
    "negative": (13, [node("Neg", "x")], {}, ""),
    "prelu": (16, [node("PRelu", "x", "w")], {"w": f(4, 1, 1)}, "PReLU"),
    "hard swish 14": (14, [node("HardSwish", "x")], {}, "ReLU6 Mul"),
    "hard sigmoid": (11, [node("HardSigmoid", "x", alpha=0.2)], {}, "ReLU6"),
    "mish": (18, [node("Mish", "x")], {}, "Softplus Tanh Mul"),
    "gelu": (20, [node("Gelu", "x")], {}, "GeLU"),
    "swish 24": (24, [node("Swish", "x")], {}, "Swish"),
    "x sigmoid x": (13, [node("Sigmoid", "x", outputs="a"), node("Mul", "a", "x")], {}, "Swish"),
    "softsign": (13, [node("Softsign", "x")], {}, "Abs Div"),
    "softmax 11": (11, [node("Softmax", "x", axis=1)], {}, "Softmax"),
    "top": (11, [node("TopK", "x", "k", outputs="ya")], {"k": i(3)}, "TopK"),
    "arg max": (13, [node("ArgMax", "x", axis=1, keepdims=0)], {}, "ArgMax"),
    "where": (16, [node("Where", "c", "x", "w")], {"c": np.array(True), "w": f(4, 1, 1)}, "Where"),
    "cumulative": (14, [node("CumSum", "x", "a")], {"a": np.array(1)}, "Cumsum"),
    # products
    "product": (13, [node("MatMul", "x", "w")], {"w": f(10, 7)}, "MatMul"),
    "product from the left": (13, [node("MatMul", "w", "x")], {"w": f(7, 9)}, "MatMul"),
    "product and bias": (
        13,
        [node("MatMul", "x", "w", outputs="a"), node("Add", "b", "a")],
        {"w": f(10, 7), "b": f(7)},
        "MatMul",
    ),
    "gemm": (
        11,
        [node("Flatten", "x", outputs="a"), node("Gemm", "a", "w", "b", transB=1)],
        {"w": f(5, 360), "b": f(5)},
        "MatMul",
    ),
    "gemm 13 without bias": (
        13,
        [node("Flatten", "x", outputs="a"), node("Gemm", "a", "w")],
        {"w": f(360, 5)},
        "MatMul",
    ),
    "einsum of two": (12, [node("Einsum", "x", "w", equation="bchw,dc->bdhw")], {"w": f(6, 4)}, "MatMul"),
    "einsum of one": (12, [node("Einsum", "x", equation="bchw->bhwc")], {}, "MatMul"),
    "attention 23": (
        23,
        [
            node("Reshape", "x", "to", outputs="q"),
            node("Attention", "q", "q", "q", q_num_heads=2, kv_num_heads=2),
        ],
        {"to": i(1, 36, 10)},
        "MatMul Softmax MatMul",
    ),
    "attention 23 of four axes": (23, [node("Attention", "x", "x", "x")], {}, "MatMul Softmax MatMul"),
    # quantised and recurrent
    "quantised and back": (
        13,
        [node("QuantizeLinear", "x", "s", "z", outputs="q"), node("DequantizeLinear", "q", "s", "z")],
        {"s": np.float32(0.1), "z": np.uint8(7)},
        "",
    ),
    "lstm": (
        14,
        [
            node("Reshape", "x", "to", outputs="t"),
            node("LSTM", "t", "w", "r", "b", outputs=("", "y"), hidden_size=5),
        ],
        {"to": i(36, 1, 10), "w": f(1, 20, 10), "r": f(1, 20, 5), "b": f(1, 40)},
        "Recurrent Slice",
    ),
    "gru": (
        14,
        [node("Reshape", "x", "to", outputs="t"), node("GRU", "t", "w", "r", hidden_size=5)],
        {"to": i(36, 1, 10), "w": f(1, 15, 10), "r": f(1, 15, 5)},
        "Recurrent",
    ),
    "roi align": (
        16,
        [node("RoiAlign", "x", "boxes", "n", output_height=3, output_width=2)],
        {"boxes": f(5, 4), "n": i(0, 0, 0, 0, 0)},
        "RoIAlign",
    ),
    "grid sample": (16, [node("GridSample", "x", "g")], {"g": f(1, 5, 6, 2)}, "GridSample"),
    "rotated": (
        23,
        [node("RotaryEmbedding", "x", "c", "s", "p")],
        {"c": f(9, 5), "s": f(9, 5), "p": np.arange(9)[None]},
        "",
    ),
    "gated": (28, [node("SwiGLU", "x", "x")], {}, "Swish Mul"),
    "lists": (
        13,
        [
            node("SplitToSequence", "x", "n", outputs="s", axis=1),
            node("SequenceAt", "s", "one", outputs="a"),
            node("SequenceInsert", "s", "a", outputs="t"),
            node("ConcatFromSequence", "t", axis=1),
        ],
        {"n": np.array(2), "one": np.array(1)},
        "Slice Slice Concat",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_operator(case, tmp_path) -> None:
    opset, nodes, constants, expected = CASES[case]
    model = save(tmp_path / "net.onnx", nodes, constants, opset)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = read_onnx(tmp_path / "net.onnx")
    assert names(graph) == expected
    assert volume(graph) == run(model, IMAGE).size


def test_parameters_are_those_that_are_learnt(tmp_path) -> None:
    nodes = [
        node("Conv", "x", "w", "c", outputs="a"),
        node("BatchNormalization", "a", "s", "b", "m", "v", outputs="n"),
        node("PRelu", "n", "p"),
    ]
    constants = {**W, "c": f(6), **dict.fromkeys("sbmv", f(6)), "p": f(6, 1, 1)}
    save(tmp_path / "net.onnx", nodes, constants, 15)
    assert cost(read_onnx(tmp_path / "net.onnx")).params == W["w"].size + 6 + 12 + 6


def test_a_bias_made_of_the_shape_of_weights_is_none(tmp_path) -> None:
    nodes = [
        node("Shape", "w", outputs="n", end=1),
        node("CastLike", "zero", "w", outputs="o"),
        node("Expand", "o", "n", outputs="b"),
        node("Conv", "x", "w", "b"),
    ]
    save(tmp_path / "net.onnx", nodes, {**W, "zero": np.array(0)}, 15)
    graph = read_onnx(tmp_path / "net.onnx")
    assert (graph.bias[1], graph.params[1]) == (False, 6 * 4 * 9)


LEFT_OUT = """
    AffineGrid CausalConvWithState Det If ImageDecoder LinearAttention Loop MaxUnpool NegativeLogLikelihoodLoss Optional
    OptionalHasElement RegexFullMatch Scan SequenceMap Shrink SoftmaxCrossEntropyLoss StringConcat StringNormalizer
    StringSplit TfIdfVectorizer Unique
""".split()
"""Operators that become OOV: loops, text, losses, and what no vision network that we know of has."""

CONSTANT = "Constant RandomNormal RandomUniform BlackmanWindow HammingWindow HannWindow MelWeightMatrix".split()
"""Operators that read no tensors of the network."""


def test_every_operator_of_onnx_is_decided() -> None:
    known = {s.name for s in defs.get_all_schemas() if s.domain == ""}
    decided = {*rules.RULES, *fused.PLAIN, *sequences.OPERATORS, *CONSTANT}
    assert known - decided == set(LEFT_OUT)
    assert {name for name in rules.RULES if "::" not in name} - known == set()


def test_unknown_operator_is_named_with_its_node_and_how_to_add_it(tmp_path) -> None:
    save(tmp_path / "net.onnx", [node("Shrink", "x", name="odd")], {}, 13)
    with pytest.warns(
        UnknownOperationWarning,
        match=r"node 'odd' \(Shrink\): the operation Shrink is not .*register a rule 'onnx:Shrink'",
    ):
        graph = read_onnx(tmp_path / "net.onnx")
    assert names(graph) == "OOV"


def test_rules_of_others_win(tmp_path) -> None:
    def odd(recorder, call):
        return recorder.emit(Op.Sin, call.values, call.shapes[0])

    save(tmp_path / "net.onnx", [node("Relu", "x")], {}, 13)
    assert names(read_onnx(tmp_path / "net.onnx", rules={"Relu": odd})) == "Sin"


def custom(path, *outputs):
    """A file of an operation that ONNX does not know and whose shapes it does not declare."""
    wave = node("Wave", "x", outputs=outputs or ("w",), domain="their.own", name="odd")
    save(path, [wave, node("Relu", "w")], {}, 13, domains=["their.own"])
    return path


def halved(recorder, call):
    """The shape is known to the rule alone."""
    return recorder.emit(Op.Sin, call.values, (1, 4, 9, 5))


@pytest.mark.parametrize("name", ["their.own::Wave", "onnx::their.own::Wave"])
def test_a_rule_gives_the_shape_that_a_file_does_not_declare(name, tmp_path) -> None:
    graph = read_onnx(custom(tmp_path / "net.onnx"), rules={name: halved})
    assert (names(graph), volume(graph)) == ("Sin ReLU", 4 * 9 * 5)


def test_a_declared_shape_is_given_to_the_rule(tmp_path) -> None:
    path = custom(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("w", TensorProto.FLOAT, (1, 4, 3, 2)))
    path.write_bytes(model.SerializeToString())
    graph = read_onnx(path, rules={"their.own::Wave": lambda r, c: r.emit(Op.Sin, c.values, c.shapes[0])})
    assert (names(graph), volume(graph)) == ("Sin ReLU", 24)
    with pytest.warns(UnknownOperationWarning, match="register a rule 'onnx:their.own::Wave'"):
        read_onnx(path)


def test_without_a_rule_a_shape_that_is_not_declared_asks_for_one(tmp_path) -> None:
    with pytest.raises(
        GraphError,
        match=r"node 'odd' \(Wave\): the file does not declare the shape of 'w'; register a rule "
        r"'onnx:their.own::Wave' through the hook aiop_register_operations, which gives it",
    ):
        read_onnx(custom(tmp_path / "net.onnx"))


def test_a_rule_that_does_not_give_the_shapes(tmp_path) -> None:
    undeclared = "does not declare its shape, so the rule that is registered for it must give that"
    with pytest.raises(GraphError, match=rf"{undeclared}, but fails: list index out of range"):
        read_onnx(custom(tmp_path / "net.onnx"), rules={"their.own::Wave": lambda _, call: call.shapes[0]})
    with pytest.raises(GraphError, match=rf"{undeclared} of all 2 results, but gives 1"):
        read_onnx(custom(tmp_path / "net.onnx", "v", "w"), rules={"their.own::Wave": halved})
