"""Graph features against graphs small enough to count by hand."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.cost import macs, params
from aiop_core.graph.features import depths, graph_features
from aiop_core.graph.model import Graph, GraphSet
from aiop_core.graph.ops import Op


def small() -> Graph:
    """An image of 32 × 32, a strided convolution, a depthwise one with a skip, a classifier."""
    builder = GraphBuilder()
    node = builder.conv(builder.input((32, 32)), 16, 3, stride=2)
    wide = builder.conv(node, 16, 5, groups=16)
    node = builder.add(Op.Add, (builder.batch_norm(wide), node))
    builder.output(builder.linear(builder.mean(node), 10))
    return builder.build()


def features_of(*graphs: Graph) -> list[dict[str, float]]:
    table, names = graph_features(GraphSet.of(graphs))
    return [dict(zip(names, row, strict=True)) for row in table.tolist()]


def test_counts_are_those_counted_by_hand() -> None:
    (found,) = features_of(small())
    graphs = GraphSet.of([small()])
    expected = {
        "log10_macs": np.log10(macs(graphs)[0] + 1),
        "log10_params": np.log10(params(graphs)[0] + 1),
        "nodes": 8,
        "edges": 8,
        "depth": 7,
        "op_Conv": 1,
        "op_Depthwise": 1,
        "op_Add": 1,
        "op_MatMul": 1,
        "op_Resize": 0,
        "kernel_3": 1,
        "kernel_5": 0,
        "depthwise_kernel_5": 1,
        "width_max": 16,
        "width_mean": (16 + 16 + 10) / 3,
        "expansion_mean": (16 / 3 + 10 / 16) / 2,
        "stage0_weighted": 0,
        "stage1_weighted": 2,
        "stage1_spatial": 2,
        "stage1_kernel_mean": 4,
        "stage1_width_mean": 16,
        "stage1_log10_macs": np.log10(16 * 16 * (9 * 3 * 16 + 25 * 16) + 1),
        "stage5_weighted": 1,
        "stage5_log10_params": np.log10(16 * 10 + 10 + 1),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_graph_has_the_same_features_in_any_company() -> None:
    other = GraphBuilder()
    other.output(other.conv(other.input((8, 8)), 4, 9))
    alone, together = features_of(small())[0], features_of(other.build(), small())
    assert together[1] == alone
    assert together[0]["kernel_8"] == 1


def test_no_graphs_have_no_rows() -> None:
    table, names = graph_features(GraphSet.of([]))
    assert table.shape == (0, len(names))
    assert len(set(names)) == len(names)


@st.composite
def edge_lists(draw: st.DrawFn) -> list[tuple[int, list[tuple[int, int]]]]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        count = draw(st.integers(1, 9))
        pairs = [(s, t) for t in range(count) for s in range(t)]
        found.append((count, draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []))
    return found


@settings(deadline=None)
@given(edge_lists())
def test_depth_is_the_longest_path(cases: list[tuple[int, list[tuple[int, int]]]]) -> None:
    graphs, expected = [], []
    for count, edges in cases:
        ones = np.ones(count)
        graphs.append(
            Graph(
                ones, np.ones((count, 6)), np.ones((count, 2)), np.ones((count, 2)), ones, ones, ones,
                np.array(edges, dtype=np.int32).reshape(-1, 2).T,
            )
        )  # fmt: skip
        oracle = nx.DiGraph(edges)
        oracle.add_nodes_from(range(count))
        expected.append(nx.dag_longest_path_length(oracle))
    assert depths(GraphSet.of(graphs)).tolist() == expected
