"""Blocks lose no node, boxes do not overlap, lines connect what they should: over random and known graphs."""

from collections import Counter
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.draw import layout
from aiop_core.graph.draw.blocks import find_blocks
from aiop_core.graph.draw.grid import IN, make_grid
from aiop_core.graph.draw.layout import everything_open, place, repeats_closed
from aiop_core.graph.ops import Op

OPS = [Op.Conv, Op.BatchNorm, Op.ReLU, Op.ReLU6, Op.Add, Op.Mul, Op.Concat, Op.MatMul, Op.Slice]


def residual(builder, node, channels):
    inner = node
    for kernel in (1, 3, 1):
        inner = builder.add(Op.ReLU, [builder.batch_norm(builder.conv(inner, channels, kernel))])
    return builder.add(Op.ReLU, [builder.add(Op.Add, [node, inner])])


def residual_net(*depths):
    """Stages of residual blocks with a strided convolution before each."""
    builder = GraphBuilder()
    node = builder.input((64, 64))
    for stage, depth in enumerate(depths):
        node = builder.conv(node, 8 * 2**stage, 3, stride=2)
        for _ in range(depth):
            node = residual(builder, node, 8 * 2**stage)
    builder.output(builder.linear(builder.mean(node), 10))
    return builder.build()


def dense_net(layers):
    """Every layer reads all before it."""
    builder = GraphBuilder()
    seen = [builder.conv(builder.input((16, 16)), 8, 3)]
    for _ in range(layers):
        joined = builder.add(Op.Concat, seen, (16, 16, 8 * len(seen)))
        normed = builder.add(Op.ReLU, [builder.batch_norm(builder.conv(joined, 32, 1))])
        seen.append(builder.conv(normed, 8, 3))
    builder.output(builder.add(Op.Concat, seen, (16, 16, 8 * len(seen))))
    return builder.build()


def u_net(levels):
    """Every level of the way up reads that of the way down; each gives an output, as detectors do."""
    builder = GraphBuilder()
    node, down = builder.input((256, 256)), []
    for level in range(levels):
        node = builder.conv(builder.conv(node, 8 * 2**level, 3), 8 * 2**level, 3)
        down.append(node)
        node = builder.add(Op.Maxpool, [node], (128 >> level, 128 >> level, 8 * 2**level), kernel=(2, 2), stride=(2, 2))
    for before in reversed(down):
        h, w, c = builder.shape(before)
        node = builder.add(Op.Resize, [builder.conv(node, c, 1)], (h, w, c))
        node = builder.conv(builder.add(Op.Concat, [before, node], (h, w, 2 * c)), c, 3)
        builder.output(builder.conv(node, 4, 1))
    return builder.build()


KNOWN = {
    "residual": residual_net(2, 5, 3),
    "deep": residual_net(1, 40, 40),
    "dense": dense_net(12),
    "branching": u_net(4),
}


@st.composite
def random_graphs(draw):
    """Any directed acyclic graph: several inputs and outputs, skips of any length, chains and stars."""
    builder = GraphBuilder()
    builder.input((8, 8))
    reach = draw(st.sampled_from([2, 5, 60]))
    for _ in range(draw(st.integers(1, 60))):
        last = len(builder) - 1
        inputs = draw(st.lists(st.integers(max(0, last - reach), last), max_size=4, unique=True))
        op = draw(st.sampled_from(OPS)) if inputs else Op.Input
        builder.add(op, inputs, (8, 8, 3))
    return builder.build()


def states(outline):
    yield repeats_closed(outline.root)
    yield everything_open()
    yield lambda item: item is outline.root


def overlap(a, b):
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


def inside(a, b):
    return b.x <= a.x and a.x + a.width <= b.x + b.width and b.y <= a.y and a.y + a.height <= b.y + b.height


def check_tree(outline):
    """Children cover their parent without gap or overlap; copies of a run are equal."""
    graph = outline.graph
    assert sorted(outline.order) == list(range(len(graph)))
    for item in outline.root.walk():
        if item.kind == "stack":
            assert not item.children
            continue
        bounds = [(child.lo, child.hi) for child in item.children]
        assert bounds[0][0] == item.lo
        assert bounds[-1][1] == item.hi
        assert all(a[1] == b[0] for a, b in pairwise(bounds))
        if item.kind == "run":
            ops = [[graph.op[outline.order[p]] for p in range(c.lo, c.hi)] for c in item.children]
            assert len(ops) > 1
            assert all(copy == ops[0] for copy in ops)
            assert len({c.name for c in item.children}) == 1


def check_order(outline):
    positions = np.empty(len(outline.order), int)
    positions[outline.order] = np.arange(len(outline.order))
    source, target = positions[outline.graph.edges]
    assert (source < target).all()


