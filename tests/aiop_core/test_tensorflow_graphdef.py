"""Frozen graphs made by hand from their messages; no TensorFlow."""

import subprocess
import sys

import numpy as np
import pytest

from aiop_core.errors import GraphError
from aiop_core.graph.ops import Op
from aiop_core.graph.recorder import UnknownOperationWarning
from aiop_core.graph.tensorflow import read_graphdef

pb = pytest.importorskip("tensorboard.compat.proto.graph_pb2")
FLOAT, INT32, BOOL = 1, 3, 10


class Maker:
    """A GraphDef, node by node."""

    def __init__(self, shape=(None, 8, 8, 3), name="x"):
        self.graph = pb.GraphDef()
        if shape is not None:
            self.placeholder(name, shape)

    def placeholder(self, name, shape):
        node = self.graph.node.add(name=name, op="Placeholder")
        for size in shape:
            node.attr["shape"].shape.dim.add(size=-1 if size is None else size)
        return name

    def const(self, name, shape, values=None, dtype=None):
        """By default one zero that stands for all, as compressed files have it."""
        dtype = dtype or (FLOAT if values is None else INT32)
        tensor = self.graph.node.add(name=name, op="Const").attr["value"].tensor
        tensor.dtype = dtype
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        if values is None:
            tensor.float_val.append(0)
        else:
            kind = {FLOAT: np.float32, INT32: np.int32, BOOL: np.bool_}[dtype]
            tensor.tensor_content = np.array(values, dtype=kind).tobytes()
        return name

    def op(self, op, name, *inputs, into=None, **attrs):
        node = (self.graph.node if into is None else into).add(name=name, op=op, input=list(inputs))
        for key, value in attrs.items():
            attr = node.attr[key]
            if isinstance(value, bool):
                attr.b = value
            elif isinstance(value, int):
                attr.i = value
            elif isinstance(value, str):
                attr.s = value.encode()
            else:
                attr.list.i.extend(value)
        return name

    def conv(self, name, x, inner, outer, kernel=3, *, op="Conv2D", stride=1, layout="NHWC", padding="SAME", **attrs):
        self.const(f"{name}/kernel", (kernel, kernel, inner, outer))
        strides = (1, 1, stride, stride) if layout == "NCHW" else (1, stride, stride, 1)
        return self.op(op, name, x, f"{name}/kernel", strides=strides, padding=padding, data_format=layout, **attrs)

    def save(self, folder):
        path = folder / "network.pb"
        path.write_bytes(self.graph.SerializeToString())
        return path


def names(graph):
    return [Op(int(op)).name for op in graph.op]


def node(graph, op):
    (found,) = np.flatnonzero(graph.op == op)
    return found


def test_a_convolution_is_a_node_with_its_kernel_stride_and_bias(tmp_path):
    make = Maker()
    make.conv("conv", "x", 3, 16, stride=2)
    make.const("b", (16,))
    make.op("BiasAdd", "biased", "conv", "b")
    make.op("Relu", "relu", "biased")
    graph = read_graphdef(make.save(tmp_path))
    assert names(graph) == ["Input", "Conv", "ReLU", "Output"]
    assert graph.resolution[1].tolist() == [8, 4, 8, 4, 3, 16]
    assert (graph.kernel[1].tolist(), graph.stride[1].tolist(), graph.bias[1]) == ([3, 3], [2, 2], True)
    assert graph.params[1] == 3 * 3 * 3 * 16 + 16


def test_nodes_in_any_order_and_control_inputs_make_no_difference(tmp_path):
    make = Maker()
    make.conv("a", "x", 3, 8)
    make.conv("b", "a", 8, 8)
    make.op("AddV2", "sum", "b", "a:0", "^a/kernel")
    straight = read_graphdef(make.save(tmp_path))
    nodes = list(make.graph.node)
    del make.graph.node[:]
    make.graph.node.extend(reversed(nodes))
    assert read_graphdef(make.save(tmp_path)).fingerprint == straight.fingerprint
    assert straight.edges.shape[1] == 5


