"""Files of a trained network: its tensors as safetensors, everything else as JSON.

Also the names that the research code gives the same tensors, so that its weights load.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aiop_core.errors import WeightsError

WEIGHTS_FILE, SETTINGS_FILE = "gnn.safetensors", "gnn.json"

FORMAT = 1
"""Version of both files; raised when an older reader would misread them."""

PAPER_NAMES = {
    "embed_layer.regular_embed_layer": "embedding.regular_op",
    "embed_layer.weighted_embed_layer": "embedding.weighted_op",
    "embed_layer.kernel_embed_layer": "embedding.kernel",
    "embed_layer.shape_embed_layer": "embedding.resolution",
    "embed_layer.bias_embed_layer": "embedding.bias",
    "encoder.gnn_layers": "encoder.layers",
    "post_proj": "projection",
    "regressor": "output",
}
"""The research code's modules, and ours."""

PAPER_UNUSED = ("encoder.init_ff.", "aggregator.")
"""Modules of the research code that it builds and never calls."""


def write_checkpoint(folder: Path, network: nn.Module, settings: Mapping[str, Any]) -> None:
    """Write both files into ``folder``."""
    save_file({name: value.contiguous().cpu() for name, value in network.state_dict().items()}, folder / WEIGHTS_FILE)
    text = json.dumps({"format": FORMAT, "torch": torch.__version__, **settings}, indent=2)
    (folder / SETTINGS_FILE).write_text(text + "\n", encoding="utf-8")


def read_settings(folder: Path) -> dict[str, Any]:
    """What ``write_checkpoint`` was given as settings.

    Raises:
        WeightsError: if the file is missing, damaged, or of another version.
    """
    path = folder / SETTINGS_FILE
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist; give the folder that a fitted 'gnn' was saved into") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); fit and save the predictor again") from None
    if not isinstance(settings, dict) or settings.get("format") != FORMAT:
        found = settings.get("format") if isinstance(settings, dict) else None
        raise WeightsError(f"{path} has format {found}, this version reads {FORMAT}; fit and save the predictor again")
    return settings


def read_weights(folder: Path, network: nn.Module) -> None:
    """Give ``network`` the tensors in ``folder``.

    Raises:
        WeightsError: if the file is missing or damaged, or the tensors do not fit.
    """
    path = folder / WEIGHTS_FILE
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist; give the folder that a fitted 'gnn' was saved into") from None
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} is damaged ({error}); fit and save the predictor again") from None
    load_state(network, state, str(path))


def load_state(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Give ``network`` exactly the tensors of ``state``.

    Raises:
        WeightsError: naming ``source`` and the first tensor that is missing, unknown or of
            another shape.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise WeightsError(
                f"{source}: tensor '{name}' has shape {found.get(name, 'none')}, the network needs "
                f"{expected.get(name, 'none')}; it was saved by another network"
            )
    network.load_state_dict(dict(state), assign=True)


def from_paper(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the research code's ``CGRegressor`` under our names, for ``vocabulary=paper``.

    Files of torch_geometric before 2.0 call ``lin_rel`` and ``lin_root`` ``lin_l`` and ``lin_r``.

    Raises:
        WeightsError: if a name is not one of that network's.
    """
    ours = {}
    for name, value in state.items():
        if name.startswith(PAPER_UNUSED):
            continue
        module = next((module for module in PAPER_NAMES if name.startswith(module + ".")), None)
        if module is None:
            raise WeightsError(
                f"tensor '{name}' is not one of the research code's CGRegressor; allowed are {', '.join(PAPER_NAMES)}"
            )
        rest = name.removeprefix(module).replace(".lin_l.", ".lin_rel.").replace(".lin_r.", ".lin_root.")
        ours[PAPER_NAMES[module] + rest] = value
    return ours
