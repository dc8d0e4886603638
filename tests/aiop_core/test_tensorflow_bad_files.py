"""Files that are no networks, or hostile ones: one clear line, at once."""

import sys
from types import SimpleNamespace

import pytest

from aiop_core.errors import GraphError
from aiop_core.graph.tensorflow import read_graphdef, read_keras, read_saved_model
from aiop_core.graph.tensorflow.keras_model import libraries

pb = pytest.importorskip("tensorboard.compat.proto.graph_pb2")


def graph_of(*nodes):
    """(op, name, inputs…) each; ``x`` is a placeholder of 1×8×8×3."""
    graph = pb.GraphDef()
    start = graph.node.add(name="x", op="Placeholder")
    for size in (1, 8, 8, 3):
        start.attr["shape"].shape.dim.add(size=size)
    for op, name, *inputs in nodes:
        graph.node.add(name=name, op=op, input=inputs)
    return graph


def constant(graph, name, shape, values=()):
    tensor = graph.node.add(name=name, op="Const").attr["value"].tensor
    tensor.dtype = 3 if values else 1
    tensor.int_val.extend(values)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)


def save(path, graph):
    path.write_bytes(graph.SerializeToString())
    return path


def saved_model(graph):
    """The bytes of a SavedModel: version 1, and one graph with a signature."""
    from tensorboard.compat.proto import meta_graph_pb2

    meta = meta_graph_pb2.MetaGraphDef(graph_def=graph)
    meta.meta_info_def.tags.append("serve")
    signature = meta.signature_def["serving_default"]
    signature.inputs["image"].name = "x:0"
    signature.outputs["y"].name = "y:0"
    data = meta.SerializeToString()
    size, length = len(data), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return b"\x08\x01\x12" + length + bytes([size]) + data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is text\n" * 20, "no TensorFlow graph"),
        (b'node {\n  name: "x"\n}\n', "in text form; write it in binary form"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "no TensorFlow graph"),
        (b"\x0a\xff\xff\xff\xff\x07abc", "truncated or no TensorFlow graph"),
    ],
    ids=["empty", "text", "text form", "other magic", "truncated"],
)
def test_a_file_that_is_no_graph(data, message, tmp_path):
    path = tmp_path / "network.pb"
    path.write_bytes(data)
    with pytest.raises(GraphError, match=rf"network\.pb is .*{message}".replace("is .*is empty", "is empty")):
        read_graphdef(path)


def test_a_truncated_graph_is_refused_or_lacks_nodes(tmp_path):
    graph = graph_of(("Relu", "y", "x"), ("Tanh", "z", "y"))
    data = graph.SerializeToString()
    path = tmp_path / "network.pb"
    refused = 0
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        try:
            read_graphdef(path)
        except GraphError:
            refused += 1
    assert refused > len(data) // 2


def test_a_missing_file(tmp_path):
    with pytest.raises(GraphError, match=r"network\.pb cannot be read: No such file or directory"):
        read_graphdef(tmp_path / "network.pb")


def test_a_saved_model_given_as_a_frozen_graph(tmp_path):
    path = tmp_path / "saved_model.pb"
    path.write_bytes(saved_model(graph_of(("Relu", "y", "x"))))
    with pytest.raises(GraphError, match=r"saved_model\.pb is a SavedModel, not a frozen graph; give its folder"):
        read_graphdef(path)
    with pytest.raises(GraphError, match=r"is a folder, not a frozen graph; give it as a SavedModel"):
        read_graphdef(tmp_path)
    assert len(read_saved_model(tmp_path)) == 3


