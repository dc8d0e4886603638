"""The files of a shared head: ``head.safetensors`` and ``head.json``, and while it is trained ``training.pt``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import nn

from aiop_core.errors import DataError, WeightsError
from aiop_core.records.whole_files import replacing
from aiop_core.sharing.checkpoint_files import write_checkpoint
from aiop_core.sharing.json_files import FORMAT, read_json, write_json
from aiop_core.sharing.origin import ELSEWHERE, Origin, require

WEIGHTS, CARD, CHECKPOINT = "head.safetensors", "head.json", "training.pt"

ANEW = "train the head anew, into an empty folder"


@dataclass
class Training:
    """How far a training is: what a killed one goes on from.

    Attributes:
        head: in training.
        optimiser: of the head.
        step: how many are done.
        loss: a mean of the last steps, as the task likes it.
    """

    head: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    loss: float = 0.0

    def save(self, folder: Path, origin: Origin) -> None:
        """Write everything, or leave what was there.

        Raises:
            DataError: if there is no room.
        """
        state = {
            "origin": origin,
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "loss": self.loss,
        }
        try:
            write_checkpoint(folder / CHECKPOINT, state)
        except OSError as error:
            raise DataError(
                f"{folder / CHECKPOINT} cannot be written ({error}); make room and repeat the command"
            ) from error

    def resume(self, folder: Path, origin: Origin, device: str) -> None:
        """Become what was saved, if anything was.

        Raises:
            DataError: if the checkpoint is damaged, or of a head of another origin.
        """
        path = folder / CHECKPOINT
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            found: Origin = dict(state["origin"])
        except Exception as error:  # what a damaged file raises depends on where it is damaged
            reason = str(error).partition("\n")[0]
            raise DataError(f"{path} is damaged ({reason}); delete it to train the head from its beginning") from error
        require(found, origin, what=f"half-trained head in {folder}", advice=ELSEWHERE, error=DataError)
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.loss = state["step"], state["loss"]


def write_head(folder: Path, head: nn.Module, card: dict[str, Any]) -> None:
    """Write both files, the card last: where it is, the head is complete.

    Raises:
        DataError: if there is no room.
    """
    content = save({name: value.contiguous().cpu() for name, value in head.state_dict().items()})
    try:
        with replacing(folder / WEIGHTS) as part:
            part.write_bytes(content)
        write_json(folder / CARD, {"format": FORMAT, **card})
    except OSError as error:
        raise DataError(f"head in {folder} cannot be written ({error}); make room and repeat the command") from None
    (folder / CHECKPOINT).unlink(missing_ok=True)


def read_card(folder: Path) -> dict[str, Any]:
    """Everything that is known of a finished head.

    Raises:
        WeightsError: if the head is not there, not finished, or of another version.
    """
    return read_json(folder / CARD, error=WeightsError, advice="give a folder that 'aiop head' finished")


def read_weights(folder: Path, head: nn.Module) -> None:
    """Give ``head`` the weights in a folder.

    Raises:
        WeightsError: if they are missing, damaged, or do not fit.
    """
    path = folder / WEIGHTS
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist; {ANEW}") from None
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} is damaged ({error}); {ANEW}") from None
    expected = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise WeightsError(
                f"{path}: tensor '{name}' has shape {found.get(name, 'none')}, the head needs "
                f"{expected.get(name, 'none')}; {ANEW}"
            )
    head.load_state_dict(state)
