"""How ONNX models are put together: functions, branches, weights elsewhere, layouts, order."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from aiop_core.errors import GraphError  # noqa: E402
from aiop_core.graph.build import GraphBuilder  # noqa: E402
from aiop_core.graph.cost import cost  # noqa: E402
from aiop_core.graph.onnx import read_onnx  # noqa: E402
from aiop_core.graph.ops import Op  # noqa: E402
from aiop_core.graph.passes import canonical  # noqa: E402
from aiop_core.graph.recorder import UnknownOperationWarning  # noqa: E402

FLOAT = TensorProto.FLOAT


def info(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def weights(name, *shape):
    return numpy_helper.from_array(np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape), name)


def save(folder, nodes, initializers=(), *, shape=(1, 3, 8, 8), outputs=("y",), inputs=(), functions=(), **more):
    graph = helper.make_graph(
        nodes, "net", [info("x", shape), *inputs], [info(o) for o in outputs], initializers, **more
    )
    opsets = [helper.make_opsetid("", 17), *{f.domain: helper.make_opsetid(f.domain, 1) for f in functions}.values()]
    model = helper.make_model(graph, opset_imports=opsets, functions=list(functions), producer_name="tests")
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def names(graph):
    return " ".join(Op(int(op)).name for op in graph.op[1:-1])


def node(op, inputs, outputs="y", **attributes):
    return helper.make_node(op, inputs.split(","), outputs.split(","), **attributes)


def test_functions_of_the_model_are_inlined(tmp_path) -> None:
    inner = helper.make_function("own", "Act", ["a"], ["b"], [node("Relu", "a", "b")], [helper.make_opsetid("", 17)])
    body = [node("Conv", "a,w", "c"), node("Act", "c", "b", domain="own")]
    body[0].attribute.append(helper.make_attribute("strides", [2, 2]))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    block = helper.make_function("own", "Block", ["a", "w"], ["b"], body, opsets)
    calls = [node("Block", "x,u", "m", domain="own"), node("Block", "m,v", domain="own")]
    large = weights("u", 64, 3, 71, 71)  # contents of a megabyte are not copied
    path = save(tmp_path, calls, [large, weights("v", 5, 64, 3, 3)], shape=(1, 3, 80, 80), functions=[inner, block])
    graph = read_onnx(path)
    assert names(graph) == "Conv ReLU Conv ReLU"
    assert cost(graph).params == 64 * 3 * 71 * 71 + 5 * 64 * 9


def branch(name, op):
    return helper.make_graph([node(op, "x", name)], name, [], [info(name)])


def test_branch_of_a_condition_that_shapes_decide(tmp_path) -> None:
    nodes = [
        node("Shape", "x", "s", start=2, end=3),
        node("Greater", "s,limit", "wide"),
        node("If", "wide", then_branch=branch("a", "Sigmoid"), else_branch=branch("b", "Tanh")),
    ]
    path = save(tmp_path, nodes, [numpy_helper.from_array(np.array([8]), "limit")], shape=(1, 3, "h", "w"))
    assert names(read_onnx(path, (3, 8, 8))) == "Tanh"
    assert names(read_onnx(path, (3, 9, 9))) == "Sigmoid"


def test_branch_of_a_condition_that_the_input_decides_is_unknown(tmp_path) -> None:
    nodes = [
        node("ReduceSum", "x", "s", keepdims=0),
        node("Greater", "s,limit", "bright"),
        node("If", "bright", then_branch=branch("a", "Sigmoid"), else_branch=branch("b", "Tanh"), name="choice"),
    ]
    path = save(tmp_path, nodes, [numpy_helper.from_array(np.float32(0), "limit")])
    with pytest.warns(UnknownOperationWarning, match=r"node 'choice' \(If\)"):
        graph = read_onnx(path)
    assert names(graph) == "Sum Compare OOV"
    assert (0, 3) in graph.edges.T.tolist() or [0, 3] in graph.edges.T.tolist()  # the branches read the input


def test_loops_are_unknown(tmp_path) -> None:
    body = helper.make_graph(
        [node("Identity", "go", "on"), node("Relu", "a", "b")],
        "body",
        [info("i", (), TensorProto.INT64), info("go", (), TensorProto.BOOL), info("a", (1, 3, 8, 8))],
        [info("on", (), TensorProto.BOOL), info("b", (1, 3, 8, 8))],
    )
    loop, constants = node("Loop", "n,,x", "z", body=body), [numpy_helper.from_array(np.array(3), "n")]
    path = save(tmp_path, [loop, node("Identity", "z")], constants, value_info=[info("z", (1, 3, 8, 8))])
    with pytest.warns(UnknownOperationWarning, match="Loop"):
        assert names(read_onnx(path)) == "OOV"


def test_nodes_in_any_order(tmp_path) -> None:
    nodes = [node("Relu", "b"), node("Sigmoid", "a", "b"), node("Tanh", "x", "a")]
    assert names(read_onnx(save(tmp_path, nodes))) == "Tanh Sigmoid ReLU"


def test_weights_in_another_file(tmp_path) -> None:
    """Large ones are not looked at; numbers that shapes are made of are."""
    nodes = [node("Conv", "x,w", "c"), node("Reshape", "c,to")]
    path = save(tmp_path, nodes, [weights("w", 4, 3, 1, 1), numpy_helper.from_array(np.array([4, -1]), "to")])
    model = onnx.load(path)
    onnx.save_model(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    graph = read_onnx(path)
    assert names(graph) == "Conv"
    assert graph.resolution[-1].tolist() == [64, 64, 1, 1, 4, 4]
    assert cost(graph).params == 12
    (tmp_path / "net.data").unlink()
    with pytest.raises(GraphError, match="has a shape that only a run would tell"):
        read_onnx(path)


def test_sparse_weights_count_what_they_hold(tmp_path) -> None:
    values = numpy_helper.from_array(np.ones(5, np.float32), "w")
    places = numpy_helper.from_array(np.array([0, 3, 4, 9, 11]), "places")
    sparse = helper.make_sparse_tensor(values, places, [8, 6])
    graph = read_onnx(save(tmp_path, [node("MatMul", "x,w")], sparse_initializer=[sparse]))
    assert names(graph) == "MatMul"
    assert graph.resolution[1, 4:].tolist() == [8, 6]
    assert cost(graph).params == 5


def test_channels_last_as_converters_of_tensorflow_write_them(tmp_path) -> None:
    nodes = [
        node("Transpose", "x", "a", perm=[0, 3, 1, 2]),
        node("Conv", "a,w,b", "c", pads=[1, 1, 1, 1]),
        node("Transpose", "c", "d", perm=[0, 2, 3, 1]),
        node("Mul", "d,scale", "e"),
        node("ReduceMean", "e", axes=[1, 2], keepdims=0),
    ]
    constants = [weights("w", 4, 3, 3, 3), weights("b", 4), weights("scale", 4)]
    graph = read_onnx(save(tmp_path, nodes, constants, shape=(1, 9, 7, 3)))
    expected = GraphBuilder()
    conv = expected.conv(expected.input((9, 7)), 4, 3, bias=True)
    expected.output(expected.mean(expected.add(Op.Mul, (conv,), params=4, bias=True)))
    assert canonical(graph).fingerprint == canonical(expected.build()).fingerprint


def test_constants_are_parameters_where_no_initializers_are(tmp_path) -> None:
    """Torch alone writes no parameter as a ``Constant``."""
    nodes = [
        node("Constant", "", "w", value=weights("", 4, 3, 1, 1)),
        node("Conv", "x,w", "c"),
        node("Constant", "", "three", value=numpy_helper.from_array(np.float32(3))),
        node("Mul", "c,three"),
    ]
    del nodes[0].input[:], nodes[2].input[:]
    graph = read_onnx(save(tmp_path, nodes))
    assert (names(graph), cost(graph).params) == ("Conv", 12)


def test_shared_weights_are_counted_once_and_several_outputs_are_kept(tmp_path) -> None:
    nodes = [node("Conv", "x,w", "a"), node("Conv", "a,w", "b"), node("Shape", "a", "s"), node("Abs", "a", "unused")]
    graph = read_onnx(save(tmp_path, nodes, [weights("w", 3, 3, 1, 1)], outputs=("a", "b", "s")))
    assert [Op(int(op)).name for op in graph.op] == ["Input", "Conv", "Conv", "Output", "Output"]
    assert cost(graph).params == 9


def test_one_of_several_inputs(tmp_path) -> None:
    nodes = [node("Add", "x,z", "s"), node("Relu", "s")]
    path = save(tmp_path, nodes, inputs=[info("z", (4, 3, 8, 8))])
    assert names(read_onnx(path, input_name="z")) == "ReLU"


def test_opset_without_a_name_for_its_domain(tmp_path) -> None:
    path = save(tmp_path, [node("Relu", "x", domain="ai.onnx")])
    assert names(read_onnx(path)) == "ReLU"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: [node("SplitToSequence", "x,n", "s"), node("SequenceAt", "s,far")], "takes tensor 7 of a list of 1"),
        (lambda: [node("SplitToSequence", "x,n", "s", axis=9), node("SequenceAt", "s,n")], "splits axis 9"),
        (lambda: [node("SequenceConstruct", "x", "s"), node("SequenceAt", "s,x")], "a place that only a run would"),
        (lambda: [node("SplitToSequence", "x,x", "s"), node("SequenceAt", "s,n")], "splits into sizes that only a run"),
        (lambda: [node("SequenceInsert", "gone,x", "s"), node("ConcatFromSequence", "s", axis=0)], "reads 'gone'"),
        (lambda: [node("SequenceConstruct", "x", "s"), node("Relu", "s")], r"\(Relu\)"),
    ],
)
def test_lists_that_cannot_be_followed(tmp_path, make, message) -> None:
    constants = [numpy_helper.from_array(np.array(n), name) for name, n in (("n", 1), ("far", 7))]
    with pytest.raises(GraphError, match=message):
        read_onnx(save(tmp_path, make(), constants))


def test_an_empty_list_cannot_be_joined(tmp_path) -> None:
    nodes = [
        node("SequenceConstruct", "x", "s"),
        node("SequenceErase", "s", "t"),
        node("ConcatFromSequence", "t", axis=0),
    ]
    with pytest.raises(GraphError, match="joins an empty list"):
        read_onnx(save(tmp_path, nodes))


def test_lists_of_tensors(tmp_path) -> None:
    empty = node("SequenceEmpty", "", "e")
    del empty.input[:]
    nodes = [
        node("SplitToSequence", "x", "s", axis=1, keepdims=0),
        node("SequenceLength", "s", "n"),
        node("Sub", "n,one", "last"),
        node("SequenceAt", "s,last", "a"),
        empty,
        node("SequenceInsert", "e,a", "t"),
        node("SequenceInsert", "t,a,zero", "u"),
        node("SequenceErase", "u,zero", "v"),
        node("ConcatFromSequence", "v", axis=1, new_axis=1),
    ]
    constants = [numpy_helper.from_array(np.array(n), name) for name, n in (("one", 1), ("zero", 0))]
    graph = read_onnx(save(tmp_path, nodes, constants))
    assert names(graph) == "Slice Concat"
    assert graph.resolution[-1, [1, 3, 5]].prod() == 64
