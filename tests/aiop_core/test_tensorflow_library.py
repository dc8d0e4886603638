"""Against TensorFlow itself: its shapes, its ways to save and freeze, and the networks that torchvision has, too."""

import os
import sys

import numpy as np
import pytest

from aiop_core.errors import GraphError
from aiop_core.graph.check import problems
from aiop_core.graph.ops import Op
from aiop_core.graph.passes import canonical
from aiop_core.graph.recorder import Value
from aiop_core.graph.tensorflow import read_graphdef, read_keras, read_saved_model
from aiop_core.graph.tensorflow.constants import fold
from aiop_core.graph.tensorflow.keras_model import libraries
from aiop_core.graph.tensorflow.operation import Operation, Tensor
from aiop_core.graph.tensorflow.protos import attributes
from aiop_core.graph.tensorflow.shapes import SHAPES, infer
from aiop_core.graph.trace import trace

IMAGE = (1, 9, 12, 6)


@pytest.fixture(scope="module", autouse=True)
def tensorflow():
    """Imported when the first of these tests runs: it takes seconds, and needs its place after torch's LLVM."""
    global tf, keras
    if sys.version_info >= (3, 14):
        pytest.skip("TensorFlow has no release for this Python")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf, keras = libraries()


def conv(**attrs):
    return lambda x: tf.raw_ops.Conv2D(
        **{"input": x, "filter": tf.zeros((3, 3, 6, 8)), "strides": [1, 2, 2, 1], **attrs}
    )


