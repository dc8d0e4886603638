"""What a supernet's training writes: checkpoints of itself, the weights, and what happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aiop_core.errors import DataError, WeightsError
from aiop_core.sharing.checkpoint_files import write_checkpoint
from aiop_core.sharing.json_files import write_json

WEIGHTS, IMAGES = "supernet.pth", "images.pth"
"""The shared weights, and images to measure each sub-network's batch-norm statistics on."""

REPORT, CHECKPOINT = "supernet.json", "training.pth"
"""Options and losses of a training that is finished, and the state of one that is not."""


def save(content: Any, path: Path) -> None:
    """Write what ``torch.load`` or JSON reads, by the file's ending, in one piece.

    Raises:
        DataError: if it cannot be written.
    """
    try:
        if path.suffix == ".json":
            write_json(path, content)
        else:
            write_checkpoint(path, content)
    except OSError as error:
        raise DataError(
            f"'{path}' cannot be written: {error.strerror}; mend that and run the same command again"
        ) from error


def load_checkpoint(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where a killed training in ``folder`` was, or ``None`` if there was none.

    Raises:
        DataError: if it is damaged, or was another training.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        theirs = found["identity"]
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        raise DataError(f"'{path}' is damaged; delete it to train from the start") from error
    _same(path, theirs, identity)
    return dict(found)


def load_report(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a finished training in ``folder`` told, or ``None`` if there was none.

    Raises:
        DataError: if it is damaged, or was another training.
    """
    path = folder / REPORT
    if not path.exists() or not (folder / WEIGHTS).exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        theirs = found["identity"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' is damaged ({error}); delete it to train again") from error
    _same(path, theirs, identity)
    return dict(found)


def load_images(folder: Path) -> Tensor:
    """The images beside the weights, as networks read them: (n, 3, H, W).

    Raises:
        WeightsError: if they are missing or damaged.
    """
    path = folder / IMAGES
    try:
        images: Tensor = torch.load(path, weights_only=True).float()
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        wrong = "are damaged" if path.exists() else "are missing"
        raise WeightsError(
            f"images '{path}' {wrong}; repeat the 'aiop supernet train' that wrote the folder, which writes them "
            f"again without training, or name '{WEIGHTS}' itself"
        ) from error
    return images


def _same(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    for key, value in ours.items():
        if theirs.get(key) != value:
            raise DataError(
                f"'{path}' is of another training: {key} was {theirs.get(key)}, now it is {value}; "
                "give what it was, or another folder"
            )