def test_channels_first_gives_the_same_graph_as_channels_last(tmp_path):
    graphs = []
    for layout, shape in (("NHWC", (1, 8, 8, 3)), ("NCHW", (1, 3, 8, 8))):
        make = Maker(shape)
        make.conv("conv", "x", 3, 16, layout=layout, stride=2)
        for name in ("gamma", "beta", "mean", "variance"):
            make.const(name, (16,))
        make.op("FusedBatchNormV3", "bn", "conv", "gamma", "beta", "mean", "variance", data_format=layout)
        ones = (1, 1, 2, 2) if layout == "NCHW" else (1, 2, 2, 1)
        make.op("MaxPool", "pool", "bn", ksize=ones, strides=ones, padding="VALID", data_format=layout)
        make.const("axes", (2,), [2, 3] if layout == "NCHW" else [1, 2])
        make.op("Mean", "mean_hw", "pool", "axes")
        make.const("dense", (16, 10))
        make.op("MatMul", "logits", "mean_hw", "dense")
        graphs.append(read_graphdef(make.save(tmp_path)))
    assert names(graphs[0]) == ["Input", "Conv", "BatchNorm", "Maxpool", "Mean", "MatMul", "Output"]
    assert graphs[0] == graphs[1]


def test_a_second_result_is_read_from_its_own_node(tmp_path):
    make = Maker((1, 8, 8, 4))
    make.const("axis", (), [3])
    make.op("Split", "halves", "axis", "x", num_split=2)
    make.op("Relu", "left", "halves")
    make.op("Sigmoid", "right", "halves:1")
    graph = read_graphdef(make.save(tmp_path))
    assert sorted(names(graph)) == sorted(["Input", "Slice", "Slice", "ReLU", "Sigmoid", "Output", "Output"])
    assert graph.resolution[node(graph, Op.Sigmoid)].tolist() == [8, 8, 8, 8, 2, 2]


def test_a_depthwise_convolution_with_a_multiplier(tmp_path):
    make = Maker((1, 8, 8, 4))
    make.conv("dw", "x", 4, 2, op="DepthwiseConv2dNative")
    graph = read_graphdef(make.save(tmp_path))
    assert names(graph) == ["Input", "Depthwise", "Output"]
    assert (graph.resolution[1, 4:].tolist(), graph.groups[1], graph.params[1]) == ([4, 8], 4, 72)


def unfused_batch_norm(make, x, channels):
    """x · γ/√(σ² + ε) + (β - μ · γ/√(σ² + ε)), as ``tf.nn.batch_normalization`` writes it."""
    for name in ("gamma", "beta", "mean", "variance"):
        make.const(f"bn/{name}", (channels,))
    make.const("bn/epsilon", (), [1e-3], FLOAT)
    make.op("AddV2", "bn/add", "bn/variance", "bn/epsilon")
    make.op("Rsqrt", "bn/Rsqrt", "bn/add")
    make.op("Mul", "bn/mul", "bn/Rsqrt", "bn/gamma")
    make.op("Mul", "bn/mul_1", x, "bn/mul")
    make.op("Mul", "bn/mul_2", "bn/mean", "bn/mul")
    make.op("Sub", "bn/sub", "bn/beta", "bn/mul_2")
    return make.op("AddV2", "bn/add_1", "bn/mul_1", "bn/sub")


def test_batch_normalisation_spelt_out_is_one_node_of_two_vectors(tmp_path):
    make = Maker()
    unfused_batch_norm(make, make.conv("conv", "x", 3, 16), 16)
    graph = read_graphdef(make.save(tmp_path))
    assert names(graph) == ["Input", "Conv", "BatchNorm", "Output"]
    assert graph.params.tolist() == [0, 432, 32, 0]


def test_folded_batch_normalisation_is_a_bias(tmp_path):
    make = Maker()
    make.conv("conv", "x", 3, 16)
    make.const("shift", (16,))
    make.op("AddV2", "add", "conv", "shift")
    graph = read_graphdef(make.save(tmp_path))
    assert names(graph) == ["Input", "Conv", "Output"]
    assert graph.bias[1]


def atrous(make, x, rate):
    pads = [[rate, rate], [rate, rate]]
    for name, values in (("block", [rate, rate]), ("pads", pads), ("crops", [[0, 0], [0, 0]])):
        make.const(name, np.shape(values), values)
    make.op("SpaceToBatchND", "spread", x, "block", "pads")
    make.conv("conv", "spread", 3, 16, padding="VALID")
    make.op("BatchToSpaceND", "gathered", "conv", "block", "crops")
    make.const("b", (16,))
    return make.op("BiasAdd", "biased", "gathered", "b")


