"""The graph cache: graphs with one label each in one safetensors file.

Any safetensors reader opens it: the columns of :class:`~aiop_core.graph.model.GraphSet` end to
end, ``labels``, ``macs``, ``params``, ``scores.NAME`` for each score, and texts as bytes with offsets; the
header says version, metric, unit, who counted the cost and gave the scores, and how the file was made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from aiop_core.errors import AiopError, CacheError, LabelError
from aiop_core.graph import cost, files
from aiop_core.graph.model import NODE_COLUMNS, GraphSet
from aiop_core.graph.ops import Op
from aiop_core.records.labels import Labelled, Metric

FORMAT = "aiop-graph-cache"
VERSION = 1

LABELLED = "labelled"
"""Where a cache's provenance tells what decided its labels, such as the options of the task."""

_SCORE = "scores."
"""Begins the name of a score's tensor. Files of before there were scores have none, and their readers leave it out."""


@dataclass(frozen=True, eq=False)
class GraphCache:
    """Labelled graphs of one metric.

    Attributes:
        graphs: n graphs.
        labels: (n,) in the metric's unit.
        specs: n canonical texts.
        families: n family names.
        metric: what the labels measure.
        macs: (n,) multiply-adds.
        params: (n,) parameters.
        cost_source: who counted ``macs`` and ``params``.
        provenance: how the cache was made, as JSON values.
        score_sources: for each of ``graphs.scores`` what gave it, as JSON values: a profiler with its version and
            options, or a table.

    Raises:
        LabelError: if a label is not finite.
        CacheError: if the columns do not have the same length, or a source is that of no score.
    """

    graphs: GraphSet
    labels: Float[np.ndarray, " n"]
    specs: Sequence[str]
    families: Sequence[str]
    metric: Metric
    macs: Int[np.ndarray, " n"]
    params: Int[np.ndarray, " n"]
    cost_source: str = cost.COST_SOURCE
    provenance: Mapping[str, Any] = field(default_factory=dict)
    score_sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {len(x) for x in (self.graphs, self.labels, self.specs, self.families, self.macs, self.params)}
        if lengths != {len(self.graphs)}:
            raise CacheError(
                f"a cache needs one label, spec, family and cost for each graph; lengths are {sorted(lengths)}"
            )
        if strange := sorted(set(self.score_sources) - set(self.graphs.scores)):
            raise CacheError(f"a cache names the source of the score '{strange[0]}', which its graphs do not have")
        bad = np.flatnonzero(~np.isfinite(self.labels))
        if len(bad):
            raise LabelError(
                f"label '{self.metric.name}' of {self.specs[bad[0]]} is {self.labels[bad[0]]}; "
                f"{len(bad)} of {len(self.labels)} labels are not finite: remove those rows"
            )

    @classmethod
    def of(
        cls,
        graphs: GraphSet,
        labels: Sequence[float] | np.ndarray[Any, Any],
        specs: Sequence[str],
        families: Sequence[str],
        metric: Metric,
        provenance: Mapping[str, Any],
    ) -> GraphCache:
        """A cache whose costs are counted on the graphs."""
        return cls(
            graphs,
            np.asarray(labels, dtype=np.float64),
            list(specs),
            list(families),
            metric,
            cost.macs(graphs).astype(np.int64),
            cost.params(graphs).astype(np.int64),
            provenance=provenance,
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labelled(self) -> Labelled:
        """What a predictor learns from."""
        return Labelled(self.graphs, self.labels)

    def save(self, path: Path) -> None:
        """Write the file in one piece: a killed writer leaves the old one.

        Raises:
            CacheError: if it cannot be written.
        """
        tensors = {f"nodes.{name}": column for name, column in self.graphs.columns.items()}
        tensors |= {name: getattr(self.graphs, name) for name in ("edges", "node_offsets", "edge_offsets")}
        tensors |= {"labels": self.labels, "macs": self.macs, "params": self.params}
        tensors |= {_SCORE + name: np.asarray(values, np.float64) for name, values in self.graphs.scores.items()}
        tensors |= _text("specs", self.specs) | _text("families", self.families)
        # safetensors writes a view's memory as it lies, not in the view's order
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        header = {
            "format": FORMAT,
            "version": str(VERSION),
            "metric": json.dumps(asdict(self.metric)),
            "cost_source": self.cost_source,
            "provenance": json.dumps(dict(self.provenance)),
            "scores": json.dumps({name: dict(source) for name, source in self.score_sources.items()}),
        }
        part = path.with_name(path.name + ".part")
        try:
            part.write_bytes(save(tensors, metadata=header))  # not save_file, whose files others cannot read
            os.replace(part, path)
        except (OSError, SafetensorError) as error:
            raise CacheError(f"{path} cannot be written: {error}") from error

    @classmethod
    def load(cls, path: Path) -> GraphCache:
        """Read a cache through a memory map.

        Raises:
            CacheError: if the file is missing, damaged, of another format or version.
        """
        if not path.is_file():
            raise CacheError(f"there is no graph cache at {path}; 'aiop run' and 'aiop train' write one")
        try:
            with safe_open(path, framework="numpy") as file:
                header = file.metadata() or {}
                if header.get("format") == files.FORMAT:
                    raise CacheError(f"{path} is a single graph and no graph cache; 'aiop graph show' reads it")
                if header.get("format") != FORMAT:
                    raise CacheError(f"{path} is a safetensors file, but no graph cache")
                if header["version"] != str(VERSION):
                    raise CacheError(f"{path} has version {header['version']}; this aiop reads {VERSION}: update aiop")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            graphs = _checked(
                {name: tensors[f"nodes.{name}"] for name in NODE_COLUMNS},
                tensors["edges"],
                tensors["node_offsets"],
                tensors["edge_offsets"],
                {name.removeprefix(_SCORE): values for name, values in tensors.items() if name.startswith(_SCORE)},
            )
            return cls(
                graphs,
                tensors["labels"],
                _texts("specs", tensors),
                _texts("families", tensors),
                Metric(**json.loads(header["metric"])),
                tensors["macs"],
                tensors["params"],
                header["cost_source"],
                json.loads(header["provenance"]),
                json.loads(header.get("scores", "{}")),
            )
        except AiopError:
            raise
        except (SafetensorError, OSError, KeyError, ValueError, TypeError, IndexError) as error:
            if _is_pickle(path):
                raise CacheError(
                    f"{path} is a pickle and no graph cache; 'aiop cache import' reads the AIO-P authors' caches"
                ) from error
            raise CacheError(f"{path} is damaged or no graph cache ({error}); make it again") from error


def _checked(columns: Mapping[str, np.ndarray[Any, Any]], *others: Any) -> GraphSet:
    """A set whose edges and operations exist.

    Raises:
        GraphError: if the columns do not belong together.
        ValueError: if an edge or an operation does not exist.
    """
    graphs = GraphSet(columns, *others)
    op = graphs.columns["op"]
    if (bad := np.flatnonzero((op < 0) | (op >= len(Op)))).size:
        raise ValueError(f"operation index {op[bad[0]]} is not in the vocabulary, 0 to {len(Op) - 1}")
    graph = np.repeat(np.arange(len(graphs)), np.diff(graphs.edge_offsets))
    outside = ((graphs.edges < 0) | (graphs.edges >= graphs.sizes[graph])).any(axis=0)
    if (bad := graph[outside]).size:
        raise ValueError(f"an edge points outside the {graphs.sizes[bad[0]]} nodes of graph {bad[0]}")
    return graphs


def _is_pickle(path: Path) -> bool:
    """Whether a file that is no safetensors begins as a pickle, gzipped or not."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(2).startswith((b"\x80", b"\x1f\x8b"))
    return False


def _text(name: str, texts: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Texts as UTF-8 bytes end to end, with offsets."""
    encoded = [t.encode() for t in texts]
    return {
        f"{name}.bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        f"{name}.offsets": np.cumsum([0, *(len(e) for e in encoded)], dtype=np.int64),
    }


def _texts(name: str, tensors: Mapping[str, np.ndarray[Any, Any]]) -> list[str]:
    data, offsets = tensors[f"{name}.bytes"].tobytes(), tensors[f"{name}.offsets"].tolist()
    return [data[a:b].decode() for a, b in pairwise(offsets)]