FIRST = {"data_format": "NCHW", "strides": [1, 1, 2, 1]}
OPERATIONS = {
    "Conv2D SAME": conv(padding="SAME"),
    "Conv2D VALID": conv(padding="VALID"),
    "Conv2D dilated": conv(padding="VALID", dilations=[1, 2, 3, 1], strides=[1, 1, 1, 1]),
    "Conv2D EXPLICIT": conv(padding="EXPLICIT", explicit_paddings=[0, 0, 1, 2, 3, 0, 0, 0]),
    "Conv2D NCHW": lambda x: tf.raw_ops.Conv2D(input=x, filter=tf.zeros((3, 3, 9, 8)), padding="SAME", **FIRST),
    "Conv2D grouped": lambda x: tf.raw_ops.Conv2D(
        input=x, filter=tf.zeros((3, 3, 2, 9)), strides=[1, 1, 1, 1], padding="SAME"
    ),
    "Conv3D": lambda x: tf.raw_ops.Conv3D(
        input=x[..., None], filter=tf.zeros((3, 2, 2, 1, 4)), strides=[1, 2, 1, 2, 1], padding="SAME"
    ),
    "DepthwiseConv2dNative": lambda x: tf.raw_ops.DepthwiseConv2dNative(
        input=x, filter=tf.zeros((5, 5, 6, 2)), strides=[1, 2, 2, 1], padding="SAME", dilations=[1, 1, 1, 1]
    ),
    "Conv2DBackpropInput": lambda x: tf.raw_ops.Conv2DBackpropInput(
        input_sizes=[1, 18, 24, 4], filter=tf.zeros((4, 4, 4, 6)), out_backprop=x, strides=[1, 2, 2, 1], padding="SAME"
    ),
    "MaxPool": lambda x: tf.raw_ops.MaxPool(input=x, ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="SAME"),
    "MaxPoolV2": lambda x: tf.raw_ops.MaxPoolV2(input=x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID"),
    "AvgPool": lambda x: tf.raw_ops.AvgPool(value=x, ksize=[1, 2, 3, 1], strides=[1, 2, 3, 1], padding="VALID"),
    "MaxPoolWithArgmax": lambda x: tf.raw_ops.MaxPoolWithArgmax(
        input=x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME"
    ),
    "FusedBatchNormV3": lambda x: tf.raw_ops.FusedBatchNormV3(
        x=x, scale=tf.ones(6), offset=tf.ones(6), mean=tf.ones(6), variance=tf.ones(6), is_training=False
    ),
    "Mean": lambda x: tf.raw_ops.Mean(input=x, axis=[1, 2], keep_dims=False),
    "Mean kept": lambda x: tf.raw_ops.Mean(input=x, axis=[-1], keep_dims=True),
    "Sum": lambda x: tf.raw_ops.Sum(input=x, axis=3),
    "Max": lambda x: tf.raw_ops.Max(input=x, axis=[0, -2]),
    "Prod": lambda x: tf.raw_ops.Prod(input=x, axis=[1]),
    "ArgMax": lambda x: tf.raw_ops.ArgMax(input=x, dimension=-1),
    "MatMul": lambda x: tf.raw_ops.MatMul(a=x[0, 0], b=tf.zeros((4, 6)), transpose_b=True),
    "BatchMatMulV2": lambda x: tf.raw_ops.BatchMatMulV2(x=x, y=tf.zeros((12, 5)), adj_x=True),
    "Einsum": lambda x: tf.raw_ops.Einsum(inputs=[x, x], equation="abcd,aecd->abce"),
    "Einsum ...": lambda x: tf.raw_ops.Einsum(inputs=[x, tf.zeros((6, 2, 4))], equation="...x,xio->...io"),
    "ConcatV2": lambda x: tf.raw_ops.ConcatV2(values=[x, x, x], axis=-1),
    "Pack": lambda x: tf.raw_ops.Pack(values=[x, x], axis=2),
    "Unpack": lambda x: tf.raw_ops.Unpack(value=x, num=9, axis=1),
    "Split": lambda x: tf.raw_ops.Split(axis=-1, value=x, num_split=3),
    "SplitV": lambda x: tf.raw_ops.SplitV(value=x, size_splits=[4, -1, 3], axis=2, num_split=3),
    "StridedSlice": lambda x: x[:, 1:-1:2, ::-1, None, 3],
    "StridedSlice ...": lambda x: x[..., 2:5],
    "Slice": lambda x: tf.raw_ops.Slice(input=x, begin=[0, 1, 2, 3], size=[1, -1, 4, 2]),
    "GatherV2": lambda x: tf.raw_ops.GatherV2(params=x, indices=[[0, 1], [2, 3]], axis=2),
    "Reshape": lambda x: tf.raw_ops.Reshape(tensor=x, shape=[3, -1, 6]),
    "Squeeze": lambda x: tf.raw_ops.Squeeze(input=x, axis=[0]),
    "Squeeze all": lambda x: tf.raw_ops.Squeeze(input=x),
    "ExpandDims": lambda x: tf.raw_ops.ExpandDims(input=x, axis=-1),
    "Transpose": lambda x: tf.raw_ops.Transpose(x=x, perm=[0, 3, 1, 2]),
    "Tile": lambda x: tf.raw_ops.Tile(input=x, multiples=[1, 2, 3, 1]),
    "BroadcastTo": lambda x: tf.raw_ops.BroadcastTo(input=x, shape=[4, 9, 12, 6]),
    "Pad": lambda x: tf.raw_ops.Pad(input=x, paddings=[[0, 0], [1, 2], [3, 4], [0, 0]]),
    "PadV2": lambda x: tf.raw_ops.PadV2(input=x, paddings=[[0, 0], [1, 2], [0, 0], [5, 0]], constant_values=1.0),
    "MirrorPad": lambda x: tf.raw_ops.MirrorPad(input=x, paddings=[[0, 0], [1, 2], [3, 4], [0, 0]], mode="REFLECT"),
    "ResizeBilinear": lambda x: tf.raw_ops.ResizeBilinear(images=x, size=[20, 5]),
    "ResizeNearestNeighbor": lambda x: tf.raw_ops.ResizeNearestNeighbor(images=x, size=[20, 5]),
    "SpaceToDepth": lambda x: tf.raw_ops.SpaceToDepth(input=x[:, :8], block_size=2),
    "DepthToSpace": lambda x: tf.raw_ops.DepthToSpace(input=x[..., :4], block_size=2),
    "AddV2": lambda x: x + tf.zeros((12, 1)),
    "Mul": lambda x: x * x[:, :1, :1],
    "Select": lambda x: tf.raw_ops.SelectV2(condition=x > 0, t=x, e=0.0),
    "Relu": lambda x: tf.raw_ops.Relu(features=x),
    "Softmax": lambda x: tf.nn.softmax(x[0, 0]),
    "TopKV2": lambda x: tf.raw_ops.TopKV2(input=x, k=2),
    "OneHot": lambda x: tf.raw_ops.OneHot(indices=[1, 2], depth=x.shape[1], on_value=1.0, off_value=0.0, axis=0),
    "Cumsum": lambda x: tf.raw_ops.Cumsum(x=x, axis=1),
    "Cast": lambda x: tf.cast(x, tf.int32),
    "Range": lambda x: tf.raw_ops.Range(start=2, limit=11, delta=4),
    "Fill": lambda x: tf.raw_ops.Fill(dims=[2, 3], value=1.0),
    "Shape": lambda x: tf.raw_ops.Shape(input=x),
    "CropAndResize": lambda x: tf.raw_ops.CropAndResize(
        image=x, boxes=tf.zeros((5, 4)), box_ind=tf.zeros(5, tf.int32), crop_size=[7, 7]
    ),
    "NonMaxSuppressionV5": lambda x: tf.raw_ops.NonMaxSuppressionV5(
        boxes=tf.reshape(x, (-1, 4)), scores=tf.zeros(162), max_output_size=20, iou_threshold=0.5, score_threshold=0.1,
        soft_nms_sigma=0.0, pad_to_max_output_size=True,
    ),
}  # fmt: skip


def ours(operation):
    """The operation of TensorFlow as the reader's."""
    inputs = [
        Tensor(Value(tuple(t.shape)), None if (v := tf.get_static_value(t)) is None else np.asarray(v))
        for t in operation.inputs
    ]
    return Operation(operation.type, operation.name, inputs, attributes(operation.node_def))


@pytest.mark.parametrize("name", OPERATIONS)
def test_shapes_are_tensorflows(name):
    with tf.Graph().as_default() as graph:
        OPERATIONS[name](tf.compat.v1.placeholder(tf.float32, IMAGE))
        for operation in graph.get_operations():
            if operation.type in ("Placeholder", "Const"):
                continue
            assert operation.type in SHAPES
            expected = [tuple(t.shape) for t in operation.outputs if t.shape.is_fully_defined()]
            assert infer(ours(operation))[: len(expected)] == expected


@pytest.mark.parametrize("name", ["SpaceToBatchND", "BatchToSpaceND"])
def test_a_batch_made_of_space_is_left_out(name):
    margin = "paddings" if name.startswith("Space") else "crops"
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (9, *IMAGE[1:]))
        getattr(tf.raw_ops, name)(input=x, block_shape=[3, 3], **{margin: [[0, 0], [2, 1]]})
        operation = graph.get_operations()[-1]
        op = ours(operation)
        op.inputs[0] = Tensor(Value(IMAGE))
        assert infer(op) == [(1, *operation.outputs[0].shape[1:])]


