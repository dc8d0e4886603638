"""Contributions: what a prediction loses without a node or block, against predictors whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiop_core.errors import ContractError
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.draw.layout import Box
from aiop_core.graph.draw.scene import Scene
from aiop_core.graph.model import NODE_COLUMNS, Graph
from aiop_core.graph.ops import Op
from aiop_core.pipeline import occlusion as module
from aiop_core.pipeline.occlusion import explain, without

WORTH = {Op.Conv: 0.01, Op.ReLU: -0.02, Op.Add: 0.005}


class Additive:
    """A sum over nodes, and nothing else."""

    def fit(self, train, *, seed, device, progress):
        """Learn nothing."""

    def predict(self, graphs):
        worth = np.zeros(len(Op))
        worth[list(WORTH)] = list(WORTH.values())
        return 0.5 + graphs.sum_by_graph(worth[graphs.columns["op"]]) + graphs.scores.get("bonus", 0)


class Edges(Additive):
    """How many edges there are."""

    def predict(self, graphs):
        return np.diff(graphs.edge_offsets).astype(float)


def network(blocks=3):
    builder = GraphBuilder()
    node = builder.conv(builder.input((32, 32)), 8, 7, stride=2)
    for _ in range(blocks):
        inner = builder.add(Op.ReLU, [builder.batch_norm(builder.conv(node, 8, 3))])
        node = builder.add(Op.Add, [node, builder.batch_norm(builder.conv(inner, 8, 5))])
    builder.output(builder.linear(builder.mean(node), 10))
    return builder.build()


def of_ops(graph, found):
    return {Op(int(op)): found.of_nodes[graph.op == op] for op in np.unique(graph.op)}


@pytest.mark.parametrize("chunk", [1, 100, 200_000])
def test_known_contributions_come_back_with_their_sign(monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK_NODES", chunk)
    graph, said = network(), []
    found = explain(Additive(), graph, progress=lambda done, total: said.append((done, total)))
    for op, values in of_ops(graph, found).items():
        assert values == pytest.approx(WORTH.get(op, 0), abs=1e-12)
    assert found.of_nodes.sum() == pytest.approx(found.predicted - 0.5)
    assert said[-1][0] == said[-1][1]
    assert found.nodes()[0].part.startswith("ReLU")
    assert found.nodes()[0].contribution == pytest.approx(-0.02)


def test_a_block_taken_out_whole_is_worth_what_its_nodes_are():
    graph = network()
    found = explain(Additive(), graph)
    assert found.of_blocks
    for (lo, hi), value in found.of_blocks.items():
        assert value == pytest.approx(found.of_nodes[found.outline.order[lo:hi]].sum(), abs=1e-12)
    run = found.blocks()[0]
    assert run.part.startswith("run A, #2 to #")
    assert (run.stage, run.nodes) == ("16×16×8", 18)
    assert run.contribution == pytest.approx(3 * (2 * 0.01 - 0.02 + 0.005))
    assert run.macs == 3 * 16 * 16 * 64 * (9 + 25)
    assert run.params == 3 * 64 * (9 + 25) + 3 * 2 * 2 * 8


def test_scores_beside_the_graph_stay_as_they_are():
    found = explain(Additive(), network(), scores={"bonus": 0.25})
    assert found.predicted == pytest.approx(0.5 + 0.25 + 7 * 0.01 - 3 * 0.02 + 3 * 0.005)
    assert found.of_nodes.sum() == pytest.approx(found.predicted - 0.75)


def test_what_is_taken_out_passes_its_inputs_on():
    graph = network(1)
    conv = without(graph, np.array([2]))
    assert len(conv) == len(graph) - 1
    assert conv.op.tolist() == np.delete(graph.op, 2).tolist()
    assert [1, 2] in conv.edges.T.tolist(), "the normalisation reads what the convolution read"
    add = int(np.flatnonzero(graph.op == Op.Add)[0])
    reader = without(graph, np.array([add]))
    assert sorted(reader.edges[0, reader.edges[1] == add]) == [1, add - 1], "both inputs of the sum reach its reader"
    block = without(graph, np.arange(2, add + 1))
    assert sorted(block.edges.T.tolist())[:3] == [[0, 1], [1, 2], [2, 3]]
    assert explain(Edges(), graph).of_nodes[2] == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.randoms(use_true_random=False))
def test_paths_between_kept_nodes_stay(size, random):
    pairs = [(a, b) for b in range(size) for a in range(b) if random.random() < 0.4]
    columns = {
        "op": np.full(size, Op.Add), "resolution": np.ones((size, 6)), "kernel": np.zeros((size, 2)),
        "stride": np.ones((size, 2)), "groups": np.ones(size), "bias": np.zeros(size, bool),
        "params": np.zeros(size, int),
    }  # fmt: skip
    graph = Graph(**columns, edges=np.array(pairs, dtype=np.int32).reshape(-1, 2).T)
    gone = random.sample(range(size), random.randint(0, size - 1))
    left = without(graph, np.array(gone, dtype=int))
    kept = [n for n in range(size) if n not in gone]
    assert len(left) == len(kept)
    assert (reach(left) == reach(graph)[np.ix_(kept, kept)]).all()


def reach(graph):
    """Which node a path leads to from which."""
    found = np.zeros((len(graph), len(graph)), dtype=bool)
    for source, target in sorted(graph.edges.T.tolist(), key=lambda edge: edge[1]):
        found[:, target] |= found[:, source]
        found[source, target] = True
    return found


def test_smallest_graphs():
    builder = GraphBuilder()
    builder.output(builder.input((8, 8)))
    found = explain(Additive(), builder.build())
    assert (found.of_nodes.tolist(), found.of_blocks) == ([0, 0], {})
    graph = network()
    alone = Graph(**{c: getattr(graph, c)[1:2] for c in NODE_COLUMNS}, edges=np.zeros((2, 0), np.int32))
    assert explain(Additive(), alone).of_nodes.tolist() == [0]


def test_a_predictor_that_gives_no_numbers_is_named():
    class Silent(Additive):
        def predict(self, graphs):
            return np.full(len(graphs), np.nan)

    with pytest.raises(ContractError, match="predictor 'Silent' gave"):
        explain(Silent(), network())


def test_a_drawn_box_shows_the_block_taken_out_whole():
    graph = network()
    outline = explain(Additive(), graph).outline
    (run,) = (item for item in outline.root.children if item.kind == "run")
    whole = {"c": {(copy.lo, copy.hi): 10.0 + n for n, copy in enumerate(run.children)}}
    scene = Scene(graph, "t", {"c": np.ones(len(graph))}, "c", whole)
    first, shifts = run.children[0], tuple(copy.lo - run.lo for copy in run.children)
    assert scene.value("c", Box(first, 0, 0, 1, 1, False, shifts, 3)) == 33
    assert scene.value("c", Box(first, 0, 0, 1, 1, False, (0,), 1)) == 10
    assert scene.value("c", Box(first, 0, 0, 1, 1, False, shifts, 3), first.lo) == 3, "rows are nodes"
    assert scene.value("MACs", Box(first, 0, 0, 1, 1, False, (0,), 1)) == 16 * 16 * 64 * (9 + 25)
