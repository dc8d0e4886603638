"""What a user wants of a model besides its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiop_core.contracts import OperationRule, Task
from aiop_core.errors import ModelError
from aiop_core.pipeline.models.libraries import needs
from aiop_core.pipeline.models.named import NamedGraph, TorchModel
from aiop_core.plugins import PluginRegistry


@dataclass(frozen=True)
class Wanted:
    """The flags of a command, as each kind of model needs them.

    Attributes:
        registry: knows the rules for operations that plugins bring.
        task: puts its head on architectures of a family.
        metric: whose graph of the task; its first metric by default.
        input_hw: for networks of a family without task; the family's own by default.
        input_shape: (channels, height, width), for models that leave it open.
        input_name: which input of a file with several.
    """

    registry: PluginRegistry
    task: Task | None = None
    metric: str | None = None
    input_hw: tuple[int, int] | None = None
    input_shape: tuple[int, ...] | None = None
    input_name: str | None = None

    def rules(self, dialect: str) -> Mapping[str, OperationRule]:
        """What plugins say about a framework's operations."""
        return self.registry.operation_rules(dialect)

    def shape_for(self, model: str) -> tuple[int, ...]:
        """The input shape for a model that cannot know it.

        Raises:
            ModelError: if the user gave none.
        """
        if self.input_shape is None:
            raise ModelError(f"'{model}' needs --input-shape, without the batch axis, e.g. --input-shape 3,224,224")
        return self.input_shape

    @property
    def hw(self) -> tuple[int, int] | None:
        """(height, width) for an architecture of a family, by either flag.

        Raises:
            ModelError: if ``input_shape`` is no image of three channels.
        """
        if self.input_hw is not None or self.input_shape is None:
            return self.input_hw
        if len(self.input_shape) != 3 or self.input_shape[0] != 3:
            given = ",".join(map(str, self.input_shape))
            raise ModelError(f"architectures of a family take images, --input-shape 3,H,W, not {given}")
        return self.input_shape[1], self.input_shape[2]

    def no_hw(self, model: str) -> None:
        """Refuse ``input_hw`` for a model that is not of a family.

        Raises:
            ModelError: saying which flag is meant.
        """
        if self.input_hw is not None:
            height, width = self.input_hw
            raise ModelError(
                f"--input-hw is for architectures of a family; for '{model}' write --input-shape 3,{height},{width}"
            )

    def trace(self, model: TorchModel) -> NamedGraph:
        """The graph of a module."""
        with needs("torch", model.name):
            from aiop_core.graph.trace import trace

        return NamedGraph(model.name, trace(model.module, model.input_shape, self.rules("torch")))


def without_module(model: str) -> ModelError:
    """The error where a module is needed, and a file gives only a graph."""
    return ModelError(f"'{model}' is no torch module, which a profiler needs; take its --profiler flag away")
