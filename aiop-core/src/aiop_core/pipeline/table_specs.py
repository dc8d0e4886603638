"""What a table's cells say of architectures: specs of one family, or models as users spell them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from aiop_core.contracts import Family
from aiop_core.errors import AiopError, SpecError
from aiop_core.graph.model import Graph
from aiop_core.pipeline.models import ModelReader
from aiop_core.plugins import PluginRegistry

_OTHER = "models"
"""The family of what is of no family and no zoo."""


@dataclass(frozen=True)
class Parsed:
    """An architecture of a table; equal ones are one.

    Attributes:
        family: a family's name, a zoo's, or ``models`` for files and code.
        spec: the canonical text within the family; of a model that is of none, its whole spelling.
        architecture: what the family parsed.
    """

    family: str
    spec: str
    architecture: Any = field(default=None, compare=False, hash=False)


class ArchitectureReader(Protocol):
    """Reads the architecture of a row, and makes its graph."""

    def parse(self, text: str) -> Parsed:
        """What the text means."""
        ...

    def doubtful(self, parsed: Parsed) -> bool:
        """Whether it may not exist, which only its graph can tell."""
        ...

    def graph(self, parsed: Parsed) -> Graph:
        """Its graph.

        Raises:
            SpecError: if there is none.
        """
        ...


@dataclass(frozen=True)
class FamilySpecs:
    """Specs of one family, at one resolution."""

    name: str
    family: Family[Any]
    input_hw: tuple[int, int]

    def parse(self, text: str) -> Parsed:
        """What the family parses.

        Raises:
            SpecError: if it does not.
        """
        architecture = self.family.parse(text)
        return Parsed(self.name, architecture.spec, architecture)

    def doubtful(self, parsed: Parsed) -> bool:
        """None is: the family has parsed it."""
        return False

    def graph(self, parsed: Parsed) -> Graph:
        """The family's graph.

        Raises:
            SpecError: if there is none at this resolution.
        """
        try:
            return self.family.graph(parsed.architecture, self.input_hw)
        except AiopError as error:
            height, width = self.input_hw
            raise SpecError(f"{parsed.spec} has no graph at {height}x{width}: {error}") from error


@dataclass(frozen=True)
class ModelSpellings:
    """Models as every command takes them; families have their default options and resolution."""

    registry: PluginRegistry
    input_shape: tuple[int, ...] | None = None

    @cached_property
    def _reader(self) -> ModelReader:
        return ModelReader(self.registry, input_shape=self.input_shape)

    @cached_property
    def _families(self) -> dict[str, FamilySpecs]:
        return {}

    @cached_property
    def _zoos(self) -> dict[str, set[str]]:
        return {}

    def parse(self, text: str) -> Parsed:
        """Which model it is; the names of zoos and files are not looked up yet.

        Raises:
            SpecError: if a family does not know its spec.
        """
        prefix, colon, rest = text.partition(":")
        if colon and prefix in self.registry.names("family"):
            return self._family(prefix).parse(rest)
        return Parsed(prefix if colon and prefix in self.registry.names("zoo") else _OTHER, text)

    def doubtful(self, parsed: Parsed) -> bool:
        """Whether no family parsed it, its zoo does not list it, and it is no file that exists."""
        if parsed.architecture is not None:
            return False
        if parsed.family != _OTHER:
            return parsed.spec.partition(":")[2] not in self._zoo_names(parsed.family)
        return not Path(parsed.spec.partition("#")[0]).exists()

    def graph(self, parsed: Parsed) -> Graph:
        """The model's graph.

        Raises:
            SpecError: if it names nothing, or has no graph.
        """
        if parsed.architecture is not None:
            return self._family(parsed.family).graph(parsed)
        try:
            return self._reader.read(parsed.spec).graph
        except AiopError as error:
            spelling = f"'{parsed.spec}'"
            raise SpecError(str(error) if spelling in str(error) else f"{spelling}: {error}") from error

    def _family(self, name: str) -> FamilySpecs:
        if name not in self._families:
            family: Family[Any] = self.registry.create("family", name)
            self._families[name] = FamilySpecs(name, family, self._hw or family.input_hw)
        return self._families[name]

    def _zoo_names(self, name: str) -> set[str]:
        if name not in self._zoos:
            self._zoos[name] = set(self.registry.create("zoo", name).names())
        return self._zoos[name]

    @property
    def _hw(self) -> tuple[int, int] | None:
        return (self.input_shape[1], self.input_shape[2]) if self.input_shape and len(self.input_shape) == 3 else None
