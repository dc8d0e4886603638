"""What a file holds, told by its contents; a suffix may mislead."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import BinaryIO

MAX_HEADER = 100_000_000
"""Of a safetensors file; its specification allows no more."""

MAX_FIELDS = 100_000
"""Of a protocol buffer's outermost message; large graphs have some ten thousand nodes."""

_START = 4096
"""Bytes that most formats are told by."""


class Format(Enum):
    """What a file holds, in words."""

    ONNX = "an ONNX model"
    GRAPHDEF = "a frozen TensorFlow graph"
    SAVED_MODEL = "the description of a TensorFlow SavedModel"
    HDF5 = "an HDF5 file, as Keras wrote .h5"
    KERAS = "a Keras archive"
    GRAPH = "a graph of aiop"
    CACHE = "a graph cache of aiop"
    TENSORS = "safetensors without a graph: weights alone"
    TORCHSCRIPT = "a TorchScript archive"
    EXPORTED = "a torch.export archive"
    CHECKPOINT = "a torch checkpoint: weights alone"
    PICKLE = "a pickle"
    TFLITE = "a TensorFlow Lite model"
    COREML = "a Core ML model"
    EMPTY = "empty"
    DAMAGED = "a damaged archive"
    JSON = "JSON"
    TEXT = "a text"
    ZIP = "a zip archive"
    UNKNOWN = "of an unknown format"


def recognise(path: Path) -> Format:
    """What ``path`` holds. Reads little of it, and runs nothing that it holds.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_START)
        size = file.seek(0, 2)
        if not start:
            return Format.EMPTY
        if start.startswith(b"\x89HDF\r\n\x1a\n"):
            return Format.HDF5
        if start[4:8] == b"TFL3":
            return Format.TFLITE
        if start.startswith(b"PK\x03\x04"):
            return _archive(path)
        if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= min(size, MAX_HEADER):
            return _safetensors(file)
        if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
            return Format.PICKLE
        if _is_text(start):
            return Format.JSON if start.lstrip()[:1] in (b"{", b"[") else Format.TEXT
        return _protobuf(file, size)


def _archive(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()] + archive.namelist()
    except (zipfile.BadZipFile, ValueError):
        return Format.DAMAGED
    if "config.json" in names and "metadata.json" in names:
        return Format.KERAS
    if "archive_format" in names or "serialized_exported_program.json" in names:
        return Format.EXPORTED
    if "data.pkl" in names:
        return Format.TORCHSCRIPT if any(name.startswith("code/") for name in names) else Format.CHECKPOINT
    return Format.ZIP


def _safetensors(file: BinaryIO) -> Format:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    try:
        header = json.loads(file.read(length))
        kind = header.get("__metadata__", {}).get("format")
    except (ValueError, AttributeError, RecursionError):
        return Format.UNKNOWN
    return {"aiop-graph": Format.GRAPH, "aiop-graph-cache": Format.CACHE}.get(kind, Format.TENSORS)


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(start) < _START or error.start < _START - 3:  # else a character is cut
            return False
        text = start[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\n\r\f" for character in text)


def _protobuf(file: BinaryIO, size: int) -> Format:
    """Which message a protocol buffer is, by the numbers and types of its outermost fields."""
    try:
        fields = set(_fields(file, size))
    except ValueError:
        return Format.UNKNOWN
    varint, message = 0, 2
    if (1, message) in fields and fields <= {(1, message), (2, message), (3, varint), (4, message), (5, message)}:
        return Format.GRAPHDEF
    if fields == {(1, varint), (2, message)}:
        return Format.SAVED_MODEL
    if (1, varint) in fields and any(number >= 200 for number, _ in fields):
        return Format.COREML
    return Format.ONNX if (7, message) in fields and (1, varint) in fields else Format.UNKNOWN


def _fields(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """(number, wire type) of each outermost field; raises ``ValueError`` where it is no protocol buffer."""
    file.seek(0)
    for _ in range(MAX_FIELDS):
        if file.tell() >= size:
            return
        key = _varint(file)
        number, kind = key >> 3, key & 7
        length = {1: 8, 5: 4}.get(kind)
        if kind == 0:
            _varint(file)
            length = 0
        elif kind == 2:
            length = _varint(file)
        if not number or length is None or file.tell() + length > size:
            raise ValueError
        yield number, kind
        file.seek(length, 1)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError
