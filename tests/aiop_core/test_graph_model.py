import hashlib
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiop_core.errors import GraphError
from aiop_core.graph import fingerprints as fingerprinting
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.cost import COST_SOURCE, Cost, cost, macs, node_macs, params
from aiop_core.graph.model import NODE_COLUMNS, Graph, GraphSet
from aiop_core.graph.ops import PAPER_OPS, Op, paper_op


@st.composite
def graphs(draw, max_nodes=12):
    """Any valid graph: random columns, edges that lead forwards."""
    n = draw(st.integers(1, max_nodes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return Graph(
        op=rng.integers(0, len(Op), n),
        resolution=rng.integers(1, 5, (n, 6)),
        kernel=rng.integers(0, 4, (n, 2)),
        stride=rng.integers(1, 3, (n, 2)),
        groups=rng.integers(1, 3, n),
        bias=rng.integers(0, 2, n).astype(bool),
        params=rng.integers(0, 99, n),
        edges=np.array(edges).reshape(-1, 2).T,
    )


def chain(*ops):
    builder = GraphBuilder()
    node = builder.input((8, 8))
    for op in ops:
        node = builder.add(op, (node,))
    return builder.build()


def renumbered(graph, seed):
    """The same graph with its nodes in another topological order."""
    rng, n = np.random.default_rng(seed), len(graph)
    missing = np.bincount(graph.edges[1], minlength=n)
    order, ready = [], [i for i in range(n) if not missing[i]]
    while ready:
        node = ready.pop(rng.integers(len(ready)))
        order.append(node)
        for target in graph.edges[1][graph.edges[0] == node]:
            missing[target] -= 1
            if not missing[target]:
                ready.append(int(target))
    place = np.argsort(order)
    columns = {name: getattr(graph, name)[order] for name in NODE_COLUMNS}
    return Graph(**columns, edges=place[graph.edges][:, rng.permutation(graph.edges.shape[1])])


# --- One graph ------------------------------------------------------------------------


@given(graph=graphs(), seed=st.integers(0, 99))
def test_fingerprint_does_not_depend_on_the_order_of_nodes(graph, seed):
    assert renumbered(graph, seed).fingerprint == graph.fingerprint


@given(graph=graphs(), data=st.data())
def test_fingerprint_depends_on_every_column(graph, data):
    name = data.draw(st.sampled_from([n for n in NODE_COLUMNS if n != "op"]))
    node = data.draw(st.integers(0, len(graph) - 1))
    changed = getattr(graph, name).copy()
    changed[node] = ~changed[node] if name == "bias" else changed[node] + 1
    assert replace(graph, **{name: changed}).fingerprint != graph.fingerprint


@given(graph=graphs(), data=st.data())
def test_fingerprint_depends_on_the_edges(graph, data):
    if not graph.edges.size:
        return
    dropped = data.draw(st.integers(0, graph.edges.shape[1] - 1))
    assert replace(graph, edges=np.delete(graph.edges, dropped, axis=1)).fingerprint != graph.fingerprint


def test_fingerprint_tells_apart_where_equal_nodes_are_wired_differently():
    """Two chains of two against a chain of three and a single node: same nodes, other depths."""
    columns = {name: np.repeat(getattr(chain(), name), 4, axis=0) for name in NODE_COLUMNS}
    pairs = Graph(**columns, edges=[[0, 2], [1, 3]])
    triple = Graph(**columns, edges=[[0, 1], [1, 2]])
    assert pairs.fingerprint != triple.fingerprint


@given(items=st.lists(graphs(max_nodes=40), max_size=6), block=st.integers(1, 60))
def test_fingerprints_of_a_set_are_those_of_its_graphs(items, block):
    with patch.object(fingerprinting, "BLOCK_NODES", block):
        assert fingerprinting.fingerprints(GraphSet.of(items)) == [graph.fingerprint for graph in items]


def deep(kernels):
    """Convolutions in a row, alike but for some kernels."""
    builder = GraphBuilder()
    node = builder.input((8, 8))
    for layer in range(60):
        node = builder.add(Op.ReLU, [builder.conv(node, 3, kernels.get(layer, 3))])
    return builder.build()


def test_fingerprint_tells_long_chains_apart():
    near, far, short = deep({20: 5, 40: 7}), deep({20: 7, 40: 5}), chain(Op.ReLU)
    assert near.fingerprint != far.fingerprint
    assert near.fingerprint == renumbered(near, 0).fingerprint
    found = fingerprinting.fingerprints(GraphSet.of([near, short, far]))
    assert found == [near.fingerprint, short.fingerprint, far.fingerprint]


def test_fingerprint_of_a_graph_that_settles_early_is_that_of_sixteen_rounds():
    settled = chain(*[Op.ReLU, Op.Tanh, Op.Sigmoid] * 4, Op.Softmax, *[Op.ReLU] * 4)
    assert len(settled) > 16
    assert settled.fingerprint == hashlib.sha256(np.sort(settled.colours()).tobytes()).hexdigest()[:16]


def test_fingerprint_is_stable_over_processes():
    fingerprint = chain(Op.ReLU, Op.Sigmoid).fingerprint
    assert fingerprint == GOLDEN_FINGERPRINT
    assert len(fingerprint) == len(hashlib.sha256(b"").hexdigest()[:16])


GOLDEN_FINGERPRINT = "a186d3b8de9065e4"
"""Of the input-ReLU-Sigmoid chain; stores and splits rely on it, so a change needs a new store version."""


@given(graph=graphs())
def test_equality_is_that_of_rows_and_edges(graph):
    again = Graph(**{name: getattr(graph, name).tolist() for name in NODE_COLUMNS}, edges=graph.edges.tolist())
    assert again == graph
    assert hash(again) == hash(graph)
    assert graph != replace(graph, params=graph.params + 1)
    assert graph != "graph"


def test_columns_and_edges_cannot_be_changed():
    graph = chain(Op.ReLU)
    for name in (*NODE_COLUMNS, "edges"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(graph, name)[...] = 0


def test_making_a_graph_leaves_the_given_arrays_writeable():
    given = {name: np.array(getattr(chain(Op.ReLU), name)) for name in NODE_COLUMNS}
    edges = np.array([[0], [1]], dtype=np.int32)
    Graph(**given, edges=edges)
    assert edges.flags.writeable
    assert all(array.flags.writeable for array in given.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": [[1, 1]]}, r"graph column 'kernel' has shape \(1, 2\), expected \(2, 2\)"),
        ({"groups": [[1], [1]]}, r"graph column 'groups' has shape \(2, 1\), expected \(2,\)"),
        ({"edges": [[0, 1]]}, r"graph edges have shape \(1, 2\), expected \(2, number of edges\)"),
        ({"op": [1, 99]}, r"operation index 99 is not in the vocabulary \(0 to \d+\)"),
        ({"op": [-1, 6]}, "operation index -1 is not in the vocabulary"),
        ({"resolution": [[1] * 6, [1, 1, 1, 0, 1, 1]]}, r"node 1 \(ReLU\) has resolution \[1, 1, 1, 0, 1, 1\]"),
        ({"edges": [[0], [2]]}, "an edge points outside the graph's 2 nodes"),
        ({"edges": [[-1], [1]]}, "an edge points outside the graph's 2 nodes"),
        ({"edges": [[1], [0]]}, "nodes are not in topological order: an edge leads backwards"),
        ({"edges": [[1], [1]]}, "an edge leads backwards"),
    ],
)
def test_a_graph_that_breaks_an_invariant_is_refused(changes, message):
    with pytest.raises(GraphError, match=message):
        replace(chain(Op.ReLU), **changes)


def test_an_empty_graph_is_refused():
    with pytest.raises(GraphError, match="a graph needs at least one node"):
        GraphBuilder().build()


# --- Sets -----------------------------------------------------------------------------


def test_values_that_a_column_cannot_hold_are_refused() -> None:
    with pytest.raises(GraphError, match="graph column 'kernel' has the value 40000; at most 32767 is allowed"):
        build(lambda b, n: b.add(Op.Avgpool, (n,), (1, 1, 4), kernel=(40000, 1)))


@given(items=st.lists(graphs(), max_size=6))
def test_a_set_gives_back_its_graphs(items):
    found = GraphSet.of(items)
    assert list(found) == items
    assert len(found) == len(items)
    assert found.sizes.tolist() == [len(g) for g in items]
    assert found.graph_of_node.tolist() == [i for i, g in enumerate(items) for _ in range(len(g))]


@given(items=st.lists(graphs(), min_size=1, max_size=6), data=st.data())
def test_taking_from_a_set_is_taking_from_a_list(items, data):
    chosen = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=8))
    start, stop = sorted((data.draw(st.integers(-7, 7)), data.draw(st.integers(-7, 7))))
    found = GraphSet.of(items)
    assert list(found.take(chosen)) == [items[i] for i in chosen]
    assert list(found.take(np.array(chosen, dtype=np.int64)).take([])) == []
    assert list(found[start:stop]) == items[start:stop]
    assert list(found[::-1]) == items[::-1]
    assert found[-1] == items[-1]


