"""Models that a family parses."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from aiop_core.contracts import Family
from aiop_core.graph.model import Graph
from aiop_core.pipeline.models.named import NamedGraph, TorchModel
from aiop_core.pipeline.models.wanted import Wanted


@dataclass(frozen=True)
class FamilyModel:
    """``family:spec``, with the head of a task if one is wanted."""

    family: Family[Any]
    spec: str

    def read(self, wanted: Wanted) -> NamedGraph:
        """The family's own graph, or that of body and head.

        Raises:
            SpecError: if the family does not know the spec.
        """
        architecture = self.family.parse(self.spec)
        if wanted.task is None:
            hw = wanted.hw or self.family.input_hw
            return NamedGraph(architecture.spec, self.family.graph(architecture, hw))
        import torch

        model = self._module(wanted, torch.device("meta"))  # a graph needs no weights
        graphs: Mapping[str, Graph] = wanted.task.graphs(model.module)
        return NamedGraph(architecture.spec, graphs[wanted.metric or wanted.task.metrics[0].name])

    def module(self, wanted: Wanted) -> TorchModel:
        """The network, or body and head."""
        return self._module(wanted, nullcontext())

    def _module(self, wanted: Wanted, place: AbstractContextManager[Any]) -> TorchModel:
        architecture = self.family.parse(self.spec)
        with place:
            if wanted.task is None:
                hw = wanted.hw or self.family.input_hw
                return TorchModel(architecture.spec, self.family.network(architecture), (3, *hw))
            module = wanted.task.model(self.family.backbone(architecture))
        return TorchModel(architecture.spec, module, (3, *wanted.task.input_hw))
