"""One spelling for models: ``family:spec``, ``package.module:factory`` or ``file.py:factory``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiop_core.contracts import Family, Task
from aiop_core.errors import ModelError
from aiop_core.graph.model import Graph
from aiop_core.plugins import PluginRegistry

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NamedGraph:
    """A graph and what to call it: a canonical spec, or the spelling it was given by."""

    name: str
    graph: Graph


@dataclass(frozen=True)
class ModelReader:
    """Makes graphs of what users write where a command takes a model.

    Attributes:
        registry: where ``family:spec`` looks families up.
        family: parses a spec without a family's name in front, and with its own.
        family_name: under which it is registered.
        task: if given, architectures get its head, and the graph is that of body and head.
        metric: whose graph of the task; its first metric by default.
        input_hw: for networks of a family without task; the family's own by default.
        input_shape: (channels, height, width) for modules from a factory.
    """

    registry: PluginRegistry
    family: Family[Any] | None = None
    family_name: str | None = None
    task: Task | None = None
    metric: str | None = None
    input_hw: tuple[int, int] | None = None
    input_shape: tuple[int, ...] | None = None

    def read(self, model: str) -> NamedGraph:
        """The graph of one model.

        Raises:
            ModelError: if the spelling names nothing.
            SpecError: if a family does not know the spec.
            GraphError: if a module cannot be traced.
        """
        prefix, _, rest = model.partition(":")
        if rest and prefix in self.registry.names("family"):
            if self.family is None or prefix != self.family_name:
                return self._architecture(self.registry.create("family", prefix), rest)
            return self._architecture(self.family, rest)
        if self.family is not None and not _is_factory(model):
            return self._architecture(self.family, model)
        if not rest:
            families = ", ".join(self.registry.names("family")) or "none installed"
            raise ModelError(
                f"'{model}' names no model; write family:spec (families: {families}), "
                "package.module:factory or file.py:factory"
            )
        from aiop_core.graph.trace import trace

        if self.input_shape is None:
            raise ModelError(f"'{model}' needs --input-shape, without the batch axis, e.g. --input-shape 3,224,224")
        return NamedGraph(model, trace(load_module(model), self.input_shape))

    def _architecture(self, family: Family[Any], spec: str) -> NamedGraph:
        architecture = family.parse(spec)
        if self.task is None:
            return NamedGraph(architecture.spec, family.graph(architecture, self.input_hw or family.input_hw))
        import torch

        with torch.device("meta"):  # a graph needs no weights
            model = self.task.model(family.backbone(architecture))
        graphs: Mapping[str, Graph] = self.task.graphs(model)
        return NamedGraph(architecture.spec, graphs[self.metric or self.task.metrics[0].name])


def _is_factory(model: str) -> bool:
    path, _, name = model.rpartition(":")
    return name.isidentifier() and (path.endswith(".py") or all(part.isidentifier() for part in path.split(".")))


def load_module(spelling: str) -> nn.Module:
    """The module that a factory makes. This runs the code of that file or package.

    Raises:
        ModelError: if the file, package or factory does not exist, fails, or makes no module.
    """
    from torch import nn

    path, _, name = spelling.rpartition(":")
    factory = getattr(_import(path), name, None)
    if factory is None:
        raise ModelError(f"{path} has no '{name}'; name a function that takes no arguments and makes a torch module")
    module = factory if isinstance(factory, nn.Module) else _call(factory, spelling)
    if not isinstance(module, nn.Module):
        raise ModelError(f"{spelling} makes a {type(module).__name__}, expected a torch.nn.Module")
    return module


def _call(factory: Callable[[], Any], spelling: str) -> Any:
    try:
        return factory()
    except Exception as error:
        raise ModelError(
            f"{spelling} fails: {type(error).__name__}: {error}; it is called without arguments"
        ) from error


def _import(path: str) -> Any:
    if not path.endswith(".py"):
        _importable(Path.cwd())
        try:
            return importlib.import_module(path)
        except Exception as error:
            raise ModelError(f"package '{path}' cannot be imported: {type(error).__name__}: {error}") from error
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(f"aiop_model_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    _importable(file.parent)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ModelError(f"{file} cannot be run: {type(error).__name__}: {error}") from error
    return module


def _importable(folder: Path) -> None:
    """What lies beside a user's file can be imported, as if Python ran that file."""
    if (path := str(folder.resolve())) not in sys.path:
        sys.path.insert(0, path)
