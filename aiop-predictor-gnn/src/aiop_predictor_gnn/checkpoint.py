"""Files of a trained network: its tensors as safetensors, everything else as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from aiop_core.errors import WeightsError

WEIGHTS_FILE, SETTINGS_FILE = "gnn.safetensors", "gnn.json"

FORMAT = 2
"""Version of both files; raised when an older reader would misread them."""

READABLE = (1, FORMAT)
"""Versions that are read; 1 knew no adapters."""


def write_checkpoint(folder: Path, network: nn.Module, settings: Mapping[str, Any]) -> None:
    """Write both files into ``folder``."""
    content = save({name: value.contiguous().cpu() for name, value in network.state_dict().items()})
    (folder / WEIGHTS_FILE).write_bytes(content)  # not save_file, whose files others cannot read
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
    if not isinstance(settings, dict) or settings.get("format") not in READABLE:
        found = settings.get("format") if isinstance(settings, dict) else None
        readable = " and ".join(map(str, READABLE))
        raise WeightsError(
            f"{path} has format {found}, this version reads {readable}; fit and save the predictor again"
        )
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
