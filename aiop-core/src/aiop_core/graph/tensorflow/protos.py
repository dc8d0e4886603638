"""Bytes of a file as protocol buffers, and their attributes as plain Python values.

The messages are those that tensorboard ships, so TensorFlow itself is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from aiop_core.errors import GraphError

INSTALL = "pip install 'aiop-core[graphdef]'"
SAVED_MODEL_FILE = "saved_model.pb"


@cache
def messages() -> Any:
    """The classes of the messages: ``GraphDef``, ``MetaGraphDef`` and ``SavedModel``.

    Raises:
        GraphError: if tensorboard is not installed.
    """
    try:
        from tensorboard.compat.proto import graph_pb2, meta_graph_pb2
    except ImportError as error:
        raise GraphError(f"reading TensorFlow files needs the messages that tensorboard ships: {INSTALL}") from error
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    # tensorboard ships no SavedModel; its one field that matters holds the bytes of each MetaGraphDef
    file = descriptor_pb2.FileDescriptorProto(name="aiop/saved_model.proto", package="aiop", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    file.message_type.add(name="SavedModel").field.add(
        name="meta_graphs", number=2, label=field.LABEL_REPEATED, type=field.TYPE_BYTES
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    saved_model = message_factory.GetMessageClass(pool.FindMessageTypeByName("aiop.SavedModel"))

    class Messages:
        GraphDef = graph_pb2.GraphDef
        MetaGraphDef = meta_graph_pb2.MetaGraphDef
        SavedModel = saved_model

    return Messages


def parse(kind: str, data: bytes) -> Any | None:
    """A message of ``kind``, or ``None`` if the bytes are none."""
    from google.protobuf.message import DecodeError

    message = getattr(messages(), kind)()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    return message


def meta_graphs(data: bytes) -> list[Any]:
    """The graphs of a SavedModel's bytes; none if they are something else."""
    saved = parse("SavedModel", data)
    found = [parse("MetaGraphDef", part) for part in saved.meta_graphs] if saved is not None else []
    return [graph for graph in found if graph is not None and len(graph.graph_def.node)]


def read_bytes(path: Path) -> bytes:
    """What a file holds.

    Raises:
        GraphError: if it cannot be read or is empty.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GraphError(f"{path} cannot be read: {error.strerror}; give a frozen graph (.pb)") from error
    if not data:
        raise GraphError(f"{path} is empty; give a frozen graph (.pb) or the folder of a SavedModel")
    return data


def read_frozen(path: Path) -> Any:
    """The GraphDef of a frozen file.

    Raises:
        GraphError: if the file is missing, empty, text, truncated, a SavedModel or something else.
    """
    if path.is_dir():
        hint = "give it as a SavedModel" if (path / SAVED_MODEL_FILE).is_file() else "give a file inside it"
        raise GraphError(f"{path} is a folder, not a frozen graph; {hint}")
    data = read_bytes(path)
    graph_def = parse("GraphDef", data)
    if graph_def is not None and len(graph_def.node):
        return graph_def
    if meta_graphs(data):
        raise GraphError(f"{path} is a SavedModel, not a frozen graph; give its folder {path.parent} as a SavedModel")
    if data.lstrip().startswith((b"node {", b"node{")):
        raise GraphError(f"{path} is a GraphDef in text form; write it in binary form (as_text=False)")
    state = "truncated or no" if graph_def is None else "no"
    raise GraphError(
        f"{path} is {state} TensorFlow graph; allowed is a binary frozen GraphDef (.pb), "
        "as convert_variables_to_constants_v2 makes it"
    )


def attribute(value: Any) -> Any:
    """An AttrValue in Python: text, numbers, a shape (-1 for unknown, ``None`` for any rank), a list of them."""
    kind = value.WhichOneof("value")
    if kind == "list":
        for name in ("s", "i", "f", "b", "type", "shape"):
            if items := getattr(value.list, name):
                return [_plain(name, item) for item in items]
        return []
    if kind is None:
        return None
    return _plain(kind, getattr(value, kind))


def _plain(kind: str, value: Any) -> Any:
    if kind == "s":
        return value.decode("utf-8", "replace")
    if kind == "shape":
        return declared_shape(value)
    if kind == "func":
        return value.name
    return value


def declared_shape(shape: Any) -> tuple[int, ...] | None:
    """A TensorShapeProto; -1 for an unknown size, ``None`` for an unknown rank."""
    return None if shape.unknown_rank else tuple(dim.size for dim in shape.dim)


def attributes(node: Any) -> Mapping[str, Any]:
    """The attributes of a NodeDef; a constant's ``value`` stays a message."""
    return {name: attribute(value) for name, value in node.attr.items()}
