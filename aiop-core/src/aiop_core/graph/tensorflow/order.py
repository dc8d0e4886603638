"""Which nodes a graph needs, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from aiop_core.errors import GraphError
from aiop_core.graph.tensorflow.library import Node

_NO_RESULTS = frozenset({"Assert", "NoOp", "PrintV2", "SaveV2", "ScalarSummary", "HistogramSummary", "ImageSummary"})


def reached_from(start: str, nodes: Mapping[str, Node]) -> set[str]:
    """The nodes that depend on ``start``, itself included."""
    readers: dict[str, list[str]] = {}
    for node in nodes.values():
        for name, _ in node.inputs:
            readers.setdefault(name, []).append(node.name)
    reached, waiting = {start}, [start]
    while waiting:
        for reader in readers.get(waiting.pop(), ()):
            if reader not in reached:
                reached.add(reader)
                waiting.append(reader)
    return reached


def sinks(nodes: Mapping[str, Node], flowing: set[str]) -> list[str]:
    """Those of ``flowing`` whose results nothing reads."""
    useful = [node for node in nodes.values() if node.op not in _NO_RESULTS]
    read = {name for node in useful for name, _ in node.inputs}
    return [n.name for n in useful if n.name in flowing and n.name not in read and n.op != "Placeholder"]


def topological(nodes: Mapping[str, Node], ends: Iterable[str], source: str) -> list[str]:
    """The nodes that ``ends`` need, each after all that it reads; nodes without a path stay in the file's order.

    Raises:
        GraphError: if a node reads one that does not exist, or there is a loop.
    """
    needed: set[str] = set()
    waiting = list(ends)
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        for other, _ in nodes[name].inputs:
            if other not in nodes:
                raise GraphError(f"{source}: node '{name}' reads '{other}', which the graph does not hold")
            waiting.append(other)
    missing = {name: len({other for other, _ in nodes[name].inputs}) for name in nodes if name in needed}
    readers: dict[str, list[str]] = {}
    for name in missing:
        for other in dict.fromkeys(other for other, _ in nodes[name].inputs):
            readers.setdefault(other, []).append(name)
    order = [name for name, count in missing.items() if not count]
    for name in order:  # grows while it is walked
        for reader in readers.get(name, ()):
            missing[reader] -= 1
            if not missing[reader]:
                order.append(reader)
    if len(order) < len(missing):
        name = _in_loop(nodes, {name for name, count in missing.items() if count})
        raise GraphError(
            f"{source}: node '{name}' ({nodes[name].op}) depends on its own result; a computation graph has no loops"
        )
    return order


def _in_loop(nodes: Mapping[str, Node], stuck: set[str]) -> str:
    """A node of a loop, not one that only waits for it."""
    seen: Counter[str] = Counter()
    name = min(stuck)
    while not seen[name]:
        seen[name] += 1
        name = next(other for other, _ in nodes[name].inputs if other in stuck)
    return name
