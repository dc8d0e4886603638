"""From a Keras model to our graph: traced by TensorFlow without its weights' contents, then read as a GraphDef."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aiop_core.errors import GraphError
from aiop_core.graph.model import Graph
from aiop_core.graph.recorder import Rule
from aiop_core.graph.tensorflow.graphdef import graph_of
from aiop_core.graph.tensorflow.inputs import input_shape_of
from aiop_core.graph.tensorflow.library import Node, Port, flatten, parse_port

SUFFIXES = (".keras", ".h5", ".hdf5")


def read_keras(
    model: Any,
    input_shape: Sequence[int] | None = None,
    rules: Mapping[str, Rule] = {},
) -> Graph:
    """The computation graph of a Keras model.

    Args:
        model: a built ``keras.Model``, or a ``.keras`` or ``.h5`` file. Code inside a file (a ``Lambda``
            layer) is never run.
        input_shape: of one input without the batch axis, where the model leaves sizes open.
        rules: for operations of one's own, by TensorFlow's name of them.

    Raises:
        GraphError: if TensorFlow is not installed, the file cannot be loaded, or the model has several inputs.
    """
    with _quiet():
        tensorflow, keras = libraries()
        source = f"Keras model '{model.name}'" if isinstance(model, keras.Model) else str(model)
        if not isinstance(model, keras.Model):
            model = _load(keras, Path(model))
        nodes, start, outputs = _traced(tensorflow, model, input_shape, source)
    return graph_of(nodes, source, None, rules, input_name=start, outputs=outputs)


@contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow warns at will; its errors still come."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _held_back() -> Iterator[None]:
    """What is written to the standard error stream, from C++ too, shows only if the block fails.

    TensorFlow greets before its log has a level, so that no setting keeps it quiet.
    """
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        except BaseException:
            written.seek(0)
            os.write(before, written.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)


def libraries() -> tuple[Any, Any]:
    """TensorFlow, and Keras on top of it.

    Raises:
        GraphError: if they are not installed, or Keras runs on something else.
    """
    if "tensorflow" not in sys.modules:
        with suppress(ImportError):  # torch's LLVM: loaded after TensorFlow's, it would end the process
            importlib.import_module("triton")
    try:
        with _held_back():
            import keras
            import tensorflow
    except ImportError as error:
        raise GraphError("reading a Keras model needs TensorFlow: pip install 'aiop-core[tensorflow]'") from error
    if keras.backend.backend() != "tensorflow":
        raise GraphError(
            f"Keras runs on {keras.backend.backend()} here; set KERAS_BACKEND=tensorflow before it is imported"
        )
    return tensorflow, keras


def _load(keras: Any, path: Path) -> Any:
    """The model in a file, without code that the file carries.

    Raises:
        GraphError: if it is missing, of another kind, or cannot be loaded safely.
    """
    if path.suffix not in SUFFIXES:
        raise GraphError(f"{path} is no Keras file; allowed are {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise GraphError(f"{path} does not exist; give a Keras file ({', '.join(SUFFIXES)})")
    if not _is_whole(path):
        raise GraphError(f"{path} is damaged, or no Keras file; save the model again")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what the layer raises
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise GraphError(
            f"{path} cannot be loaded: {reason[:200]}; allowed are models without Lambda layers or classes of "
            "their own; build the model in Python instead and give file.py:factory"
        ) from error


def _is_whole(path: Path) -> bool:
    """Whether the container opens, so that what fails later is the model in it."""
    if path.suffix == ".keras":
        return zipfile.is_zipfile(path)
    h5py = importlib.import_module("h5py")  # Keras brings it
    try:
        h5py.File(path, "r").close()
    except OSError:
        return False
    return True


def _variable_shape(captured: Any) -> tuple[int, ...] | None:
    """The shape of the variable that a handle stands for; ``None`` for other tensors."""
    handle = getattr(captured, "_handle_data", None)
    if handle is None or not handle.is_set:
        return None
    return tuple(dim.size for dim in handle.shape_and_type[0].shape.dim)


def _traced(
    tensorflow: Any, model: Any, input_shape: Sequence[int] | None, source: str
) -> tuple[dict[str, Node], str, list[Port]]:
    """The nodes of the model in inference, the input's name and the outputs; variables as handles."""
    inputs = getattr(model, "inputs", None) or []
    if not inputs and input_shape is None:
        raise GraphError(f"{source} is not built, so its input is unknown; give --input-shape")
    if len(inputs) > 1:
        names = ", ".join(f"'{tensor.name}' {tuple(tensor.shape)}" for tensor in inputs)
        raise GraphError(f"{source} has {len(inputs)} inputs: {names}; give a model of one input")
    name, sizes, dtype = (inputs[0].name, inputs[0].shape, inputs[0].dtype) if inputs else ("input", None, "float32")
    declared = sizes and tuple(-1 if size is None else int(size) for size in sizes)
    shape = input_shape_of(Node(name, "Placeholder", (), {"shape": declared}), input_shape, source)
    spec = tensorflow.TensorSpec(shape, dtype, name="input")
    function = tensorflow.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    nodes = flatten(function.graph.as_graph_def(), source)
    for captured, placeholder in function.graph.captures:
        name = placeholder.op.name
        sizes = _variable_shape(captured)
        nodes[name] = Node(name, "Placeholder" if sizes is None else "VarHandleOp", (), {"shape": sizes or ()})
    outputs = [parse_port(tensor.name) for tensor in function.outputs]
    return nodes, function.inputs[0].op.name, outputs
