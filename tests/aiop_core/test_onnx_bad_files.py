"""Files that are no networks, or hostile ones: one clear line, at once."""

import random
import time
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from aiop_core.errors import GraphError  # noqa: E402
from aiop_core.graph.onnx import read_onnx  # noqa: E402

FLOAT = TensorProto.FLOAT


def info(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, initializers=(), outputs=("y",), opset=17, functions=(), more_opsets=()):
    graph = helper.make_graph(nodes, "net", inputs, [info(name, None) for name in outputs], initializers)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, v) for d, v in more_opsets)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions))


def save(path, made):
    path.write_bytes(made.SerializeToString())
    return path


def image(name="x", shape=(1, 3, 8, 8)):
    return info(name, shape)


def relu(source="x", target="y", name="act"):
    return helper.make_node("Relu", [source], [target], name=name)


def weights(name, *shape):
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def network():
    """A small classifier with a reshape that is computed from shapes."""
    return model(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], kernel_shape=[3, 3], name="conv"),
            helper.make_node("GlobalAveragePool", ["a"], ["b"], name="pool"),
            helper.make_node("Shape", ["b"], ["s"], end=1),
            helper.make_node("Concat", ["s", "rest"], ["t"], axis=0),
            helper.make_node("Reshape", ["b", "t"], ["c"]),
            helper.make_node("Gemm", ["c", "v", "bias"], ["y"], transB=1, name="head"),
        ],
        [image()],
        [
            weights("w", 4, 3, 3, 3),
            weights("v", 10, 4),
            weights("bias", 10),
            numpy_helper.from_array(np.array([-1]), "rest"),
        ],
    )


def refused(path, message, **given):
    started = time.perf_counter()
    with pytest.raises(GraphError, match=message) as caught:
        read_onnx(path, **given)
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty, expected an ONNX model"),
        (b"hello, this is text\n" * 20, "is no ONNX model, or only a part of one"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "is no ONNX model"),
        (b"\x3a\xff\xff\xff\xff\x07abc", "is no ONNX model"),
        (network().SerializeToString()[:-40], "is no ONNX model"),
        (b"\x08\x08", "holds no ONNX graph"),
        (b"\x3b" * 5000, "is no ONNX model"),
    ],
    ids=["empty", "text", "png", "huge declared length", "truncated", "no graph", "nested groups"],
)
def test_no_onnx_file(tmp_path, data, message) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    refused(path, message)


def test_no_file_and_one_that_is_too_large(tmp_path) -> None:
    refused(tmp_path / "gone.onnx", r"gone\.onnx: is no file; give an \.onnx file")
    refused(tmp_path, "is no file")
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(2**31)
    refused(tmp_path / "large.onnx", "is larger than 2 GB")


@pytest.mark.parametrize(("opset", "remedy"), [(5, "onnx.version_converter"), (99, "install a newer onnx")])
def test_opset_that_is_not_supported(tmp_path, opset, remedy) -> None:
    refused(
        save(tmp_path / "net.onnx", model([relu()], [image()], opset=opset)),
        rf"is written in opset {opset}; onnx .* reads 7 to \d+; .*{remedy}",
    )


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([relu("a", "b", "one"), relu("b", "a", "two"), relu("b", "y", "end")], "is part of a circle"),
        ([relu("x", "a"), relu("gone", "y", "late")], r"node 'late' \(Relu\) reads 'gone', which neither"),
        ([relu("x", "y", "one"), relu("x", "y", "two")], r"node 'two' \(Relu\) gives 'y', which something else gives"),
        ([relu("x", "x", "self")], r"node 'self' \(Relu\) gives 'x', which something else gives"),
        ([relu("x", "z")], "the output 'y' is given by no node"),
        ([helper.make_node("Constant", [], ["y"], value_floats=[1.0])], "no output depends on the input"),
    ],
    ids=["circle", "dangling", "given twice", "its own input", "no such output", "constant"],
)
def test_broken_wiring(tmp_path, nodes, message) -> None:
    refused(save(tmp_path / "net.onnx", model(nodes, [image()])), message)


def test_inputs(tmp_path) -> None:
    refused(save(tmp_path / "none.onnx", model([relu("w")], [], [weights("w", 3)])), "the model has no inputs")
    add = helper.make_node("Add", ["x", "z"], ["y"])
    two = save(tmp_path / "two.onnx", model([add], [image(), image("z")]))
    refused(two, r"the model has 2 inputs \(x, z\); name the network's \(--input-name\)")
    refused(two, r"the model has no input 'q'; its inputs are: x, z", input_name="q")
    assert len(read_onnx(two, input_name="z")) == 2  # an addition of a constant that is no parameter is no node


