"""From a SavedModel to our graph, without TensorFlow: its messages hold shapes of variables, and no code is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiop_core.errors import GraphError
from aiop_core.graph.model import Graph
from aiop_core.graph.recorder import Rule
from aiop_core.graph.tensorflow.graphdef import graph_of
from aiop_core.graph.tensorflow.library import flatten, parse_port
from aiop_core.graph.tensorflow.protos import SAVED_MODEL_FILE, meta_graphs, parse, read_bytes

DEFAULT_SIGNATURE = "serving_default"
_INITIALISER = "__saved_model_init_op"


def read_saved_model(
    folder: str | Path,
    input_shape: Sequence[int] | None = None,
    signature: str | None = None,
    rules: Mapping[str, Rule] = {},
    *,
    input_name: str | None = None,
) -> Graph:
    """The computation graph of a signature of a SavedModel.

    Args:
        folder: with ``saved_model.pb`` in it; its variables are not read.
        input_shape: as of :func:`~aiop_core.graph.tensorflow.graphdef.read_graphdef`.
        signature: which; ``serving_default``, or the only one, by default.
        rules: for operations of one's own, by their name.
        input_name: which of the signature's inputs is the network's, if there are several.

    Raises:
        GraphError: if the folder is no SavedModel, has no such signature, or its graph cannot be read.
    """
    folder = Path(folder)
    meta = _meta_graph(folder)
    name, chosen = _signature(meta, signature, folder)
    inputs = {key: info.name for key, info in chosen.inputs.items()}
    if input_name is not None and input_name not in inputs:
        raise GraphError(
            f"signature '{name}' of {folder} has no input '{input_name}'; its inputs are {', '.join(sorted(inputs))}"
        )
    if input_name is None and len(inputs) > 1:
        raise GraphError(
            f"signature '{name}' of {folder} has {len(inputs)} inputs: {', '.join(sorted(inputs))}; "
            "choose one by its name (input_name)"
        )
    port = inputs[input_name] if input_name is not None else next(iter(inputs.values()), "")
    outputs = [parse_port(info.name) for _, info in sorted(chosen.outputs.items())]
    return graph_of(
        flatten(meta.graph_def, str(folder)), str(folder), input_shape, rules, input_name=port, outputs=outputs
    )


def _meta_graph(folder: Path) -> Any:
    """The graph for serving, or else the first.

    Raises:
        GraphError: if there is none in the folder.
    """
    if folder.is_file():
        raise GraphError(f"{folder} is a file, not the folder of a SavedModel; give a file as a frozen graph")
    file = folder / SAVED_MODEL_FILE
    if not file.is_file():
        frozen = sorted(path.name for path in folder.glob("*.pb")) if folder.is_dir() else []
        hint = f"{folder / frozen[0]} is there: give that file as a frozen graph" if frozen else "give its folder"
        raise GraphError(f"{folder} is no SavedModel: there is no {SAVED_MODEL_FILE}; {hint}")
    data = read_bytes(file)
    found = meta_graphs(data)
    if not found:
        frozen_graph = parse("GraphDef", data)
        if frozen_graph is not None and len(frozen_graph.node):
            raise GraphError(f"{file} is a frozen graph, not a SavedModel; give the file itself as a frozen graph")
        raise GraphError(f"{file} is damaged or no SavedModel; save the model again")
    return next((meta for meta in found if "serve" in meta.meta_info_def.tags), found[0])


def _signature(meta: Any, name: str | None, folder: Path) -> tuple[str, Any]:
    """The signature's name and definition.

    Raises:
        GraphError: if there is none of that name, or none of several is chosen.
    """
    found = {key: value for key, value in meta.signature_def.items() if key != _INITIALISER}
    if name is None:
        name = next(iter(found)) if len(found) == 1 else DEFAULT_SIGNATURE
    if name not in found:
        raise GraphError(f"{folder} has no signature '{name}'; its signatures are {', '.join(sorted(found)) or 'none'}")
    return name, found[name]