@pytest.mark.parametrize(
    "compute",
    [
        lambda s: s[1:3] * 2,
        lambda s: tf.stack([s[0], tf.reduce_prod(s[1:]) // 4 - 1], axis=0),
        lambda s: tf.concat([s, [7]], 0),
        lambda s: tf.cast(tf.cast(s, tf.float32) / 4.0, tf.int32),
        lambda s: tf.unstack(s)[2] % 5,
        lambda s: tf.split(s, 2)[1],
        lambda s: tf.gather(s, [3, 0]),
        lambda s: tf.reshape(tf.tile(s, [2]), (2, -1))[1],
        lambda s: tf.maximum(tf.range(0, 8, 2), s),
        lambda s: tf.where(s > 8, s, -s),
        lambda s: tf.transpose(tf.expand_dims(s, 0)),
        lambda s: tf.fill([2], s[1]) + tf.ones_like(s[:2]),
    ],
)
def test_arithmetic_on_shapes_is_tensorflows(compute):
    with tf.Graph().as_default() as graph:
        result = compute(tf.constant(IMAGE))
        known = {}
        for operation in graph.get_operations():
            if operation.type == "Const":
                found = [np.asarray(tf.get_static_value(operation.outputs[0]))]
            else:
                op = ours(operation)
                op.inputs = [Tensor(Value(tuple(t.shape)), known[t.name]) for t in operation.inputs]
                op.shapes = infer(op)
                found = fold(op)
            known.update({t.name: array for t, array in zip(operation.outputs, found, strict=True)})
    with tf.compat.v1.Session(graph=graph) as session:
        np.testing.assert_array_equal(known[result.name], session.run(result))


# --- ways to save and freeze ----------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    """A network of Keras with most of what changes on its way into a file."""
    x = start = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Activation("swish")(x)
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = keras.layers.Conv2D(8, 1, activation="hard_sigmoid")(gate)
    x = keras.layers.Multiply()([x, gate])
    x = keras.layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", depth_multiplier=2)(x)
    x = keras.layers.Conv2DTranspose(4, 2, strides=2)(x)
    x = keras.layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = keras.layers.ZeroPadding2D(1)(x)
    x = keras.layers.Concatenate()([x, keras.layers.LeakyReLU()(x)])
    x = keras.layers.Dense(5, activation="softmax")(keras.layers.Flatten()(x))
    return keras.Model(start, x, name="small")


def names(graph):
    return [Op(op).name for op in graph.op.tolist()]


def concrete(model, shape):
    return tf.function(model).get_concrete_function(tf.TensorSpec((1, *shape), tf.float32))


def frozen(model, shape, path):
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    graph = convert_variables_to_constants_v2(concrete(model, shape)).graph
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def test_a_keras_model_is_read_operation_by_operation(small):
    graph = read_keras(small)
    assert (
        names(graph)
        == (
            "Input Conv BatchNorm Swish Mean Conv ReLU6 Mul Depthwise ConvTranspose Resize Paddings LeakyReLU Concat "
            "MatMul Softmax Output"
        ).split()
    )
    assert graph.params.sum() == small.count_params() - 2 * 8  # moving mean and variance are no parameters


def test_layers_that_keras_spells_out_have_their_names():
    x = start = keras.Input((16, 32))
    x = keras.layers.LayerNormalization()(x)
    x = keras.layers.MultiHeadAttention(4, 8)(x, x)
    x = keras.layers.LayerNormalization(center=False)(x)
    x = keras.layers.Dense(64, activation="gelu")(x)
    x = keras.layers.PReLU(shared_axes=[1])(x)
    x = keras.layers.GroupNormalization(4)(x)
    model = keras.Model(start, x)
    graph = read_keras(model)
    assert sorted(names(graph)) == sorted(
        "Input LayerNorm MatMul MatMul MatMul MatMul Softmax MatMul MatMul LayerNorm MatMul GeLU PReLU GroupNorm "
        "Output".split()
    )
    assert graph.params.sum() == model.count_params()
    assert graph.groups.tolist().count(4) == 2  # scores, and values by scores
    assert graph.bias.sum() == 5
    assert not problems(graph)


def test_every_way_to_save_gives_one_graph(small, tmp_path):
    expected = read_keras(small).fingerprint
    small.save(tmp_path / "small.keras")
    small.save(tmp_path / "small.h5")
    small.export(tmp_path / "exported", verbose=False)
    assert read_keras(tmp_path / "small.keras").fingerprint == expected
    assert read_keras(tmp_path / "small.h5").fingerprint == expected
    assert read_saved_model(tmp_path / "exported").fingerprint == expected
    assert read_graphdef(frozen(small, (16, 16, 3), tmp_path / "small.pb")).fingerprint == expected


def test_freezing_as_tensorflow_1_did_gives_the_same_graph(tmp_path):
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        x = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 3), name="x")
        kernel = tf.compat.v1.get_variable("kernel", (3, 3, 3, 4), use_resource=False)
        bias = tf.compat.v1.get_variable("bias", (4,), use_resource=True)
        tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias), name="y")
        variables = graph.as_graph_def()
        session.run(tf.compat.v1.global_variables_initializer())
        constants = tf.compat.v1.graph_util.convert_variables_to_constants(session, variables, ["y"])
    path = tmp_path / "network.pb"
    graphs = []
    for graph_def in (tf.compat.v1.graph_util.extract_sub_graph(variables, ["y"]), constants):
        path.write_bytes(graph_def.SerializeToString())
        graphs.append(read_graphdef(path))
    assert names(graphs[0]) == ["Input", "Conv", "ReLU", "Output"]
    assert graphs[0].params.tolist() == [0, 112, 0, 0]
    assert graphs[0] == graphs[1]


