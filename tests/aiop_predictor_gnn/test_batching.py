"""Unrolled graphs share neighbourhoods, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aiop_core.graph.model import Graph, GraphSet
from aiop_predictor_gnn.batching import Gather, Layers, Rows
from aiop_predictor_gnn.encoder import LAYERS, GraphRegressor
from aiop_predictor_gnn.nodes import VOCABULARIES, NodeTable


def layers(graphs: GraphSet) -> Layers:
    return Layers.of(graphs, NodeTable.of(graphs, VOCABULARIES["aiop"], "fixed"), LAYERS)


@pytest.fixture(scope="module")
def network() -> GraphRegressor:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GraphRegressor(VOCABULARIES["aiop"]).requires_grad_(False)


@st.composite
def graph_sets(draw: st.DrawFn) -> GraphSet:
    """Any acyclic graphs: several sources, parallel edges, isolated nodes, edges in any order."""
    graphs = []
    for _ in range(draw(st.integers(1, 4))):
        count = draw(st.integers(1, 7))
        pairs = [(s, t) for t in range(count) for s in range(t)]
        edges = draw(st.lists(st.sampled_from(pairs), max_size=12)) if pairs else []
        ops = draw(st.lists(st.sampled_from([1, 3, 5, 9]), min_size=count, max_size=count))
        graphs.append(
            Graph(
                op=np.array(ops),
                resolution=np.full((count, 6), 8),
                kernel=np.full((count, 2), 3),
                stride=np.ones((count, 2)),
                groups=np.ones(count),
                bias=np.zeros(count),
                params=np.zeros(count),
                edges=np.array(edges, dtype=np.int32).reshape(-1, 2).T,
            )
        )
    return GraphSet.of(graphs)


def plainly(network: GraphRegressor, graphs: GraphSet) -> torch.Tensor:
    """Message passing over every node, graph by graph."""
    nodes = NodeTable.of(graphs, VOCABULARIES["aiop"], "fixed")
    x = network.embedding(nodes.tensors("cpu"))
    out = []
    for i, graph in enumerate(graphs):
        h = x[graphs.node_offsets[i] : graphs.node_offsets[i + 1]]
        adjacency = torch.zeros(len(graph), len(graph))
        for source, target in graph.edges.T.tolist():
            adjacency[target, source] += 1
        for layer in network.encoder.layers:
            h = torch.tanh(layer.lin_root(h) + layer.lin_rel(adjacency @ h))
        out.append(h.mean(dim=0))
    return network.head(torch.stack(out))


@settings(deadline=None, max_examples=50)
@given(graph_sets())
def test_any_graphs_give_what_plain_message_passing_gives(network: GraphRegressor, graphs: GraphSet) -> None:
    torch.testing.assert_close(network(layers(graphs).batch()), plainly(network, graphs), atol=1e-6, rtol=0)


def test_a_graph_without_edges_is_read(network: GraphRegressor, graphs: GraphSet) -> None:
    lone = Graph(*(np.ones((1, w) if w else 1, int) for w in (0, 6, 2, 2, 0, 0, 0)), edges=np.zeros((2, 0)))
    together = GraphSet.of([graphs[0], lone, graphs[1]])
    torch.testing.assert_close(network(layers(together).batch()), plainly(network, together), atol=1e-6, rtol=0)


def test_a_graph_does_not_depend_on_its_batch(network: GraphRegressor, graphs: GraphSet) -> None:
    unrolled = layers(graphs)
    whole = network(unrolled.batch())
    order = np.random.default_rng(0).permutation(len(graphs))
    parts = [network(unrolled.take(order[i : i + 7]).batch()) for i in range(0, len(order), 7)]
    torch.testing.assert_close(torch.cat(parts), whole[order], atol=1e-6, rtol=0)


def test_a_graph_may_be_taken_twice(network: GraphRegressor, graphs: GraphSet) -> None:
    unrolled = layers(graphs)
    whole = network(unrolled.batch())
    torch.testing.assert_close(network(unrolled.take(np.array([3, 3, 1])).batch()), whole[[3, 3, 1]], atol=1e-6, rtol=0)


def test_equal_neighbourhoods_are_computed_once(graphs: GraphSet) -> None:
    once = layers(graphs)
    twice = layers(graphs.take(np.tile(np.arange(len(graphs)), 2)))
    assert len(twice) == 2 * len(once)
    assert [len(hop) for hop in twice.hops] == [len(hop) for hop in once.hops]
    assert len(once.nodes) < len(once.hops[-1]) < graphs.node_offsets[-1]


def test_what_differs_only_far_away_stays_apart() -> None:
    """Two chains whose first nodes differ have nothing in common within the hops that see it."""

    def line(first: int) -> Graph:
        ops = np.array([first, 5, 5, 5])
        ones = np.ones(4)
        return Graph(
            ops,
            np.ones((4, 6)),
            np.zeros((4, 2)),
            np.ones((4, 2)),
            ones,
            ones * 0,
            ones * 0,
            np.array([[0, 1, 2], [1, 2, 3]]),
        )

    graphs = GraphSet.of([line(1), line(6)])
    unrolled = Layers.of(graphs, NodeTable.of(graphs, VOCABULARIES["aiop"], "fixed"), 3)
    assert len(unrolled.nodes) == 3
    assert [len(hop) for hop in unrolled.hops] == [5, 7, 8]
    last = unrolled.readout.indices.reshape(2, 4)
    assert set(last[0]).isdisjoint(last[1])


def test_a_gather_and_its_gradient_are_a_matrix_product() -> None:
    rows = Rows(np.array([0, 2, 2, 1]), np.array([0, 2, 2, 4]))
    matrix = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 1]])
    gather = Gather.of(rows, 3, "cpu")
    values = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    (gather(values) * weight).sum().backward()
    torch.testing.assert_close(gather(values), matrix @ values)
    torch.testing.assert_close(values.grad, matrix.T @ weight)