@given(items=st.lists(graphs(), min_size=1, max_size=6))
def test_sums_by_graph(items):
    found = GraphSet.of(items)
    assert found.sum_by_graph(found.columns["params"]).tolist() == [g.params.sum() for g in items]


def test_an_index_outside_a_set_is_an_index_error():
    with pytest.raises(IndexError):
        GraphSet.of([chain()])[1]


def test_columns_that_do_not_belong_together_are_refused():
    found = GraphSet.of([chain(Op.ReLU), chain()])
    missing = {name: column for name, column in found.columns.items() if name != "bias"}
    with pytest.raises(GraphError, match="graph set: column 'bias' is missing or does not have 3 rows"):
        replace(found, columns=missing)
    with pytest.raises(GraphError, match="graph set: column 'op' is missing or does not have 3 rows"):
        replace(found, columns={**found.columns, "op": found.columns["op"][:2]})
    with pytest.raises(GraphError, match="graph set: edges and offsets do not belong together"):
        replace(found, edges=found.edges[:, :0])
    with pytest.raises(GraphError, match="graph set: edges and offsets do not belong together"):
        replace(found, edge_offsets=found.edge_offsets[[0, -1]])


# --- Vocabulary -----------------------------------------------------------------------


def test_the_papers_operations_keep_their_indices():
    """Source: Ascend-Research/AIO-P, ``data/tf_primitive_ops_simplified.txt``."""
    assert PAPER_OPS == 32
    assert [op.name for op in list(Op)[:8]] == [
        "OOV",
        "Input",
        "Output",
        "Conv",
        "Depthwise",
        "BatchNorm",
        "ReLU",
        "ReLU6",
    ]
    assert (Op.MatMul, Op.Concat, Op.Mean, Op.Global, Op.Zero, Op.Reserved5) == (8, 11, 19, 24, 26, 31)
    assert [int(op) for op in Op] == list(range(len(Op)))


