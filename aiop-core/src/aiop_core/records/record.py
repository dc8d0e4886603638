"""A record: one architecture with what was measured, what it costs, and how that came about."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from aiop_core.errors import StoreError
from aiop_core.graph.cost import Cost
from aiop_core.graph.model import Graph

MAX_GRAPH_BYTES = 64 * 2**20
"""The largest unpacked graph that is read back: about a million nodes."""


@dataclass(frozen=True)
class Record:
    """One labelled architecture.

    Attributes:
        family: the registered name of its search space.
        spec: its canonical text.
        task: the registered name of the task.
        labels: metric name to measured value, in the metric's unit.
        graphs: metric name to the graph of body and head.
        costs: metric name to the cost of that graph, with its source.
        scores: what profilers said, as ``profiler/number``.
        provenance: seed, seconds, device, versions.
        score_sources: for each profiler its version and options.
        details: what the task measured beside its metrics, by name; for people, never a feature.
        body: the cost of the backbone alone, at the task's input; ``None`` if nobody counted it.
    """

    family: str
    spec: str
    task: str
    labels: Mapping[str, float]
    graphs: Mapping[str, Graph]
    costs: Mapping[str, Cost]
    scores: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    score_sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    body: Cost | None = None
    details: Mapping[str, float] = field(default_factory=dict)

    def head(self, metric: str) -> Cost | None:
        """What the whole costs more than the body; ``None`` if nobody counted that."""
        if self.body is None:
            return None
        whole = self.costs[metric]
        return Cost(whole.macs - self.body.macs, whole.params - self.body.params, whole.source)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; graphs as compressed safetensors in base64."""
        return {
            "family": self.family,
            "spec": self.spec,
            "task": self.task,
            "labels": dict(self.labels),
            "graphs": {name: pack_graph(graph) for name, graph in self.graphs.items()},
            "costs": {name: asdict(cost) for name, cost in self.costs.items()},
            "scores": dict(self.scores),
            "provenance": dict(self.provenance),
            "score_sources": {name: dict(source) for name, source in self.score_sources.items()},
            **({"body": asdict(self.body)} if self.body else {}),
            **({"details": dict(self.details)} if self.details else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """The record that ``to_json`` wrote.

        Raises:
            StoreError: if a field is missing or a graph is damaged.
        """
        try:
            return cls(
                data["family"],
                data["spec"],
                data["task"],
                {name: float(value) for name, value in data["labels"].items()},
                {name: unpack_graph(text) for name, text in data["graphs"].items()},
                {name: Cost(**cost) for name, cost in data["costs"].items()},
                data["scores"],
                data["provenance"],
                data.get("score_sources", {}),  # records of before there were any
                Cost(**data["body"]) if "body" in data else None,
                data.get("details", {}),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"a record lacks a field or has a wrong one: {error}") from error


def pack_graph(graph: Graph) -> str:
    """A graph as text: safetensors, compressed, base64."""
    columns = {f.name: np.ascontiguousarray(getattr(graph, f.name)) for f in fields(graph)}
    return base64.b64encode(zlib.compress(save(columns), 6)).decode("ascii")


def unpack_graph(text: str) -> Graph:
    """The graph that ``pack_graph`` wrote.

    Raises:
        StoreError: if the text is damaged or unpacks to more than ``MAX_GRAPH_BYTES``.
    """
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text, validate=True), MAX_GRAPH_BYTES)
        if unpacker.unconsumed_tail:
            raise StoreError(f"a packed graph is larger than {MAX_GRAPH_BYTES} bytes")
        return Graph(**load(data))
    except (ValueError, zlib.error, SafetensorError, TypeError) as error:
        raise StoreError(f"a packed graph is damaged: {error}") from error
