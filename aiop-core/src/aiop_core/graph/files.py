"""One graph in one safetensors file, which opens without any class of ours."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from aiop_core.errors import GraphError
from aiop_core.graph.model import NODE_COLUMNS, Graph

FORMAT = "aiop-graph"
VERSION = 1


@dataclass(frozen=True)
class SavedGraph:
    """A graph as a file holds it: with a name, and how it was made as JSON values."""

    graph: Graph
    name: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


def save_graph(graph: Graph, path: Path, *, name: str = "", provenance: Mapping[str, Any] | None = None) -> None:
    """Write the file in one piece: a killed writer leaves the old one.

    Raises:
        GraphError: if it cannot be written.
    """
    columns = {f"nodes.{column}": getattr(graph, column) for column in NODE_COLUMNS} | {"edges": graph.edges}
    header = {
        "format": FORMAT,
        "version": str(VERSION),
        "name": name,
        "provenance": json.dumps(dict(provenance or {})),
    }
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(save({key: np.ascontiguousarray(column) for key, column in columns.items()}, metadata=header))
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise GraphError(f"{path} cannot be written: {error}") from error


def load_graph(path: Path) -> SavedGraph:
    """Read and check a graph.

    Raises:
        GraphError: if the file is missing, damaged, of another format or version, or its
            graph breaks an invariant.
    """
    if not path.is_file():
        raise GraphError(f"there is no graph at {path}; 'aiop graph save MODEL -o {path}' writes one")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise GraphError(f"{path} is a safetensors file, but no graph; 'aiop graph save' writes one")
            if header.get("version") != str(VERSION):
                raise GraphError(f"{path} has version {header.get('version')}; this aiop reads {VERSION}: update aiop")
            columns = {name: file.get_tensor(f"nodes.{name}") for name in NODE_COLUMNS}
            edges = file.get_tensor("edges")
        for name, column in columns.items():
            if column.dtype != np.dtype(NODE_COLUMNS[name][0]):
                raise ValueError(f"column '{name}' is of type {column.dtype}")
        if edges.dtype != np.int32:
            raise ValueError(f"the edges are of type {edges.dtype}")
        provenance = json.loads(header["provenance"])
        return SavedGraph(Graph(**columns, edges=edges), header["name"], provenance)
    except GraphError as error:
        raise error if str(path) in str(error) else GraphError(f"{path} is damaged: {error}") from error
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise GraphError(f"{path} is damaged or no graph ({error}); make it again") from error