def test_a_frozen_graph_given_as_a_saved_model(tmp_path):
    path = save(tmp_path / "network.pb", graph_of(("Relu", "y", "x")))
    with pytest.raises(GraphError, match=r"there is no saved_model\.pb; .*network\.pb is there: give that file"):
        read_saved_model(tmp_path)
    with pytest.raises(GraphError, match=r"network\.pb is a file, not the folder of a SavedModel"):
        read_saved_model(path)
    path.rename(tmp_path / "saved_model.pb")
    with pytest.raises(GraphError, match=r"saved_model\.pb is a frozen graph, not a SavedModel; give the file itself"):
        read_saved_model(tmp_path)
    with pytest.raises(GraphError, match=r"is a folder, not a frozen graph; give it as a SavedModel"):
        read_graphdef(tmp_path)


def test_a_folder_that_holds_nothing(tmp_path):
    with pytest.raises(GraphError, match=r"is no SavedModel: there is no saved_model\.pb; give its folder"):
        read_saved_model(tmp_path)
    with pytest.raises(GraphError, match=r"is a folder, not a frozen graph; give a file inside it"):
        read_graphdef(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\x00garbage")
    with pytest.raises(GraphError, match=r"saved_model\.pb is damaged or no SavedModel; save the model again"):
        read_saved_model(tmp_path)


def test_a_signature_or_input_that_does_not_exist(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(saved_model(graph_of(("Relu", "y", "x"))))
    with pytest.raises(GraphError, match=r"has no signature 'train'; its signatures are serving_default"):
        read_saved_model(tmp_path, signature="train")
    with pytest.raises(GraphError, match=r"has no input 'sound'; its inputs are image"):
        read_saved_model(tmp_path, input_name="sound")


def test_keras_without_tensorflow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(GraphError, match=r"needs TensorFlow: pip install 'aiop-core\[tensorflow\]'"):
        read_keras("model.keras")


@pytest.fixture
def noisy(tmp_path, monkeypatch):
    """Packages in the place of Keras and TensorFlow that greet as those do: below Python."""
    for name in ("keras", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)  # so that it is undone what their import leaves there
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "keras.py").write_text("class backend:\n    backend = staticmethod(lambda: 'tensorflow')\n")
    (tmp_path / "tensorflow.py").write_text("import os\nos.write(2, b'greeting\\n')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "tensorflow.py"


def test_tensorflow_greets_nobody(noisy, capfd):
    libraries()
    print("an error of ours", file=sys.stderr)
    assert capfd.readouterr().err == "an error of ours\n"


def test_what_a_failing_import_wrote_is_shown(noisy, capfd):
    noisy.write_text(noisy.read_text() + "import a_library_that_is_not_there\n")
    with pytest.raises(GraphError, match="reading a Keras model needs TensorFlow"):
        libraries()
    assert capfd.readouterr().err == "greeting\n"


def test_keras_on_something_else_says_how_to_change_it(monkeypatch):
    keras = SimpleNamespace(backend=SimpleNamespace(backend=lambda: "jax"))
    monkeypatch.setitem(sys.modules, "keras", keras)
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace())
    with pytest.raises(GraphError, match=r"Keras runs on jax here; set KERAS_BACKEND=tensorflow"):
        read_keras("model.keras")


def test_a_loop_is_named(tmp_path):
    graph = graph_of(("AddV2", "a", "x", "b"), ("Relu", "b", "a"), ("Tanh", "z", "b"))
    with pytest.raises(GraphError, match=r"node '[ab]' \(\w+\) depends on its own result; .* no loops"):
        read_graphdef(save(tmp_path / "network.pb", graph))


def test_functions_that_call_themselves_end(tmp_path):
    graph = graph_of(("f", "call", "x"))
    function = graph.library.function.add()
    function.signature.name = "f"
    function.signature.input_arg.add(name="a")
    function.signature.output_arg.add(name="out")
    function.node_def.add(name="again", op="f", input=["a"])
    function.ret["out"] = "again:out:0"
    with pytest.raises(GraphError, match=r"functions call each other more than 64 levels deep"):
        read_graphdef(save(tmp_path / "network.pb", graph))


def test_functions_that_multiply_are_stopped(tmp_path, monkeypatch):
    """Ten calls in each of ten functions would be ten thousand million nodes."""
    monkeypatch.setattr("aiop_core.graph.tensorflow.library.MAX_NODES", 5000)
    graph = graph_of(("f0", "call", "x"))
    for i in range(10):
        function = graph.library.function.add()
        function.signature.name = f"f{i}"
        function.signature.input_arg.add(name="a")
        function.signature.output_arg.add(name="out")
        for k in range(10):
            function.node_def.add(name=f"n{k}", op=f"f{i + 1}", input=["a"])
        function.ret["out"] = "n0:out:0"
    with pytest.raises(GraphError, match=r"calls of functions make more than 5,000 nodes"):
        read_graphdef(save(tmp_path / "network.pb", graph))


def test_tensors_that_multiply_are_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("aiop_core.graph.tensorflow.graphdef.MAX_TENSORS", 100)
    graph = graph_of(*[("Unpack", f"u{i}", "x") for i in range(20)])
    for node in graph.node[1:]:
        node.attr["axis"].i = 1
    with pytest.raises(GraphError, match=r"the graph has more than 100 tensors; give a graph of one network"):
        read_graphdef(save(tmp_path / "network.pb", graph))


def test_constants_beyond_the_limit_have_a_shape_only(tmp_path, monkeypatch):
    graph = graph_of(("Fill", "ones", "sizes", "one"), ("Shape", "s", "ones"), ("Reshape", "y", "x", "flat"))
    constant(graph, "sizes", (1,), [192])
    constant(graph, "one", (), [1])
    graph.node.add(name="flat", op="Slice", input=["filled", "zero", "end"])
    constant(graph, "zero", (1,), [0])
    constant(graph, "end", (1,), [1])
    graph.node.add(name="filled", op="Fill", input=["sizes", "all"])
    constant(graph, "all", (), [192])
    path = save(tmp_path / "network.pb", graph)
    assert len(read_graphdef(path)) == 2
    monkeypatch.setattr("aiop_core.graph.tensorflow.graphdef.MAX_NUMBERS", 100)
    with pytest.raises(GraphError, match=r"node 'y' \(Reshape\) needs the contents of its input 1"):
        read_graphdef(path)


def test_names_that_do_not_exist_or_exist_twice(tmp_path):
    path = tmp_path / "network.pb"
    with pytest.raises(GraphError, match=r"node 'y' reads 'nothing', which the graph does not hold"):
        read_graphdef(save(path, graph_of(("AddV2", "y", "x", "nothing"))))
    with pytest.raises(GraphError, match=r"two nodes are called 'y'"):
        read_graphdef(save(path, graph_of(("Relu", "y", "x"), ("Tanh", "y", "x"))))
    with pytest.raises(GraphError, match=r"network\.pb: 'y\\n\\x1b\[2J' is no name of a node; the file is damaged"):
        read_graphdef(save(path, graph_of(("Relu", "y\n\x1b[2J", "x"))))
    with pytest.raises(GraphError, match=r"reads result 3 of 'y' \(Relu\), which gives 1"):
        read_graphdef(save(path, graph_of(("Relu", "y", "x"), ("Tanh", "z", "y:3"))))


def test_a_graph_without_input_or_without_results(tmp_path):
    path = tmp_path / "network.pb"
    graph = pb.GraphDef()
    constant(graph, "c", (4,))
    graph.node.add(name="y", op="Relu", input=["c"])
    with pytest.raises(GraphError, match=r"has no input: no placeholder that any node reads"):
        read_graphdef(save(path, graph))
    with pytest.raises(GraphError, match=r"nothing in the graph reads its input 'x'"):
        read_graphdef(save(path, graph_of(("NoOp", "y", "x"))))
    with pytest.raises(GraphError, match=r"the results y do not depend on the network's input"):
        read_graphdef(save(path, graph_of(("Shape", "y", "x"))))


def reshaped(shape, count=None):
    graph = graph_of(("Reshape", "y", "x", "shape"))
    constant(graph, "shape", (count or len(shape),), shape)
    return graph


def with_sizes(op, name, *values):
    graph = graph_of((op, name, "x", *[f"c{i}" for i in range(len(values))]))
    for i, (shape, numbers) in enumerate(values):
        constant(graph, f"c{i}", shape, numbers)
    return graph


HUGE = 2**31 - 1


def split_into(parts):
    graph = graph_of(("Split", "y", "axis", "x"))
    constant(graph, "axis", (), [3])
    graph.node[1].attr["num_split"].i = parts
    return graph


def strided(**masks):
    graph = with_sizes("StridedSlice", "y", ((1,), [9]), ((1,), [10]), ((1,), [masks.pop("stride", 1)]))
    for name, value in masks.items():
        graph.node[1].attr[name].i = value
    return graph


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (reshaped([HUGE, HUGE]), r"cannot make \[2147483647, 2147483647\] of a tensor of shape \[1, 8, 8, 3\]"),
        (reshaped([1], 2**40), r"needs the contents of its input 1"),
        (with_sizes("Tile", "y", ((4,), [HUGE, HUGE, HUGE, HUGE])), r"would give a tensor of shape"),
        (with_sizes("BroadcastTo", "y", ((1,), [-5])), r"would give a tensor of shape -5"),
        (with_sizes("Reshape", "y", ((2,), [-1, 7])), r"cannot make \[-1, 7\] of a tensor"),
        (split_into(HUGE), r"gives 2,147,483,647 tensors; allowed are 1 to 65,536"),
        (split_into(0), r"gives 0 tensors; allowed are 1 to 65,536"),
        (strided(shrink_axis_mask=1), r"takes place 9 of an axis of 1"),
        (strided(stride=0), r"cannot cut a tensor of 4 axes"),
        (with_sizes("Transpose", "y", ((4,), [0, 1, 2, 9])), r"node 'y' \(Transpose\) cannot be read: .*damaged"),
        (with_sizes("Relu", "y"), None),
        (
            with_sizes("Conv2D", "y", ((3, 3, 4, 8), [])),
            r"with a kernel of shape \[3, 3, 4, 8\] cannot read 3 channels",
        ),
        (with_sizes("Conv2D", "y", ((HUGE, HUGE, 3, HUGE), [])), r"would give a tensor of shape"),
        (with_sizes("BatchMatMulV2", "y", ((4, 4), [])), r"cannot multiply \[1, 8, 8, 3\] with \[4, 4\]"),
        (with_sizes("AddV2", "y", ((5,), [])), r"cannot combine 1x8x8x3 and 5"),
        (with_sizes("ConcatV2", "y", ((1, 2, 2, 2), []), ((), [3])), r"cannot join"),
        (graph_of(("Einsum", "y", "x")), r"allowed are two tensors"),
        (graph_of(("Conv2D", "y", "x")), r"node 'y' \(Conv2D\) cannot be read"),
    ],
)
def test_sizes_that_cannot_be(graph, message, tmp_path):
    path = save(tmp_path / "network.pb", graph)
    if message is None:
        assert len(read_graphdef(path)) == 3
        return
    with pytest.raises(GraphError, match=message) as caught:
        read_graphdef(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_constant_with_too_few_bytes(tmp_path):
    graph = graph_of(("Reshape", "y", "x", "shape"))
    constant(graph, "shape", (2,), [1, 192])
    tensor = graph.node[-1].attr["value"].tensor
    tensor.tensor_content = b"\x01\x00\x00\x00"
    with pytest.raises(GraphError, match=r"a constant of shape \[2\] holds 1 numbers; the file is damaged"):
        read_graphdef(save(tmp_path / "network.pb", graph))
    del tensor.tensor_shape.dim[:]
    tensor.tensor_shape.dim.add(size=-1)
    with pytest.raises(GraphError, match=r"a constant has no shape; the file is damaged"):
        read_graphdef(save(tmp_path / "network.pb", graph))