def test_a_signature_is_chosen_by_name(tmp_path):
    def spec(name, *shape):
        return tf.TensorSpec((None, *shape), tf.float32, name)

    class Module(tf.Module):
        @tf.function(input_signature=[spec("image", 4, 4, 2)])
        def first(self, image):
            return {"y": tf.nn.relu(image)}

        @tf.function(input_signature=[spec("a", 3), spec("b", 3)])
        def second(self, a, b):
            return {"y": tf.nn.tanh(a) + b}

    module = Module()
    tf.saved_model.save(module, str(tmp_path), {"first": module.first, "second": module.second})
    assert names(read_saved_model(tmp_path, signature="first")) == ["Input", "ReLU", "Output"]
    with pytest.raises(GraphError, match=r"signature 'second' of .* has 2 inputs: a, b; choose one by its name"):
        read_saved_model(tmp_path, signature="second")
    chosen = read_saved_model(tmp_path, signature="second", input_name="a")
    assert names(chosen) == ["Input", "Tanh", "Output"]


# --- Keras models that cannot be read ---------------------------------------------------


def test_code_inside_a_file_is_not_run(tmp_path):
    start = keras.Input((4,))
    keras.Model(start, keras.layers.Lambda(lambda x: x * 2)(start)).save(tmp_path / "evil.keras")
    with pytest.raises(GraphError, match=r"evil\.keras cannot be loaded: .*allowed are models without Lambda layers"):
        read_keras(tmp_path / "evil.keras")


