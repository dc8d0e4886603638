"""Numbers about paths are those of a list of all paths, where there are few enough to list."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiop_core.graph import paths
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.model import NODE_COLUMNS, Graph, GraphSet
from aiop_core.graph.ops import Op
from aiop_core.graph.paths import COUNTED, PATH_FEATURES, path_features, topological_levels

INNER = (
    *(Op.Conv, Op.Depthwise, Op.MatMul, Op.ConvTranspose, Op.Maxpool, Op.Avgpool, Op.Mean),
    *(Op.ReLU, Op.GeLU, Op.BatchNorm, Op.LayerNorm, Op.Add, Op.Concat, Op.Identity, Op.Zero),
)
WINDOWED = {Op.Conv, Op.Depthwise, Op.ConvTranspose, Op.Maxpool, Op.Avgpool}


def wired(ops: list[Op], kernels: list[int], edges: list[tuple[int, int]]) -> Graph:
    """A graph whose shapes say nothing; paths do not read them."""
    builder = GraphBuilder()
    for node, (op, kernel) in enumerate(zip(ops, kernels, strict=True)):
        inputs = [source for source, target in edges if target == node]
        builder.add(op, inputs, (8, 8, 4), kernel=(1, kernel) if op in WINDOWED else (0, 0))
    return builder.build()


@st.composite
def small_graphs(draw: st.DrawFn) -> Graph:
    """One or two inputs, up to six inner nodes, one to three outputs; any wiring, some of it dead."""
    inner = draw(st.lists(st.sampled_from(INNER), max_size=6))
    ops = [Op.Input] * draw(st.integers(1, 2)) + inner + [Op.Output] * draw(st.integers(1, 3))
    pairs = [(s, t) for t in range(len(ops)) for s in range(t) if ops[t] is not Op.Input and ops[s] is not Op.Output]
    edges = [pair for pair in pairs if draw(st.booleans())]
    return wired(ops, draw(st.lists(st.sampled_from([1, 3, 5]), min_size=len(ops), max_size=len(ops))), edges)


def adds(graph: Graph, node: int) -> np.ndarray:
    """What a node adds to each of ``COUNTED``, said once more."""
    op, kernel = Op(int(graph.op[node])), int(graph.kernel[node].max())
    weighted = op in {Op.Conv, Op.MatMul, Op.ConvTranspose}
    wide = kernel > 1 and op in WINDOWED
    found = {
        "spatial": weighted and wide,
        "pointwise": weighted and not wide,
        "depthwise": op is Op.Depthwise,
        "pool": wide and op in {Op.Maxpool, Op.Avgpool},
        "activation": op in {Op.ReLU, Op.GeLU},
        "norm": op in {Op.BatchNorm, Op.LayerNorm},
        "join": int((graph.edges[1] == node).sum()) > 1,
        "field": kernel - 1 if wide else 0,
    }
    return np.array([found[what] for what in COUNTED], dtype=float)


class Listed(NamedTuple):
    counts: np.ndarray
    chance: float


def listed(graph: Graph, node: int, alive: dict[int, bool]) -> list[Listed]:
    """Every path from an input to ``node``: what lies on it, and how likely a walk back takes it."""
    if graph.op[node] == Op.Input:
        return [Listed(np.zeros(len(COUNTED)), 1.0)]
    before = [int(s) for s, t in graph.edges.T if t == node and alive[int(s)]]
    if graph.op[node] == Op.Zero:
        before = []
    return [
        Listed(path.counts + adds(graph, node), path.chance / len(before))
        for source in before
        for path in listed(graph, source, alive)
    ]


def enumerated(graph: Graph) -> np.ndarray:
    """``path_features`` of one graph from the list of its paths."""
    alive: dict[int, bool] = {}
    for node in range(len(graph)):
        fed = [alive[int(s)] for s, t in graph.edges.T if t == node]
        alive[node] = graph.op[node] == Op.Input or (graph.op[node] != Op.Zero and any(fed))
    rows = []
    for end in np.flatnonzero(graph.op == Op.Output):
        found = listed(graph, int(end), alive)
        if not found:
            nothing = np.zeros(len(COUNTED))
            rows.append(np.concatenate([[-1], *[nothing] * 4, nothing - 1, nothing - 1]))
            continue
        counts, chance = np.stack([path.counts for path in found]), np.array([path.chance for path in found])
        assert chance.sum() == pytest.approx(1)
        walk = chance @ counts
        walk_deviation = np.sqrt(chance @ (counts - walk) ** 2)
        parts = [counts.mean(0), counts.std(0), walk, walk_deviation, counts.max(0), counts.min(0)]
        rows.append(np.concatenate([[np.log(len(found))], *parts]))
    live = sum((adds(graph, node) for node in range(len(graph)) if alive[node]), np.zeros(len(COUNTED)))
    return np.concatenate([np.mean(rows, axis=0), live])


def renumbered(graph: Graph, seed: int) -> Graph:
    """An isomorphic graph: the nodes in another topological order, the edges in any."""
    rng = np.random.default_rng(seed)
    waiting = np.bincount(graph.edges[1], minlength=len(graph))
    order: list[int] = []
    while len(order) < len(graph):
        node = int(rng.choice([n for n in np.flatnonzero(waiting == 0) if n not in order]))
        order.append(node)
        np.subtract.at(waiting, graph.edges[1, graph.edges[0] == node], 1)
    place = np.argsort(order)
    columns = {name: getattr(graph, name)[order] for name in NODE_COLUMNS}
    return replace(graph, **columns, edges=place[graph.edges[:, rng.permutation(graph.edges.shape[1])]])


def column(found: np.ndarray, name: str) -> np.ndarray:
    values: np.ndarray = found[:, PATH_FEATURES.index(name)]
    return values


def of(graph: Graph) -> dict[str, float]:
    return dict(zip(PATH_FEATURES, path_features(GraphSet.of([graph]))[0], strict=True))


@given(small_graphs())
@settings(deadline=None)
def test_equal_those_of_a_list_of_all_paths(graph: Graph) -> None:
    found = path_features(GraphSet.of([graph]))[0]
    np.testing.assert_allclose(found, enumerated(graph), atol=1e-7, err_msg=str(PATH_FEATURES))


@given(st.lists(small_graphs(), min_size=1, max_size=6), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_do_not_depend_on_the_other_graphs(graphs: list[Graph], block: int) -> None:
    alone = np.concatenate([path_features(GraphSet.of([graph])) for graph in graphs])
    order = np.random.default_rng(block).permutation(len(graphs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "BLOCK_NODES", block)
        together = path_features(GraphSet.of(graphs).take(order))
    np.testing.assert_allclose(together, alone[order], atol=1e-12)


@given(small_graphs(), st.integers(0, 99))
@settings(deadline=None)
def test_isomorphic_graphs_have_equal_rows(graph: Graph, seed: int) -> None:
    first, second = path_features(GraphSet.of([graph, renumbered(graph, seed)]))
    np.testing.assert_allclose(first, second, atol=1e-12)


def diamonds(count: int) -> Graph:
    """A chain of choices between a 3 × 3 and a 1 × 1 convolution."""
    builder = GraphBuilder()
    node = builder.input((8, 8))
    for _ in range(count):
        node = builder.add(Op.Add, (builder.conv(node, 3, 3), builder.conv(node, 3, 1)))
    builder.output(node)
    return builder.build()


def test_there_may_be_more_paths_than_numbers_can_count() -> None:
    found = of(diamonds(2000))
    assert found["log_paths"] == pytest.approx(2000 * np.log(2))
    for way in ("", "walk_"):
        assert found[f"{way}mean_spatial"] == pytest.approx(1000)
        assert found[f"{way}deviation_spatial"] == pytest.approx(np.sqrt(2000 / 4))
        assert found[f"{way}deviation_join"] == pytest.approx(0, abs=1e-9)
    assert (found["most_spatial"], found["fewest_spatial"]) == (2000, 0)
    assert (found["live_spatial"], found["live_pointwise"], found["live_join"]) == (2000, 2000, 2000)
    assert found["most_field"] == 4000
    assert found["mean_field"] == pytest.approx(2000)


def test_paths_and_walks_differ_where_one_branch_holds_more_paths() -> None:
    graph = wired(
        [Op.Input, Op.Conv, Op.Conv, Op.Identity, Op.Output],
        [3] * 5,
        [(0, 1), (0, 2), (1, 3), (2, 3), (0, 4), (3, 4)],
    )
    found = of(graph)
    assert found["mean_spatial"] == pytest.approx(2 / 3)
    assert found["walk_mean_spatial"] == pytest.approx(1 / 2)


@pytest.mark.parametrize("count", [3, 7, 12, 49])
def test_what_is_the_same_on_every_path_does_not_deviate(count: int) -> None:
    """Rounding must not look like a difference: predictors scale features to deviation 1."""
    branches = list(range(2, 2 + count))
    ops = [Op.Input, Op.Conv, *[Op.ReLU] * count, Op.Conv, Op.Add, Op.Conv, Op.Output]
    middle = count + 2
    edges = [(0, 1), *((1, b) for b in branches), (2, middle), *((b, middle + 1) for b in branches)]
    edges += [(middle, middle + 1), (middle + 1, middle + 2), (middle + 2, middle + 3)]
    found = of(wired(ops, [1, 3, *[1] * count, 1, 1, 3, 1], edges))
    assert found["mean_spatial"] == pytest.approx(2)
    for name in ("deviation_spatial", "walk_deviation_spatial", "deviation_field", "walk_deviation_activation"):
        assert found[name] < 1e-12, name


def test_nothing_passes_a_zero() -> None:
    graph = wired(
        [Op.Input, Op.Zero, Op.Conv, Op.ReLU, Op.Add, Op.Output],
        [3] * 6,
        [(0, 1), (1, 2), (0, 3), (2, 4), (3, 4), (4, 5)],
    )
    found = of(graph)
    assert found["log_paths"] == 0
    assert found["mean_spatial"] == found["most_spatial"] == found["live_spatial"] == 0
    assert found["mean_activation"] == found["live_activation"] == 1


def test_an_output_that_no_input_reaches_is_told_apart() -> None:
    reached = wired([Op.Input, Op.ReLU, Op.Output], [1] * 3, [(0, 1), (1, 2)])
    cut = wired([Op.Input, Op.ReLU, Op.Zero, Op.Output], [1] * 4, [(0, 1), (1, 2), (2, 3)])
    both = wired([Op.Input, Op.ReLU, Op.Output, Op.Output], [1] * 4, [(0, 1), (1, 2)])
    found = path_features(GraphSet.of([reached, cut, both]))
    np.testing.assert_array_equal(column(found, "log_paths"), [0, -1, -0.5])
    np.testing.assert_array_equal(column(found, "most_activation"), [1, -1, 0])
    np.testing.assert_array_equal(column(found, "fewest_activation"), [1, -1, 0])
    np.testing.assert_array_equal(column(found, "mean_activation"), [1, 0, 0.5])
    np.testing.assert_array_equal(column(found, "live_activation"), [1, 1, 1])


def test_no_graphs_have_no_rows() -> None:
    assert path_features(GraphSet.of([])).shape == (0, len(PATH_FEATURES))
    assert len(set(PATH_FEATURES)) == len(PATH_FEATURES)


@given(small_graphs())
@settings(deadline=None)
def test_levels_are_those_of_networkx(graph: Graph) -> None:
    known = nx.DiGraph()
    known.add_nodes_from(range(len(graph)))
    known.add_edges_from(graph.edges.T.tolist())
    found = [sorted(level.tolist()) for level in topological_levels(graph.edges[0], graph.edges[1], len(graph))]
    assert found == [sorted(level) for level in nx.topological_generations(known)]


def test_paths_end_where_nothing_follows_if_no_output_is_marked() -> None:
    ops, kernels = [Op.Input, Op.Conv, Op.ReLU, Op.Conv, Op.Output], [1, 3, 1, 1, 1]
    chain = [(0, 1), (1, 2), (2, 3), (3, 4)]
    unmarked = wired(ops[:-1], kernels[:-1], chain[:-1])
    together = path_features(GraphSet.of([unmarked, wired(ops, kernels, chain)]))
    assert together[0] == pytest.approx(together[1])
    assert of(unmarked)["most_spatial"] == 1
    assert of(unmarked)["most_pointwise"] == 1