def check_places(outline, is_open):
    piece = place(outline, is_open)
    shown = [box for box in piece.boxes if not box.is_open]
    frames = [box for box in piece.boxes if box.is_open]
    stood_for = Counter(
        outline.order[p + shift] for box in shown for shift in box.shifts for p in range(box.item.lo, box.item.hi)
    )
    assert stood_for == Counter(range(len(outline.graph))), "folding loses no node and doubles none"
    for i, a in enumerate(shown):
        assert not [b for b in shown[:i] if overlap(a, b)]
        assert a.x >= -0.01
        assert a.x + a.width <= piece.left + piece.right + 0.01
        assert a.y >= 0
        assert a.y + a.height <= piece.height + 0.01
        assert all(inside(a, f) or not overlap(a, f) for f in frames)
    for i, a in enumerate(frames):
        assert all(inside(a, b) or inside(b, a) or not overlap(a, b) for b in frames[:i])
    ends = {(round(box.x + box.width / 2, 3), round(box.y, 3)) for box in shown}
    starts = {(round(box.x + box.width / 2, 3), round(box.y + box.height, 3)) for box in shown}
    tops, floors = {round(f.y, 3) for f in frames}, {round(f.y + f.height, 3) for f in frames}
    heads = {round(f.y + 24, 3) for f in frames}
    for line in piece.lines:
        (x0, y0), (x1, y1) = ((round(x, 3), round(y, 3)) for x, y in (line.points[0], line.points[-1]))
        assert (x0, y0) in starts or y0 in heads or y0 in floors, "a line begins under a box or at a frame"
        assert (x1, y1) in ends or y1 in tops or y1 in floors, "a line ends at a box or at a frame"
        crossed = [
            box
            for (xa, ya), (xb, yb) in pairwise(line.points)
            for box in shown
            if xa == xb and box.x < xa < box.x + box.width and min(ya, yb) < box.y and max(ya, yb) > box.y + box.height
        ]
        assert not crossed, "a straight part of a line runs through no box"
    return piece


def check_grids(outline):
    """In every group each edge has a route, cells are used once, and routes lead downwards."""
    child_of = {}
    for item in outline.root.walk():
        for n, child in enumerate(item.children):
            child_of.update({(id(item), p): n for p in range(child.lo, child.hi)})
    for item in outline.root.walk():
        if not item.children:
            continue
        grid = make_grid(outline, item)
        assert len(set(grid.cells)) == len(item.children)
        out = len(item.children)
        routes = {(r.source, r.target) for r in grid.routes}
        for target in range(item.lo, item.hi):
            for source in outline.reads[target]:
                a, b = child_of.get((id(item), source), IN) if source >= item.lo else IN, child_of[id(item), target]
                assert a == b or (a, b) in routes
            if any(reader >= item.hi for reader in outline.read_by[target]):
                assert (child_of[id(item), target], out) in routes
        for a, b in routes:
            assert (0 if a == IN else grid.cells[a][0]) < (grid.rows + 1 if b == out else grid.cells[b][0])


@given(random_graphs())
@settings(max_examples=60, deadline=None)
def test_any_graph_is_laid_out_well(graph):
    outline = find_blocks(graph)
    check_order(outline)
    check_tree(outline)
    check_grids(outline)
    for is_open in states(outline):
        check_places(outline, is_open)
        with mock.patch.object(layout, "FOLD_HEIGHT", 150):
            check_places(outline, is_open)


@pytest.mark.parametrize("name", KNOWN)
def test_known_networks_are_laid_out_well(name):
    outline = find_blocks(KNOWN[name])
    check_order(outline)
    check_tree(outline)
    check_grids(outline)
    for is_open in states(outline):
        check_places(outline, is_open)


def runs(graph):
    return [
        (len(i.children), i.children[0].hi - i.children[0].lo)
        for i in find_blocks(graph).root.walk()
        if i.kind == "run"
    ]


def test_repeated_residual_blocks_are_runs():
    assert runs(residual_net(2, 5, 3)) == [(2, 11), (5, 11), (3, 11)]


def test_blocks_of_other_width_have_the_same_name_and_other_kernels_another():
    names = [i.name for i in find_blocks(residual_net(1, 2)).root.walk() if i.kind == "block" and i.name]
    assert names == ["A", "A", "A"]
    builder = GraphBuilder()
    node = builder.input((8, 8))
    for kernel in (3, 5):
        node = builder.add(Op.Add, [node, builder.conv(builder.conv(builder.conv(node, 3, 1), 3, kernel), 3, 1)])
    builder.output(node)
    assert [i.name for i in find_blocks(builder.build()).root.walk() if i.kind == "block" and i.name] == ["A", "B"]


def test_dense_layers_that_all_read_each_other_are_a_run():
    assert runs(dense_net(12)) == [(12, 5)]


def test_an_encoder_whose_levels_are_read_later_is_not_hidden_in_a_run():
    assert not runs(u_net(5))


def test_a_tall_network_is_broken_into_columns():
    piece = check_places(find_blocks(KNOWN["deep"]), everything_open())
    assert piece.height < 2.5 * (piece.left + piece.right)


def test_two_columns_are_not_used_where_one_will_do():
    graph = residual_net(1)
    centres = {box.x + box.width / 2 for box in place(find_blocks(graph), everything_open()).boxes if not box.is_open}
    assert len(centres) == 1
