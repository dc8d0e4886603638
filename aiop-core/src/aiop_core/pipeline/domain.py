"""Where a predictor may be believed: what the graphs it learnt from were like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aiop_core.graph import cost
from aiop_core.graph.draw.kinds import amount
from aiop_core.graph.features import depths
from aiop_core.graph.model import GraphSet
from aiop_core.graph.ops import Op

MARGIN = 1.25
"""A graph may be larger or smaller by this factor than any that was learnt from."""


def _sizes(graphs: GraphSet) -> dict[str, np.ndarray[Any, Any]]:
    """What is compared, by the words that are shown."""
    first = graphs.node_offsets[:-1]
    return {
        "nodes": graphs.sizes,
        "depth": depths(graphs),
        "MACs": cost.macs(graphs),
        "parameters": cost.params(graphs),
        "widest result": np.maximum.reduceat(graphs.columns["resolution"][:, 5], first),
        "input height": graphs.columns["resolution"][first, 0],
    }


@dataclass(frozen=True)
class Domain:
    """The operations and sizes of some graphs.

    Attributes:
        operations: names of those that occur, in the order of the vocabulary.
        sizes: of nodes, depth, MACs, parameters, … the smallest and the largest.
        scores: the names of the scores beside the graphs.
    """

    operations: Sequence[str]
    sizes: Mapping[str, tuple[int, int]]
    scores: Sequence[str] = ()

    @classmethod
    def of(cls, graphs: GraphSet) -> Domain:
        """What graphs are like; there is at least one."""
        operations = [Op(int(op)).name for op in np.unique(graphs.columns["op"])]
        sizes = {name: (int(v.min()), int(v.max())) for name, v in _sizes(graphs).items()}
        return cls(operations, sizes, sorted(graphs.scores))

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Domain:
        """What ``to_json`` gave.

        Raises:
            KeyError, TypeError, ValueError: if it is something else.
        """
        sizes = {name: (int(low), int(high)) for name, (low, high) in table["sizes"].items()}
        return cls(list(table["operations"]), sizes, list(table["scores"]))

    def __or__(self, other: Domain) -> Domain:
        """What either has, for a predictor that learnt from both."""
        operations = [op.name for op in Op if op.name in {*self.operations, *other.operations}]
        both = {name: (self.sizes[name], other.sizes[name]) for name in self.sizes if name in other.sizes}
        sizes = {name: (min(a[0], b[0]), max(a[1], b[1])) for name, (a, b) in both.items()}
        return Domain(operations, sizes, sorted({*self.scores, *other.scores}))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def outside(self, graphs: GraphSet) -> list[str]:
        """For each graph, in what it is unlike all that were learnt from; empty if in nothing."""
        reasons: list[list[str]] = [[] for _ in range(len(graphs))]
        known = np.isin([op.name for op in Op], list(self.operations))
        foreign = ~known[graphs.columns["op"]]
        pairs = np.unique(np.stack([graphs.graph_of_node[foreign], graphs.columns["op"][foreign]]), axis=1)
        operations: list[list[str]] = [[] for _ in reasons]
        for graph, op in pairs.T.tolist():
            operations[graph].append(Op(op).name)
        for found, names in zip(reasons, operations, strict=True):
            if names:
                found.append(f"operation{'s' * (len(names) > 1)} {', '.join(names)} not in training graphs")
        for name, values in _sizes(graphs).items():
            if name not in self.sizes:
                continue
            low, high = self.sizes[name]
            for graph in np.flatnonzero((values < low / MARGIN) | (values > high * MARGIN)).tolist():
                span = f"{amount(low)} to {amount(high)}" if low < high else amount(low)
                reasons[graph].append(f"{name} {amount(int(values[graph]))}, training graphs have {span}")
        return ["; ".join(found) for found in reasons]
