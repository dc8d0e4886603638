"""Checkpoints of the research code: its ``.pt`` files, and the names that it gives the same tensors.

Source: Ascend-Research/AIO-P, ``CGRegressor``, ``CGRegressorAdapter`` and ``BookKeeper``.
"""

from __future__ import annotations

import _codecs
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aiop_core.errors import WeightsError
from aiop_predictor_gnn.adapters import Adapter
from aiop_predictor_gnn.checkpoint import load_state
from aiop_predictor_gnn.encoder import GraphRegressor
from aiop_predictor_gnn.nodes import VOCABULARIES
from aiop_predictor_gnn.rescaling import rescale

MODEL_KEY = "model"
"""Where a ``.pt`` file of its ``BookKeeper`` has the weights; beside them are the optimizer's and a score."""

BASE_MODULES = {
    "embed_layer.regular_embed_layer": "embedding.regular_op",
    "embed_layer.weighted_embed_layer": "embedding.weighted_op",
    "embed_layer.kernel_embed_layer": "embedding.kernel",
    "embed_layer.shape_embed_layer": "embedding.resolution",
    "embed_layer.bias_embed_layer": "embedding.bias",
    "encoder.gnn_layers": "encoder.layers",
    "post_proj": "projection",
    "regressor": "output",
}
"""The modules of a ``CGRegressor``, and ours."""

ADAPTER_MODULES = {"gnn_layers": "layers", **{str(i): f"projection.{i}" for i in (0, 1, 3, 4)}, "6": "output"}
"""The modules of an adapter's body and head, and ours."""

UNUSED = ("encoder.init_ff.", "aggregator.")
"""Modules that the research code builds and never calls."""


def from_paper(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a ``CGRegressor`` under our names, for ``vocabulary=paper``.

    Raises:
        WeightsError: if a name is not one of that network's.
    """
    ours = {}
    for name, value in state.items():
        if name.startswith(UNUSED):
            continue
        module = next((module for module in BASE_MODULES if name.startswith(module + ".")), None)
        if module is None:
            raise WeightsError(
                f"tensor '{name}' is not one of the research code's CGRegressor; allowed are {', '.join(BASE_MODULES)}"
            )
        ours[BASE_MODULES[module] + _layer(name.removeprefix(module))] = value
    return ours


def _layer(name: str) -> str:
    """A convolution's tensor as it is called since torch_geometric 2.0."""
    return name.replace(".lin_l.", ".lin_rel.").replace(".lin_r.", ".lin_root.")


def read_paper(path: Path) -> tuple[GraphRegressor, list[Adapter]]:
    """The network of a ``.pt`` file, and its adapters if it has any.

    A rescaling that the file holds is multiplied into the weights that it rescales.

    Raises:
        WeightsError: if the file cannot be read, or is not of the paper's network.
    """
    return networks_of(_tensors(path), str(path))


def networks_of(state: Mapping[str, Tensor], source: str) -> tuple[GraphRegressor, list[Adapter]]:
    """The same from the tensors under the research code's names; ``source`` is for messages."""
    base, adapters = _sorted({name: value.to(torch.float32, copy=True) for name, value in state.items()})
    with torch.device("meta"):
        network = GraphRegressor(VOCABULARIES["paper"])
        found = [Adapter() for _ in adapters]
    try:
        load_state(network, from_paper(base), source)
    except WeightsError as error:
        raise WeightsError(f"{source}: {str(error).removeprefix(f'{source}: ')}") from None
    for i, adapter in enumerate(found):
        load_state(adapter, adapters[i], f"{source}, adapter {i}")
    if "alpha" in state:
        outputs = [adapter.output for adapter in found] or [network.output]
        count, width = len(outputs), outputs[0].in_features + 1
        if state["alpha"].shape != (count,) or "b" not in state or state["b"].shape != (count, width):
            raise WeightsError(
                f"{source}: its rescaling is not one for each of {count} heads: alpha of shape {(count,)} and "
                f"b of shape {(count, width)} are needed; give the file as the research code wrote it"
            )
        for output, alpha, b in zip(outputs, state["alpha"], state["b"], strict=True):
            rescale(output, alpha, b)
    return network, found


def _sorted(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """The base network's tensors under its own names, and each adapter's under ours."""
    base: dict[str, Tensor] = {}
    adapters: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        if name in ("alpha", "b", "I"):
            continue
        part = re.fullmatch(r"adapter_(?:bodies|heads)\.(\d+)\.(.+)", name)
        if part is None:
            base[re.sub("^base_embed_l", "base_embed_layer", name).removeprefix("base_")] = value
        elif not part[2].startswith("base_encoder."):  # the backbone once more
            module, _, rest = part[2].partition(".")
            if module not in ADAPTER_MODULES:
                raise WeightsError(f"tensor '{name}' is not one of the research code's CGRegressorAdapter")
            adapters.setdefault(int(part[1]), {})[ADAPTER_MODULES[module] + _layer(f".{rest}")] = value
    return base, [adapters[k] for k in sorted(adapters)]


def _tensors(path: Path) -> dict[str, Tensor]:
    """The weights in a file; nothing else of it is kept."""
    old = "numpy.core.multiarray.scalar"  # before numpy 2
    scalar = type(np.float64(0)).__reduce__(np.float64(0))[0]
    allowed: list[Any] = [scalar, (scalar, old), np.dtype, np.dtypes.Float64DType, _codecs.encode]
    try:
        with torch.serialization.safe_globals(allowed):  # the file's best score is a numpy number
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path} is no checkpoint of the research code that can be read safely ({reason})"
        ) from error
    state = content.get(MODEL_KEY, content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(
            f"{path} holds no weights; give a .pt file that run_gpi_acc_predictor.py wrote into saved_models"
        )
    return dict(state)