def test_files_that_are_no_keras_models(tmp_path):
    with pytest.raises(GraphError, match=r"x\.zip is no Keras file; allowed are \.keras, \.h5, \.hdf5"):
        read_keras(tmp_path / "x.zip")
    with pytest.raises(GraphError, match=r"x\.keras does not exist; give a Keras file"):
        read_keras(tmp_path / "x.keras")
    keras.Model(start := keras.Input((4,)), start).save_weights(tmp_path / "x.weights.h5")
    with pytest.raises(GraphError, match=r"x\.weights\.h5 cannot be loaded: No model config found"):
        read_keras(tmp_path / "x.weights.h5")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_damaged_file_is_called_so(small, tmp_path, suffix):
    path = tmp_path / f"small.{suffix}"
    small.save(path)
    whole = path.read_bytes()
    for data in (whole[: len(whole) * 3 // 4], b"no model"):
        path.write_bytes(data)
        with pytest.raises(GraphError, match=rf"small\.{suffix} is damaged, or no Keras file; save the model again$"):
            read_keras(path)


def test_models_of_several_inputs_or_none_are_refused():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    with pytest.raises(GraphError, match=r"has 2 inputs: 'a' \(None, 4\), 'b' \(None, 4\); give a model of one input"):
        read_keras(keras.Model([a, b], keras.layers.Add()([a, b])))
    with pytest.raises(GraphError, match=r"is not built, so its input is unknown"):
        read_keras(keras.Sequential([keras.layers.Dense(3)]))


def test_sizes_that_a_model_leaves_open():
    start = keras.Input((None, None, 3))
    model = keras.Model(start, keras.layers.Conv2D(4, 3)(start), name="open")
    with pytest.raises(GraphError, match=r"Keras model 'open': the input .* has the shape \(\?, \?, \?, 3\)"):
        read_keras(model)
    assert read_keras(model, (8, 8, 3)) == read_keras(model, (3, 8, 8))
    assert read_keras(keras.Sequential([keras.layers.Conv2D(4, 3)]), (8, 8, 3)) == read_keras(model, (8, 8, 3))


# --- one network, one graph -------------------------------------------------------------


def stride_first(model):
    """torchvision's ResNet with the stride of a block in its first convolution, as Keras has it."""
    for module in model.modules():
        if hasattr(module, "conv3"):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, (1, 1)
    return model


def keras_and_torch(name, twin, size, path, change=lambda m: m, **arguments):
    """The canonical graphs of a network: Keras's, frozen the TF2 way, and torchvision's."""
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    options = {"weights": None, "classifier_activation": None, "classes": 10, **arguments}
    model = getattr(keras.applications, name)(input_shape=(size, size, 3), **options)
    with torch.device("meta"):
        other = change(getattr(torchvision.models, twin)(num_classes=10))
    graphs = read_keras(model), read_graphdef(frozen(model, (size, size, 3), path)), trace(other, (3, size, size))
    keras.backend.clear_session()
    return [canonical(graph) for graph in graphs]


NETWORKS = {
    "MobileNetV2": ("mobilenet_v2", 96, {}),
    "ResNet50": ("resnet50", 64, {"change": stride_first}),
    "MobileNetV3Large": ("mobilenet_v3_large", 96, {"include_preprocessing": False}),
    "EfficientNetB0": ("efficientnet_b0", 96, {}),
    "DenseNet121": ("densenet121", 64, {}),
    "InceptionV3": ("inception_v3", 96, {}),
    "VGG16": ("vgg16", 224, {}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_keras_frozen_and_torch_are_one_graph(name, tmp_path):
    twin, size, options = NETWORKS[name]
    from_keras, from_file, from_torch = keras_and_torch(name, twin, size, tmp_path / "network.pb", **options)
    assert from_keras.fingerprint == from_file.fingerprint
    assert from_keras.fingerprint == from_torch.fingerprint
