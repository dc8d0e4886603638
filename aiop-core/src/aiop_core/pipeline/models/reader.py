"""From what a user writes to the model that it means."""

from __future__ import annotations

import difflib
import warnings
from dataclasses import dataclass
from typing import Any, Protocol

from aiop_core.contracts import Family, Task
from aiop_core.errors import ModelError
from aiop_core.pipeline.models.code import Factory, importable, is_factory
from aiop_core.pipeline.models.families import FamilyModel
from aiop_core.pipeline.models.files import READABLE, ModelFile, looks_like_a_file
from aiop_core.pipeline.models.named import NamedGraph, TorchModel
from aiop_core.pipeline.models.wanted import Wanted
from aiop_core.pipeline.models.zoos import ZooModel
from aiop_core.plugins import PluginRegistry


class HeadlessWarning(UserWarning):
    """A model is whole and gets no head of a task."""


class Model(Protocol):
    """One kind of model."""

    def read(self, wanted: Wanted) -> NamedGraph:
        """Its graph."""
        ...

    def module(self, wanted: Wanted) -> TorchModel:
        """Its torch module."""
        ...


@dataclass(frozen=True)
class ModelReader:
    """Makes graphs of what users write where a command takes a model.

    Attributes:
        registry: where families, zoos and rules for operations are looked up.
        family: parses a spec without a family's name in front, and with its own.
        family_name: under which it is registered.
        task: if given, architectures get its head, and the graph is that of body and head.
        metric: whose graph of the task; its first metric by default.
        input_hw: for networks of a family without task; the family's own by default.
        input_shape: (channels, height, width) for models that leave it open.
        input_name: which input of a file with several.
    """

    registry: PluginRegistry
    family: Family[Any] | None = None
    family_name: str | None = None
    task: Task | None = None
    metric: str | None = None
    input_hw: tuple[int, int] | None = None
    input_shape: tuple[int, ...] | None = None
    input_name: str | None = None

    def read(self, model: str) -> NamedGraph:
        """The graph of one model.

        Raises:
            ModelError: if the spelling names nothing, or nothing that can be read.
            SpecError: if a family does not know the spec.
            GraphError: if a model cannot become a graph.
        """
        return self._resolve(model).read(self._wanted)

    def module(self, model: str) -> TorchModel:
        """The torch module of one model, with weights in memory.

        Raises:
            ModelError: as in ``read``, and if the model is no torch module.
        """
        return self._resolve(model).module(self._wanted)

    @property
    def _wanted(self) -> Wanted:
        return Wanted(self.registry, self.task, self.metric, self.input_hw, self.input_shape, self.input_name)

    def _resolve(self, model: str) -> Model:
        prefix, colon, rest = model.partition(":")
        if colon and prefix in self.registry.names("family"):
            chosen = self.family if prefix == self.family_name else None
            return FamilyModel(chosen or self.registry.create("family", prefix), rest)
        found = self._whole_model(model)
        if found is None:
            if self.family is None:
                raise ModelError(f"'{model}' names no model; {self._allowed(prefix if colon else '')}")
            return FamilyModel(self.family, model)
        if self.family is None or self.family_name is None:
            self._wanted.no_hw(model)
        if self.task is not None:
            warnings.warn(f"'{model}' is a whole model and gets no head of the task", HeadlessWarning, stacklevel=3)
        return found

    def _whole_model(self, model: str) -> Model | None:
        """A model that is not of a family, if ``model`` has the form of one."""
        prefix, colon, rest = model.partition(":")
        if colon and prefix in self.registry.names("zoo"):
            return ZooModel(self.registry.create("zoo", prefix), prefix, rest)
        if looks_like_a_file(model):
            return ModelFile(model)
        return Factory(model) if is_factory(model) and importable(model) else None

    def _allowed(self, prefix: str) -> str:
        """What may be written, with the family or zoo that was probably meant."""
        families, zoos = self.registry.names("family"), self.registry.names("zoo")
        near = difflib.get_close_matches(prefix, [*families, *zoos], n=1, cutoff=0.6)
        hint = f"did you mean '{near[0]}:…'? " if near else ""
        listed = [
            f"{one}:{two} ({kinds}: {', '.join(names) or 'none installed'})"
            for one, two, kinds, names in (("family", "spec", "families", families), ("zoo", "name", "zoos", zoos))
        ]
        return f"{hint}write {', '.join(listed)}, package.module:factory, file.py:factory, or {READABLE}"