def test_an_atrous_pair_is_the_dilated_convolution(tmp_path):
    pair, dilated = Maker(), Maker()
    atrous(pair, "x", 2)
    dilated.conv("conv", "x", 3, 16, dilations=(1, 2, 2, 1))
    dilated.const("b", (16,))
    dilated.op("BiasAdd", "biased", "conv", "b")
    graph = read_graphdef(pair.save(tmp_path))
    assert names(graph) == ["Input", "Conv", "Output"]
    assert graph == read_graphdef(dilated.save(tmp_path))


def test_space_to_batch_without_its_partner_stays(tmp_path):
    make = Maker((1, 8, 8, 3))
    make.const("block", (2,), [2, 2])
    make.const("pads", (2, 2), [[0, 0], [0, 0]])
    make.op("SpaceToBatchND", "spread", "x", "block", "pads")
    graph = read_graphdef(make.save(tmp_path))
    assert names(graph) == ["Input", "SpacetoBatchND", "Output"]
    assert graph.resolution[1].tolist() == [8, 4, 8, 4, 3, 3]


def test_shapes_computed_in_the_graph_are_folded(tmp_path):
    """Shape, StridedSlice, Pack, Reshape: how TensorFlow 1 flattens."""
    make = Maker((1, 4, 4, 2))
    for name, values in (("zero", [0]), ("one", [1])):
        make.const(name, (1,), values)
    make.const("rest", (), [-1])
    make.op("Shape", "shape", "x")
    make.op("StridedSlice", "batch", "shape", "zero", "one", "one", shrink_axis_mask=1)
    make.op("Pack", "flat_shape", "batch", "rest")
    make.op("Reshape", "flat", "x", "flat_shape")
    make.const("dense", (32, 5))
    make.op("MatMul", "logits", "flat", "dense")
    graph = read_graphdef(make.save(tmp_path))
    assert names(graph) == ["Input", "MatMul", "Output"]
    assert graph.resolution[1].tolist() == [1, 1, 1, 1, 32, 5]


def add_function(make, name, ops, result):
    """A function of one input ``a``; ``ops`` are (op, name, inputs)."""
    function = make.graph.library.function.add()
    function.signature.name = name
    function.signature.input_arg.add(name="a")
    function.signature.output_arg.add(name="out")
    for op, label, *inputs in ops:
        function.node_def.add(name=label, op=op, input=inputs)
    function.ret["out"] = result


def test_functions_of_the_library_are_written_out(tmp_path):
    make = Maker()
    add_function(make, "inner", [("Sigmoid", "gate", "a")], "gate:y:0")
    add_function(make, "outer", [("Relu", "relu", "a"), ("inner", "call", "relu:activations:0")], "call:out:0")
    call = make.graph.node.add(name="call", op="StatefulPartitionedCall", input=["x"])
    call.attr["f"].func.name = "outer"
    make.op("Tanh", "end", "call")
    assert names(read_graphdef(make.save(tmp_path))) == ["Input", "ReLU", "Sigmoid", "Tanh", "Output"]


def test_a_condition_that_is_constant_takes_its_branch(tmp_path):
    """How TensorFlow 1 freezes what depends on the learning phase."""
    make = Maker()
    make.const("training", (), [False], BOOL)
    make.op("Switch", "switch", "x", "training")
    make.op("Relu", "inference", "switch")
    make.op("Tanh", "train", "switch:1")
    make.op("Merge", "merge", "inference", "train")
    make.op("Sigmoid", "end", "merge")
    assert names(read_graphdef(make.save(tmp_path))) == ["Input", "ReLU", "Sigmoid", "Output"]


@pytest.mark.parametrize(
    ("op", "value", "named"),
    [("Maximum", 0.0, ["ReLU"]), ("Minimum", 6.0, []), ("AddV2", 3.0, []), ("Mul", 2.0, []), ("Pow", 2.0, ["Pow"])],
)
def test_arithmetic_with_a_number(op, value, named, tmp_path):
    make = Maker()
    make.const("number", (), [value], FLOAT)
    make.op(op, "y", "x", "number")
    assert names(read_graphdef(make.save(tmp_path))) == ["Input", *named, "Output"]


def test_clip_is_relu6(tmp_path):
    make = Maker()
    make.const("low", (), [0.0], FLOAT)
    make.const("high", (), [1.0], FLOAT)
    make.op("ClipByValue", "y", "x", "low", "high")
    assert names(read_graphdef(make.save(tmp_path))) == ["Input", "ReLU6", "Output"]


