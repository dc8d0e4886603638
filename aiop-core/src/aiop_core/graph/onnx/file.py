"""Opening an ONNX file of unknown origin: parsed, checked and put in order before anything reads it."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, defs, inliner

from aiop_core.errors import GraphError

OLDEST_OPSET = 7
"""Before it, broadcasting and batch normalisation meant something else."""

LARGEST_NETWORK = 1_000_000
"""Nodes, functions inlined; more is no network but a trap of functions that call functions."""

LARGEST_FILE = 2**31
"""Bytes; a limit of protocol buffers."""

STANDARD = ("", "ai.onnx")
"""How a file may write the domain of the operations that ONNX itself defines."""


def load_model(path: Path) -> ModelProto:
    """The model in a file: one graph, functions inlined, contents kept in other files not read.

    Raises:
        GraphError: if the file is missing, empty, no ONNX file, of an opset that is not
            supported, or its functions call each other in a circle.
    """
    if not path.is_file():
        raise GraphError("is no file; give an .onnx file")
    if path.stat().st_size >= LARGEST_FILE:
        raise GraphError(
            "is larger than 2 GB, which no ONNX model is; export it with its weights in a file of their own"
        )
    data = path.read_bytes()
    if not data:
        raise GraphError("is empty, expected an ONNX model; was it downloaded or written to its end?")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # an error of protocol buffers, whose package gives no types
        raise GraphError("is no ONNX model, or only a part of one; export or download it again") from error
    if not model.graph.node or not model.opset_import:
        raise GraphError("holds no ONNX graph; export it with torch.onnx.export, tf2onnx or the like")
    _check_opset(model)
    return _inline(model)


def opset(model: ModelProto) -> int:
    """The version of the standard operations."""
    return max((o.version for o in model.opset_import if o.domain in STANDARD), default=0)


def _check_opset(model: ModelProto) -> None:
    version, newest = opset(model), defs.onnx_opset_version()
    if not OLDEST_OPSET <= version <= newest:
        remedy = "install a newer onnx" if version > newest else "convert it with onnx.version_converter"
        raise GraphError(
            f"is written in opset {version}; onnx {onnx.__version__} reads {OLDEST_OPSET} to {newest}; {remedy}"
        )


def _inline(model: ModelProto) -> ModelProto:
    """The model without functions of its own."""
    if not model.functions:
        return model
    called = {f"{f.domain}::{f.name}": Counter(_called(f.node)) for f in model.functions}
    try:
        order = list(TopologicalSorter({name: list(calls) for name, calls in called.items()}).static_order())
    except CycleError as error:
        raise GraphError(f"function {error.args[1][0]} calls itself; ONNX functions may not") from error
    sizes = {f"{f.domain}::{f.name}": len(f.node) for f in model.functions}
    for name in order:
        sizes[name] = sizes.get(name, 1) + sum(n * sizes.get(c, 1) for c, n in called.get(name, Counter()).items())
    if (total := sum(sizes.get(name, 1) for name in _called(model.graph.node))) > LARGEST_NETWORK:
        raise GraphError(f"functions expand to {total:,} nodes; at most {LARGEST_NETWORK:,} are read")
    for initializer in model.graph.initializer:
        if len(initializer.raw_data) > LARGEST_NETWORK:  # the inliner copies the model; no shape needs these
            initializer.ClearField("raw_data")
    return inliner.inline_local_functions(model)


def _called(nodes: Iterable[NodeProto]) -> Iterator[str]:
    for node in nodes:
        yield f"{node.domain}::{node.op_type}"
        for body in bodies(node):
            yield from _called(body.node)


def bodies(node: NodeProto) -> list[GraphProto]:
    """The graphs inside a node: branches of ``If``, bodies of ``Loop`` and ``Scan``."""
    return [g for a in node.attribute for g in ([a.g] if a.HasField("g") else list(a.graphs))]


def captured(node: NodeProto) -> set[str]:
    """The names that the graphs inside a node read from outside."""
    names: set[str] = set()
    for body in bodies(node):
        own = {i.name for i in body.input} | {i.name for i in body.initializer}
        own |= {name for n in body.node for name in n.output}
        read = {name for n in body.node for name in (*n.input, *captured(n))} | {o.name for o in body.output}
        names |= read - own - {""}
    return names


def in_order(nodes: Sequence[NodeProto], known: Iterable[str]) -> list[NodeProto]:
    """Nodes such that each comes after those it reads; unchanged where they already do.

    Raises:
        GraphError: if a node reads what nothing gives, two give the same, or they form a circle.
    """
    given = set(known)
    maker: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in maker or name in given:
                raise GraphError(f"{title(node)} gives '{name}', which something else gives, too; names must be unique")
            maker[name] = index
    waits: list[set[int]] = []
    readers: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        read = sorted({*filter(None, node.input), *captured(node)} - given)
        if missing := next((name for name in read if name not in maker), None):
            raise GraphError(f"{title(node)} reads '{missing}', which neither a node nor an input of the model gives")
        waits.append({maker[name] for name in read})
        for source in waits[index]:
            readers.setdefault(source, []).append(index)
    ready = [index for index, sources in enumerate(waits) if not sources]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(nodes[index])
        for reader in readers.get(index, []):
            waits[reader].discard(index)
            if not waits[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        node = next(node for node, sources in zip(nodes, waits, strict=True) if sources)
        raise GraphError(f"{title(node)} is part of a circle; a network that is read must have none")
    return order


def title(node: NodeProto) -> str:
    """How messages call a node."""
    return f"node '{node.name or next(iter(node.output), '')}' ({node.op_type})"


def first_line(error: Exception) -> str:
    """What a library says, as far as it fits one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