@pytest.mark.parametrize("shape", [("n", 3, "h", "w"), (1, 3, 0, 8), (1, 3, -1, -1)])
def test_dynamic_shapes_need_an_input_shape(tmp_path, shape) -> None:
    path = save(tmp_path / "net.onnx", model([relu()], [image(shape=shape)]))
    refused(path, r"the input 'x' has the shape \(.*\); say how large it is .*--input-shape 3,224,224")
    assert read_onnx(path, (3, 9, 7)).resolution[0].tolist() == [9, 9, 7, 7, 3, 3]


def test_input_without_any_shape(tmp_path) -> None:
    path = save(tmp_path / "net.onnx", model([relu()], [info("x", None)]))
    refused(path, r"the input 'x' has the shape \(unknown\)")
    assert len(read_onnx(path, (3, 9, 7))) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((3, 8), r"the input 'x' has 4 axes, but the shape \(3, 8\) is for 3; give every axis but the batch"),
        ((3, 0, 8), r"would have the shape \(1, 3, 0, 8\); sizes are 1 to"),
        ((3, 2**40, 8), "sizes are 1 to 2147483647"),
        ((5, 8, 8), r"node 'conv' \(Conv\): its weights are for 3 channels, but its input .* has 5"),
        ((3, 2, 2), r"node 'conv' \(Conv\)"),
    ],
)
def test_input_shape_that_does_not_fit(tmp_path, given, message) -> None:
    refused(save(tmp_path / "net.onnx", network()), message, input_shape=given)


def test_input_that_is_no_tensor(tmp_path) -> None:
    sequence = helper.make_tensor_sequence_value_info("x", FLOAT, None)
    node = helper.make_node("SequenceLength", ["x"], ["y"])
    refused(save(tmp_path / "net.onnx", model([node], [sequence])), "the input 'x' is no tensor")


def test_matrices_that_do_not_fit(tmp_path) -> None:
    gemm = helper.make_node("Gemm", ["x", "w"], ["y"], name="head")
    path = save(tmp_path / "net.onnx", model([gemm], [info("x", (1, 6))], [weights("w", 5, 4)]))
    refused(path, r"node 'head' \(Gemm\)")


def test_huge_declared_sizes_allocate_nothing(tmp_path) -> None:
    def declared(*dims):
        return TensorProto(name="w", data_type=FLOAT, dims=dims)

    add = helper.make_node("Add", ["x", "w"], ["y"], name="add")
    huge = save(tmp_path / "huge.onnx", model([add], [image()], [declared(2**40, 2**20)]))
    refused(huge, "constant 'w' has shape .*; every size must be 0 to")
    refused(save(tmp_path / "minus.onnx", model([add], [image()], [declared(-1)])), "every size must be 0 to")
    stripped = save(tmp_path / "stripped.onnx", model([add], [image()], [declared(8)]))
    assert len(read_onnx(stripped)) == 3  # weights that are not there are not needed


@pytest.mark.parametrize(
    ("node", "given"),
    [
        (helper.make_node("ConstantOfShape", ["n"], ["c"]), [2**30, 2**30]),
        (helper.make_node("Range", ["zero", "big", "one"], ["c"]), [1]),
        (helper.make_node("Expand", ["f", "n"], ["c"]), [2**31 - 1, 2**20]),
        (helper.make_node("Tile", ["f", "n"], ["c"]), [2**31 - 1]),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_huge_computed_constants_are_not_computed(tmp_path, node, given) -> None:
    numbers = {"n": np.array(given), "zero": np.array(0), "big": np.array(2**31 - 1), "one": np.array(1)}
    constants = [numpy_helper.from_array(v, k) for k, v in numbers.items()] + [weights("f", 1)]
    path = save(tmp_path / "net.onnx", model([node, relu()], [image()], constants))
    started = time.perf_counter()
    assert len(read_onnx(path)) == 3
    assert time.perf_counter() - started < 2


def test_huge_activation_is_refused(tmp_path) -> None:
    sizes = numpy_helper.from_array(np.array([1, 3, 2**40, 8]), "n")
    expand = helper.make_node("Expand", ["x", "n"], ["y"], name="grow")
    path = save(tmp_path / "net.onnx", model([expand], [image(shape=(1, 3, 1, 8))], [sizes]))
    refused(path, r"node 'grow' \(Expand\): 'y' has shape .*; every size must be 0 to")


def test_shape_that_only_a_run_would_tell(tmp_path) -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["y"], name="find")]
    refused(save(tmp_path / "net.onnx", model(nodes, [image()])), r"node 'find' .* a shape that only a run would tell")


def test_constants_that_cannot_be_computed(tmp_path) -> None:
    divide = helper.make_node("Gather", ["n", "at"], ["c"], name="far")
    constants = [numpy_helper.from_array(np.array([1, 2]), "n"), numpy_helper.from_array(np.array(7), "at")]
    path = save(tmp_path / "net.onnx", model([divide, relu()], [image()], constants))
    refused(path, r"node 'far' \(Gather\) cannot be computed")


def test_missing_inputs_and_attributes(tmp_path) -> None:
    conv = helper.make_node("Conv", ["x"], ["y"], name="conv")
    refused(save(tmp_path / "a.onnx", model([conv], [image()])), r"node 'conv' \(Conv\)")
    pool = helper.make_node("MaxPool", ["x"], ["y"], name="pool")
    refused(save(tmp_path / "b.onnx", model([pool], [image()])), r"node 'pool' \(MaxPool\)")
    deform = helper.make_node("DeformConv", ["x"], ["y"], name="deform")
    made = model([deform], [image()], opset=19)
    made.graph.value_info.append(info("y", (1, 3, 8, 8)))
    refused(save(tmp_path / "c.onnx", made), r"node 'deform' \(DeformConv\)")


def function(name, *calls):
    nodes = [helper.make_node(op, ["a"], [f"b{i}"], domain=domain) for i, (op, domain) in enumerate(calls)]
    nodes[-1].output[0] = "b"
    return helper.make_function("own", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 17), OWN])


OWN = helper.make_opsetid("own", 1)


def test_functions_that_never_end(tmp_path) -> None:
    call = helper.make_node("F0", ["x"], ["y"], domain="own")
    circle = [function("F0", ("F1", "own")), function("F1", ("F0", "own"))]
    path = save(tmp_path / "circle.onnx", model([call], [image()], functions=circle, more_opsets=[("own", 1)]))
    refused(path, "function own::F. calls itself")
    tower = [function(f"F{i}", *[(f"F{i + 1}", "own")] * 10) for i in range(12)] + [function("F12", ("Relu", ""))]
    path = save(tmp_path / "tower.onnx", model([call], [image()], functions=tower, more_opsets=[("own", 1)]))
    refused(path, "functions expand to [0-9,]+ nodes; at most 1,000,000 are read")


def field(number, payload):
    """A field of a protocol buffer: its number, its length and its bytes."""
    length, size = b"", len(payload)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload


def test_a_tower_of_branches_is_no_stack_overflow(tmp_path) -> None:
    graph = field(1, relu("x", "y").SerializeToString())
    for _ in range(3000):
        graph = field(1, field(1, b"yes") + field(4, b"If") + field(5, field(1, b"then_branch") + field(6, graph)))
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11"))
    refused(path, "is no ONNX model")


def test_branch_that_gives_nothing(tmp_path) -> None:
    def branch(*outputs):
        return helper.make_graph([relu("x", "z")], "b", [], [info(o, None) for o in outputs])

    yes = numpy_helper.from_array(np.array(True), "yes")
    for outputs, message in (((), "gives 1 tensors, its then_branch 0"), (("gone",), "reads 'gone', which neither")):
        node = helper.make_node("If", ["yes"], ["y"], then_branch=branch(*outputs), else_branch=branch("z"), name="if")
        refused(save(tmp_path / "net.onnx", model([node], [image()], [yes])), message)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "gone.bin"])
def test_contents_kept_elsewhere_are_not_needed_and_not_looked_for_outside(tmp_path, location) -> None:
    """Numbers outside the model's folder stay unread: the shape that is made of them stays unknown."""
    (tmp_path / "secret").write_bytes(np.array([1, 192]).tobytes())
    folder = tmp_path / "model"
    folder.mkdir()

    def elsewhere(name, kind, *dims):
        tensor = TensorProto(name=name, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=location)
        return tensor

    conv = helper.make_node("Conv", ["x", "w"], ["y"])
    small = elsewhere("w", FLOAT, 4, 3, 1, 1)
    assert len(read_onnx(save(folder / "net.onnx", model([conv], [image()], [small])))) == 3
    flat = helper.make_node("Reshape", ["x", "to"], ["y"], name="flat")
    path = save(folder / "net.onnx", model([flat], [image()], [elsewhere("to", TensorProto.INT64, 2)]))
    refused(path, r"node 'flat' \(Reshape\): 'y' has a shape that only a run would tell")


def test_damaged_bytes_never_crash(tmp_path) -> None:
    """Whatever is in the file, there is a graph or one line that says why not."""
    whole = network().SerializeToString()
    chance = random.Random(0)
    path = tmp_path / "net.onnx"
    answers = []
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(bytes(data[: chance.choice([len(data), chance.randrange(len(data))])]))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answers.append(len(read_onnx(path)))
        except GraphError as error:
            answers.append(str(error))
    assert sum(isinstance(answer, int) for answer in answers) > 10
    assert not [answer for answer in answers if isinstance(answer, str) and "\n" in answer]
