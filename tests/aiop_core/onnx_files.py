"""Writes ONNX files of few operators, and runs them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from aiop_core.graph.ops import Op

IMAGE = (1, 4, 9, 10)


def node(op, *inputs, outputs=("y",), domain="", **attributes):
    return helper.make_node(op, list(inputs), list(outputs), domain=domain, **attributes)


def f(*shape):
    """Weights of that shape."""
    return (np.arange(np.prod(shape), dtype=np.float32) / 7 + 0.1).reshape(shape)


def i(*numbers):
    return np.array(numbers, dtype=np.int64)


def save(path, nodes, constants, opset, shape=IMAGE, domains=()):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8 if opset < 19 else 10)
    path.write_bytes(model.SerializeToString())
    return model


def run(model, shape):
    """What the model gives for numbers, by ONNX Runtime, else by ONNX."""
    import onnxruntime
    from onnx.reference import ReferenceEvaluator
    from onnxruntime.capi import onnxruntime_pybind11_state as refusals

    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    inferred = onnx.shape_inference.infer_shapes(model)
    del model.graph.output[:]
    model.graph.output.extend(inferred.graph.output)
    if not model.graph.output[0].type.tensor_type.elem_type:
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, {"x": x})[0]
    except (refusals.Fail, refusals.InvalidArgument, refusals.InvalidGraph, refusals.NotImplemented):
        return ReferenceEvaluator(model).run(None, {"x": x})[0]


def names(graph):
    return " ".join(Op(int(op)).name for op in graph.op[1:-1])


def volume(graph):
    """How many numbers the output has."""
    return int(graph.resolution[-1, [1, 3, 5]].astype(np.int64).prod())
