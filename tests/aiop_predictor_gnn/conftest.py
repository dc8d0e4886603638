"""Graphs to predict on, and where the real data are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.model import Graph, GraphSet
from aiop_core.graph.ops import Op


def chain(widths: list[int], kernel: int = 3, *, hw: int = 32) -> Graph:
    """Convolutions with skip connections wherever the width stays."""
    builder = GraphBuilder()
    node = builder.input((hw, hw))
    for width in widths:
        before = node
        node = builder.batch_norm(builder.conv(node, width, kernel))
        if builder.shape(before)[2] == width:
            node = builder.add(Op.Add, (node, before))
        node = builder.add(Op.ReLU, (node,))
    builder.output(builder.linear(builder.mean(node), 10))
    return builder.build()


def random_graphs(count: int, seed: int) -> GraphSet:
    rng = np.random.default_rng(seed)
    return GraphSet.of(
        chain(rng.choice([8, 16, 24], rng.integers(1, 9)).tolist(), int(rng.choice([1, 3, 5]))) for _ in range(count)
    )


@pytest.fixture(scope="session")
def graphs() -> GraphSet:
    return random_graphs(60, seed=0)


def research_graph(raw: dict[str, Any]) -> Graph:
    """A graph of the research code's as ours: nodes sorted topologically, attributes renamed."""
    nodes, pairs = raw["nodes"], raw["edge_pairs"]
    count = len(nodes)
    waiting = [0] * count
    after: list[list[int]] = [[] for _ in range(count)]
    for source, target in pairs:
        waiting[target] += 1
        after[source].append(target)
    order = [node for node in range(count) if not waiting[node]]
    for node in order:
        for target in after[node]:
            waiting[target] -= 1
            if not waiting[target]:
                order.append(target)
    place = {node: i for i, node in enumerate(order)}
    chosen = [nodes[node] for node in order]
    features = raw["gnn_features"]
    bias = [pair[1] for pair in features["weighted_node_bias"]]
    bias += [0] * (count - len(bias))
    return Graph(
        op=np.array([node["op_type_idx"] for node in chosen]),
        resolution=np.array([node["resolution"] for node in chosen]),
        kernel=np.array([node["shape"][2:] if "shape" in node else (0, 0) for node in chosen]),
        stride=np.ones((count, 2)),
        groups=np.ones(count),
        bias=np.array([bias[node] for node in order]),
        params=np.zeros(count),
        edges=np.array([[place[s], place[t]] for s, t in pairs]).T,
    )


@pytest.fixture(scope="session")
def research_graphs(reference: Path) -> GraphSet:
    """The ten graphs on which the research code's outputs are known, in their order."""
    info = json.loads((reference / "predictor" / "numeric_info.json").read_text())
    families = {}
    for entry in info["cgs"]:
        if entry["family"] not in families:
            with gzip.open(reference / "graphs" / f"cg_{entry['family']}.json.gz", "rt") as file:
                families[entry["family"]] = json.load(file)["cgs"]
    return GraphSet.of(research_graph(families[entry["family"]][entry["index"]]) for entry in info["cgs"])