def test_operations_that_the_paper_had_no_name_for():
    assert paper_op(Op.ConvTranspose) is Op.Conv
    assert paper_op(Op.Softmax) is Op.OOV
    assert paper_op(Op.Mean) is Op.Mean


# --- Cost -----------------------------------------------------------------------------


def build(*steps):
    """A graph from functions of (builder, node)."""
    builder = GraphBuilder()
    node = builder.input((10, 8), 6)
    for step in steps:
        node = step(builder, node)
    builder.output(node)
    return builder.build()


@pytest.mark.parametrize(
    ("step", "expected_macs", "expected_params"),
    [
        (lambda b, n: b.conv(n, 4, 3), 10 * 8 * 9 * 6 * 4, 9 * 6 * 4),
        (lambda b, n: b.conv(n, 4, 3, stride=2, bias=True), 5 * 4 * 9 * 6 * 4, 9 * 6 * 4 + 4),
        (lambda b, n: b.conv(n, 4, 1, groups=2), 10 * 8 * 6 * 4 // 2, 6 * 4 // 2),
        (lambda b, n: b.conv(n, 6, 5, groups=6), 10 * 8 * 25 * 6, 25 * 6),
        (lambda b, n: b.linear(b.mean(n), 7), 6 * 7, 6 * 7 + 7),
        (lambda b, n: b.linear(n, 7, bias=False), 10 * 8 * 6 * 7, 6 * 7),
        (lambda b, n: b.batch_norm(n), 0, 12),
        (lambda b, n: b.hard_swish(n), 0, 0),
        (
            lambda b, n: b.add(Op.ConvTranspose, (n,), (20, 16, 4), kernel=(4, 4), stride=(2, 2), params=16 * 6 * 4),
            10 * 8 * 16 * 6 * 4,
            16 * 6 * 4,
        ),
    ],
    ids=["conv", "strided", "grouped", "depthwise", "linear", "pointwise", "norm", "hswish", "transposed"],
)
def test_cost_by_hand(step, expected_macs, expected_params):
    found = cost(build(step))
    assert found == Cost(expected_macs, expected_params, COST_SOURCE)


@given(items=st.lists(graphs(), min_size=1, max_size=5))
def test_cost_of_a_set_is_that_of_each_graph(items):
    found = GraphSet.of(items)
    assert macs(found).tolist() == [cost(g).macs for g in items]
    assert params(found).tolist() == [cost(g).params for g in items]


def test_large_convolutions_do_not_overflow():
    builder = GraphBuilder()
    builder.conv(builder.input((2048, 2048), 2048), 2048, 3)
    assert cost(builder.build()).macs == 2048**4 * 9


def test_macs_of_nodes_are_whole_numbers():
    found = node_macs(GraphSet.of([build(lambda b, n: b.conv(n, 4, 3))]).columns)
    assert found.dtype == np.int64
    assert found.tolist() == [0, 10 * 8 * 9 * 6 * 4, 0]
