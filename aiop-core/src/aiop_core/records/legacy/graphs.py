"""The research code's graphs as ours: same nodes, same edges, in topological order.

What is translated, beside the order of nodes:

- A transposed convolution, which the research code calls ``Conv``, is ``ConvTranspose``;
  a bilinear resize, which it calls ``Identity``, is ``Resize``. ``paper_op`` leads back for
  the first.
- Groups and parameters, which it does not store, follow from the kernel's shape. Batch
  normalisation has a scale and a shift.
- A kernel that several convolutions share reached one of them only; the others came without,
  and have kernel 0 × 0 and no parameters here, too. ``Translator.without_kernel`` counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from aiop_core.errors import CacheError
from aiop_core.graph.model import NODE_COLUMNS, Graph
from aiop_core.graph.ops import PAPER_OPS, Op
from aiop_core.records.legacy.unpickler import LegacyArray, LegacyGraph, LegacyNode

MAX_DEPTH = 20
"""How deep lists in a configuration may be nested."""

_WINDOWED = frozenset({Op.Conv, Op.Depthwise, Op.ConvTranspose})


class Translator:
    """Translates what one pickle holds.

    References let a small pickle describe huge graphs, many times the same one: all together
    may have as many nodes, edges and values as the pickle has bytes. Real ones have one in 25.

    Args:
        size: bytes of the pickle.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self.without_kernel = 0

    def _spend(self, units: int) -> None:
        self._left -= units
        if self._left < 0:
            raise CacheError("it describes more nodes, edges and values than its size explains; it is not read")

    def graph(self, source: Any) -> Graph:
        """One graph.

        Raises:
            CacheError: naming the node or edge that makes no sense.
            GraphError: if the graph breaks an invariant, such as a resolution of 0.
        """
        if not isinstance(source, LegacyGraph):
            raise CacheError(f"its graph is a {type(source).__name__}, not a ComputeGraph")
        lists = source.weighted_nodes, source.regular_nodes, source.edge_pairs
        if not all(isinstance(part, list) for part in lists):
            raise CacheError("its graph lacks nodes or edges")
        weighted, regular, pairs = lists
        self._spend(len(weighted) + len(regular) + len(pairs))
        nodes = [*weighted, *regular]
        order, edges = _sorted(len(nodes), pairs)
        rows = [self._row(nodes[old], number) for number, old in enumerate(order)]
        table = np.array(rows, dtype=object).reshape(len(rows), 14)
        columns = dict(zip(NODE_COLUMNS, np.split(table, (1, 7, 9, 11, 12, 13), axis=1), strict=True))
        return Graph(**{name: _column(name, values) for name, values in columns.items()}, edges=edges)

    def _row(self, node: Any, number: int) -> list[int]:
        """Operation, resolution, kernel, stride, groups, bias and parameters."""
        if not isinstance(node, LegacyNode):
            raise CacheError(f"node {number} of its graph is a {type(node).__name__}")
        where = f"node {number} of its graph"
        (index,) = _integers([node.op_type_idx], 1, f"the operation of {where}")
        if index >= PAPER_OPS:
            raise CacheError(f"{where} has operation {index}; the research code's vocabulary ends at {PAPER_OPS - 1}")
        op, label = Op(index), node.label if isinstance(node.label, str) else ""
        if op is Op.Conv and "transpose" in label:
            op = Op.ConvTranspose
        resolution = _integers(node.resolution, 6, f"the resolution of {where}")
        if op is Op.Identity and resolution[:3:2] != resolution[1:4:2]:
            op = Op.Resize
        details = node.metadata if isinstance(node.metadata, dict) else {}
        axes = slice(2, 4) if details.get("data_format") == "NCHW" else slice(1, 3)
        stride = [1, 1] if node.strides is None else _integers(node.strides, 4, f"the strides of {where}")[axes]
        shape = [0, 0, 0, 0] if node.shape is None else _integers(node.shape, 4, f"the kernel of {where}")
        window = _integers(details["ksize"], 4, f"the window of {where}")[axes] if "ksize" in details else shape[2:]
        bias, c_in, c_out = int(details.get("use_bias") is True), resolution[4], resolution[5]
        groups, params = 1, 0
        if op in _WINDOWED:
            self.without_kernel += shape == [0, 0, 0, 0]
            params = shape[0] * shape[1] * shape[2] * shape[3] + bias * c_out
            if op is Op.Depthwise:
                groups = c_in
            elif op is Op.Conv and 0 < shape[0] < c_in and c_in % shape[0] == 0:
                groups = c_in // shape[0]
        elif op is Op.MatMul:
            window, params = [0, 0], shape[0] * shape[1] + bias * c_out
        elif op is Op.BatchNorm:
            params = 2 * c_out
        return [op, *resolution, *window, *stride, groups, bias, params]

    def plain(self, value: Any, depth: int = 0) -> Any:
        """A configuration as JSON values; arrays become lists.

        Raises:
            CacheError: if it is nested too deep or holds something else.
        """
        if isinstance(value, LegacyArray) and value.values is not None:
            self._spend(value.values.size)
            value = value.values.tolist()
        self._spend(len(value) if isinstance(value, str | list | tuple | dict) else 1)
        if depth > MAX_DEPTH:
            raise CacheError(f"its configuration is nested deeper than {MAX_DEPTH}")
        if isinstance(value, list | tuple):
            return [self.plain(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {key: self.plain(item, depth + 1) for key, item in value.items()}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise CacheError(f"its configuration holds a {type(value).__name__}")


def without_identity(graph: Graph) -> Graph:
    """The graph without the nodes that compute nothing, which tracing a module does not see.

    They are what TensorFlow leaves of dropout, and skip connections of searched cells.
    """
    before: list[list[int]] = [[] for _ in range(len(graph))]
    for source, target in graph.edges.T.tolist():
        before[target].append(source)
    dropped = graph.op == Op.Identity
    stands_for = list(range(len(graph)))
    for node in np.flatnonzero(dropped).tolist():
        if len(before[node]) == 1:
            stands_for[node] = stands_for[before[node][0]]
        else:
            dropped[node] = False
    number = np.cumsum(~dropped) - 1
    edges = {(stands_for[source], target) for source, target in graph.edges.T.tolist() if not dropped[target]}
    renumbered = number[np.array(sorted(edges), dtype=np.int64).reshape(-1, 2).T]
    return Graph(**{name: getattr(graph, name)[~dropped] for name in NODE_COLUMNS}, edges=renumbered)


def _sorted(count: int, pairs: Sequence[Any]) -> tuple[list[int], np.ndarray[Any, Any]]:
    """Old node numbers in topological order, and the edges in new numbers."""
    edges = [tuple(_integers(pair, 2, "an edge of its graph")) for pair in pairs]
    sorter: TopologicalSorter[int] = TopologicalSorter(dict.fromkeys(range(count), ()))
    for source, target in edges:
        if max(source, target) >= count:
            raise CacheError(f"an edge of its graph leads from {source} to {target}, but there are {count} nodes")
        sorter.add(target, source)
    try:
        order = list(sorter.static_order())
    except CycleError:
        raise CacheError("its graph has a cycle") from None
    number = np.empty(count, dtype=np.int64)
    number[order] = np.arange(count)
    unique = np.array(sorted(set(edges)), dtype=np.int64).reshape(-1, 2)
    return order, number[unique].T


def _integers(values: Any, length: int, what: str) -> list[int]:
    """``length`` whole numbers of at least 0."""
    if isinstance(values, list | tuple) and len(values) == length and all(type(v) is int and v >= 0 for v in values):
        return list(values)
    raise CacheError(f"{what} is not {length} whole numbers of at least 0")


def _column(name: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whole numbers of any size as a column of our graph, if they fit."""
    dtype, width = NODE_COLUMNS[name]
    largest = 1 if issubclass(dtype, np.bool_) else int(np.iinfo(np.dtype(dtype).str).max)
    if values.size and values.max() > largest:
        raise CacheError(f"a node's {name} is {str(values.max())[:20]}; at most {largest} is possible")
    return values.astype(dtype).reshape(-1, width) if width else values.astype(dtype).reshape(-1)
