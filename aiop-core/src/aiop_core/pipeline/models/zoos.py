"""Models that a zoo knows by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from aiop_core.contracts import Zoo
from aiop_core.errors import ModelError
from aiop_core.pipeline.models.named import NamedGraph, TorchModel
from aiop_core.pipeline.models.wanted import Wanted


@dataclass(frozen=True)
class ZooModel:
    """``zoo:name``."""

    zoo: Zoo
    prefix: str
    name: str

    def read(self, wanted: Wanted) -> NamedGraph:
        """The graph, made without weights where the model's constructor allows it."""
        import torch

        try:
            model = self._module(wanted, torch.device("meta"))
        except ModelError:
            model = self._module(wanted, nullcontext())  # its constructor looks at the contents of tensors
        return wanted.trace(model)

    def module(self, wanted: Wanted) -> TorchModel:
        """The model, randomly initialised.

        Raises:
            ModelError: if the zoo has no model of that name, or cannot make it.
        """
        return self._module(wanted, nullcontext())

    def _check_name(self) -> None:
        names = self.zoo.names()
        if self.name not in names:
            raise ModelError(f"the zoo '{self.prefix}' has no '{self.name}'; {_nearest(self.prefix, self.name, names)}")

    def _module(self, wanted: Wanted, place: AbstractContextManager[Any]) -> TorchModel:
        spelling = f"{self.prefix}:{self.name}"
        try:
            with place:
                module = self.zoo.module(self.name)
            return TorchModel(spelling, module, wanted.input_shape or self.zoo.input_shape(self.name))
        except Exception as error:
            self._check_name()
            text = (str(error).strip().splitlines() or [""])[0]
            raise ModelError(f"{spelling} cannot be made: {type(error).__name__}: {text}") from error


def _nearest(prefix: str, name: str, names: Sequence[str]) -> str:
    """The names that were probably meant, or some that there are."""
    near = difflib.get_close_matches(name.partition(".")[0], names, n=3, cutoff=0.6)
    near = near or [n for n in names if name and name.lower() in n.lower()][:3]
    if near:
        return f"did you mean {' or '.join(f'{prefix}:{n}' for n in near)}?"
    return f"it has {len(names):,} models, such as {', '.join(f'{prefix}:{n}' for n in names[:3])}"