def test_an_attention_product_by_einsum_has_its_heads_as_groups(tmp_path):
    make = Maker((1, 7, 4, 8))
    make.op("Einsum", "scores", "x", "x", equation="aecd,abcd->acbe")
    graph = read_graphdef(make.save(tmp_path))
    assert names(graph) == ["Input", "MatMul", "Output"]
    assert (graph.groups[1], graph.resolution[1].tolist()) == (4, [7, 7, 1, 1, 32, 28])


def test_a_projection_by_einsum_is_a_linear_layer(tmp_path):
    make = Maker((1, 7, 16))
    make.const("kernel", (16, 4, 8))
    make.op("Einsum", "queries", "x", "kernel", equation="abc,cde->abde")
    graph = read_graphdef(make.save(tmp_path))
    assert (graph.resolution[1].tolist(), graph.params[1]) == ([7, 7, 1, 1, 16, 32], 512)


def test_sizes_left_open_come_from_the_input_shape_in_either_order(tmp_path):
    make = Maker((None, None, None, 3))
    make.conv("conv", "x", 3, 4)
    path = make.save(tmp_path)
    assert read_graphdef(path, (6, 8, 3)) == read_graphdef(path, (3, 6, 8))
    assert read_graphdef(path, (6, 8, 3)).resolution[0].tolist() == [6, 6, 8, 8, 3, 3]
    with pytest.raises(GraphError, match=r"network.pb: the input 'x' has the shape \(\?, \?, \?, 3\); give its sizes"):
        read_graphdef(path)
    with pytest.raises(GraphError, match=r"which --input-shape 8,8 does not fit"):
        read_graphdef(path, (8, 8))


def test_several_inputs_are_named_and_one_can_be_chosen(tmp_path):
    make = Maker()
    make.placeholder("other", (1, 2))
    make.op("Relu", "a", "x")
    make.op("Tanh", "b", "other")
    path = make.save(tmp_path)
    with pytest.raises(GraphError, match=r"has 2 inputs: 'x' \(\?, 8, 8, 3\), 'other' \(1, 2\); choose one"):
        read_graphdef(path)
    assert names(read_graphdef(path, input_name="other")) == ["Input", "Tanh", "Output"]
    with pytest.raises(GraphError, match=r"has no input 'z'; its inputs are 'x'"):
        read_graphdef(path, input_name="z")


def test_an_unknown_operation_says_its_node_and_how_to_add_a_rule(tmp_path):
    make = Maker()
    make.op("Frobnicate", "mystery", "x")
    path = make.save(tmp_path)
    with pytest.warns(UnknownOperationWarning, match=r"Frobnicate \('mystery'\).*tensorflow:Frobnicate"):
        assert names(read_graphdef(path)) == ["Input", "OOV", "Output"]


def test_a_rule_of_ones_own_wins(tmp_path):
    make = Maker()
    make.op("Relu", "y", "x")
    rules = {"Relu": lambda recorder, call: recorder.emit(Op.Swish, call.values, call.shapes[0])}
    assert names(read_graphdef(make.save(tmp_path), rules=rules)) == ["Input", "Swish", "Output"]


def test_parameters_are_counted_once_and_huge_declared_sizes_cost_no_memory(tmp_path):
    make = Maker((1, 1_000_000))
    make.const("w", (1_000_000, 2_000_000))
    make.op("MatMul", "y", "x", "w")
    graph = read_graphdef(make.save(tmp_path))
    assert graph.params.tolist() == [0, 2 * 10**12, 0]


def test_tensorflow_is_not_imported(tmp_path):
    make = Maker()
    make.conv("conv", "x", 3, 4)
    path = make.save(tmp_path)
    program = (
        "import sys; from aiop_core.graph.tensorflow import read_graphdef; "
        f"assert len(read_graphdef({str(path)!r})) == 3; assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    from aiop_core.graph.tensorflow import protos

    protos.messages.cache_clear()
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    path = Maker().save(tmp_path)
    try:
        with pytest.raises(
            GraphError, match=r"needs the messages that tensorboard ships: pip install 'aiop-core\[graph"
        ):
            read_graphdef(path)
    finally:
        protos.messages.cache_clear()
