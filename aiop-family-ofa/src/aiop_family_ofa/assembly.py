"""Sub-networks with the weights that the options ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from aiop_core.contracts import Architecture
from aiop_core.errors import WeightsError
from aiop_core.sharing.norms import recalibrate
from aiop_family_ofa import calibration, checkpoints, supernet_files
from aiop_family_ofa.options import SupernetOptions
from aiop_family_ofa.plans import NetworkPlan
from aiop_family_ofa.space import Space
from aiop_family_ofa.weights import Supernet, initialise

A = TypeVar("A", bound=Architecture)
M = TypeVar("M", bound=nn.Module)


class Assembly(Generic[A]):
    """Makes modules; the supernet is read once, when the first module needs it."""

    def __init__(self, space: Space[A], options: SupernetOptions, input_hw: tuple[int, int]) -> None:
        self._space = space
        self._options = options
        self._input_hw = input_hw

    def make(self, kind: Callable[[NetworkPlan], M], architecture: A) -> M:
        """A module of ``kind`` on torch's default device.

        On the meta device it has no weights, whatever the options say. Elsewhere it is
        built there without torch's own initialisation, which would use the global generator.
        """
        place = torch.get_default_device()
        with torch.device("meta"):
            module = kind(self._space.plan(architecture))
        if place.type == "meta":
            return module
        module.to_empty(device="cpu")
        if self._options.weights == "none":
            initialise(module, architecture.spec)
        else:
            self._supernet.fill(module)
        module.to(place)
        images = self._images()
        if images is not None:
            recalibrate(module, (batch.to(place) for batch in images))
        return module

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the files that weights and batch-norm statistics are made of.

        Raises:
            DataError: if there are no calibration images.
            WeightsError: if a file is missing.
        """
        options = self._options
        found, folder = hashlib.sha256(_content(self._path)), options.calibration_images
        if folder is not None:
            for path in calibration.image_files(folder, options.calibration_count):
                found.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        elif self._folder is not None:
            found.update(_content(self._folder / supernet_files.IMAGES))
        return found.hexdigest()[:16]

    @cached_property
    def _supernet(self) -> Supernet:
        return Supernet.load(self._path, self._space)

    @property
    def _folder(self) -> Path | None:
        """The folder that a training of ours wrote, if ``weights`` names one."""
        folder = Path(self._options.weights).expanduser()
        return folder if self._options.weights not in ("none", "official") and folder.is_dir() else None

    @cached_property
    def _path(self) -> Path:
        """The file with the shared weights: downloaded if need be, and verified."""
        options, sha256 = self._options, self._options.weights_sha256
        if options.weights == "official":
            folder = (options.cache_dir or checkpoints.default_folder()) / "ofa"
            path = checkpoints.fetch(self._space.checkpoint, folder, sha256=sha256)
        else:
            path = self._folder / supernet_files.WEIGHTS if self._folder else Path(options.weights).expanduser()
            if sha256 and path.is_file():
                checkpoints.verify(path, sha256)
        return path

    def _images(self) -> Iterable[Tensor] | None:
        """Batches to measure batch-norm statistics on: the user's, or those that a supernet of ours was trained on."""
        folder = self._options.calibration_images
        if folder is not None:
            return calibration.batches(folder, self._options.calibration_count, self._input_hw)
        return self._own_images

    @cached_property
    def _own_images(self) -> tuple[Tensor, ...] | None:
        if self._folder is None:
            return None
        images: tuple[Tensor, ...] = supernet_files.load_images(self._folder).split(calibration.BATCH)
        return images


def _content(path: Path) -> bytes:
    """The SHA-256 of a file.

    Raises:
        WeightsError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise WeightsError(
            f"weights file '{path}' cannot be read ({error.strerror}); give the path of a checkpoint, or of a "
            "folder that 'aiop supernet train' finished"
        ) from error
