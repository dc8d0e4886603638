"""Differences between graphs: found where they are, and nowhere else."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.diff import compare
from aiop_core.graph.model import NODE_COLUMNS, Graph
from aiop_core.graph.ops import Op
from aiop_core.graph.trace import trace


def net(*widths: int, kernel: int = 3, branch: bool = False, extra: bool = False) -> Graph:
    b = GraphBuilder()
    x = b.input((32, 32))
    for i, width in enumerate(widths):
        y = b.add(Op.ReLU, (b.batch_norm(b.conv(x, width, kernel if i == 1 else 3)),))
        x = b.add(Op.Add, (y, b.add(Op.Sigmoid, (y,)))) if branch and i == 1 else y
        if extra and i == 0:
            x = b.add(Op.Tanh, (x,))
    b.output(b.linear(b.mean(x), 10))
    return b.build()


def shuffled(graph: Graph, order: list[int]) -> Graph:
    """The same graph with its nodes in another topological order."""
    place = np.argsort(order)
    return Graph(**{name: getattr(graph, name)[order] for name in NODE_COLUMNS}, edges=place[graph.edges])


def test_equal_graphs_have_no_difference() -> None:
    assert not compare(net(8, 16, 32), net(8, 16, 32))


def test_a_changed_kernel_is_one_changed_node() -> None:
    difference = compare(net(8, 16, 32), net(8, 16, 32, kernel=5))
    (change,) = difference.changed
    assert (change.op, change.a, change.b) == ("Conv", 4, 4)
    assert change.values == {"kH": (3, 5), "kW": (3, 5), "params": (8 * 16 * 9, 8 * 16 * 25)}
    assert not any((difference.only_a, difference.only_b, difference.edges_a, difference.edges_b))


def test_an_inserted_node_is_found_with_its_edges() -> None:
    difference = compare(net(8, 16, 32), net(8, 16, 32, extra=True))
    assert not difference.changed
    assert [op for _, op in difference.only_b] == ["Tanh"]
    assert list(difference.edges_a) == [(3, 4)]
    assert not difference.only_a
    assert compare(net(8, 16, 32, extra=True), net(8, 16, 32)).only_a == difference.only_b


def test_a_missing_skip_connection_is_an_edge() -> None:
    def joined(*, skip: bool) -> Graph:
        b = GraphBuilder()
        x = b.conv(b.input((8, 8)), 4, 3)
        y = b.add(Op.ReLU, (x,))
        b.output(b.add(Op.Add, (y, x) if skip else (y,)))
        return b.build()

    difference = compare(joined(skip=True), joined(skip=False))
    assert list(difference.edges_a) == [(1, 3)]
    assert not any((difference.changed, difference.only_a, difference.only_b, difference.edges_b))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([4, 8, 16]), min_size=2, max_size=5), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_order_of_nodes_does_not_matter(widths: list[int], branch: bool, seed: int) -> None:
    graph = net(*widths, branch=branch)
    generator = np.random.default_rng(seed)
    order: list[int] = []
    waiting = {n: {int(s) for s, t in graph.edges.T if t == n} for n in range(len(graph))}
    while waiting:
        ready = [n for n, before in waiting.items() if before <= set(order)]
        order.append(int(generator.choice(ready)))
        del waiting[order[-1]]
    assert not compare(graph, shuffled(graph, order))
    other = net(*widths[:-1], widths[-1] * 2, branch=branch)
    difference = compare(shuffled(graph, order), other)
    assert difference
    assert not any((difference.only_a, difference.only_b))
    assert {c.op for c in difference.changed} <= {"Conv", "BatchNorm", "ReLU", "Mean", "MatMul", "Add", "Sigmoid"}


def test_every_node_and_edge_is_accounted_for() -> None:
    a, b = trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), (3, 8, 8)), net(8, 16)
    difference = compare(a, b)
    paired = len(a) - len(difference.only_a)
    assert paired == len(b) - len(difference.only_b)
    assert paired >= 3


MODELS = """
from torch import nn

def folded():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

def normed():
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())

def wider():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.Sigmoid())
"""


@pytest.fixture
def models(tmp_path):
    file = tmp_path / "models_to_compare.py"
    file.write_text(MODELS)
    return lambda name: f"{file}:{name}"


def test_command_says_equal_and_exits_with_0(aiop, models) -> None:
    found = aiop("graph", "diff", models("folded"), models("normed"), "--input-shape", "3,8,8")
    assert found.code == 0
    assert "equal: the same nodes" in found.out


def test_command_lists_differences_and_exits_with_1(aiop, models) -> None:
    found = aiop("graph", "diff", models("folded"), models("wider"), "--input-shape", "3,8,8")
    assert found.code == 1
    assert "~ 1 | 1 Conv: C_out 4 → 6, params 112 → 168" in found.out
    assert "- 2 ReLU 6x6x4 → 6x6x4, 0 parameters, reads [1]" in found.out
    assert "+ 2 Sigmoid" in found.out
    exact = aiop("graph", "diff", models("folded"), models("normed"), "--input-shape", "3,8,8", "--exact", "--json")
    assert exact.code == 1
    data = json.loads(exact.out)
    assert data["equal"] is False
    assert [op for _, op in data["only_b"]] == ["BatchNorm"]


def test_command_exits_with_2_where_a_model_cannot_be_read(aiop, models) -> None:
    found = aiop("graph", "diff", models("folded"), models("missing"), "--input-shape", "3,8,8")
    assert found.code == 2
    assert "has no 'missing'" in found.err


def test_limit_cuts_long_lists(aiop, models) -> None:
    found = aiop("graph", "diff", models("folded"), models("wider"), "--input-shape", "3,8,8", "--limit", "1")
    assert "more (--limit 0 shows all)" in found.out
