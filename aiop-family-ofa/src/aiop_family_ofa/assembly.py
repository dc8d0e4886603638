"""Sub-networks with the weights that the options ask for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

from aiop_core.contracts import Architecture
from aiop_family_ofa import calibration, checkpoints
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
        folder = self._options.calibration_images
        if folder is not None:
            images = calibration.batches(folder, self._options.calibration_count, self._input_hw)
            calibration.recalibrate(module, images)
        return module

    @cached_property
    def _supernet(self) -> Supernet:
        options, sha256 = self._options, self._options.weights_sha256
        if options.weights == "official":
            folder = (options.cache_dir or checkpoints.default_folder()) / "ofa"
            path = checkpoints.fetch(self._space.checkpoint, folder, sha256=sha256)
        else:
            path = Path(options.weights).expanduser()
            if sha256 and path.is_file():
                checkpoints.verify(path, sha256)
        return Supernet.load(path, self._space)
