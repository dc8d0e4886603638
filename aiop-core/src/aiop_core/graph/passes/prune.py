"""Dropping what reaches no output."""

from __future__ import annotations

from typing import Any

import numpy as np

from aiop_core.graph.model import NODE_COLUMNS, Graph
from aiop_core.graph.ops import Op


def _keep(graph: Graph, kept: np.ndarray[Any, Any], edges: np.ndarray[Any, Any]) -> Graph:
    """The rows where ``kept`` holds, with ``edges`` (old numbers) renumbered, repeats dropped."""
    number = np.cumsum(kept) - 1
    unique = np.unique(number[edges].T, axis=0).T if edges.size else edges
    return Graph(**{name: getattr(graph, name)[kept] for name in NODE_COLUMNS}, edges=unique)


def prune(graph: Graph) -> Graph:
    """Drop nodes whose result reaches no output, such as unused branches."""
    useful = graph.op == Op.Output
    for source, target in graph.edges[:, ::-1][:, np.argsort(-graph.edges[1, ::-1], kind="stable")].T:
        useful[source] |= useful[target]
    useful |= graph.op == Op.Input
    if useful.all():
        return graph
    edges = graph.edges[:, useful[graph.edges[0]] & useful[graph.edges[1]]]
    return _keep(graph, useful, edges)
