import numpy as np
import pytest

from aiop_core.errors import GraphError
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.ops import Op


@pytest.fixture
def builder():
    return GraphBuilder()


def rows(graph):
    return list(zip((Op(int(op)).name for op in graph.op), graph.resolution.tolist(), strict=True))


def test_nodes_follow_each_other_with_their_shapes(builder):
    image = builder.input((7, 9))
    node = builder.batch_norm(builder.conv(image, 16, 3, stride=2, bias=True))
    assert builder.shape(node) == (4, 5, 16)
    builder.output(builder.linear(builder.mean(node), 10))
    graph = builder.build()
    assert len(builder) == len(graph) == 6
    assert rows(graph) == [
        ("Input", [7, 7, 9, 9, 3, 3]),
        ("Conv", [7, 4, 9, 5, 3, 16]),
        ("BatchNorm", [4, 4, 5, 5, 16, 16]),
        ("Mean", [4, 1, 5, 1, 16, 16]),
        ("MatMul", [1, 1, 1, 1, 16, 10]),
        ("Output", [1, 1, 1, 1, 10, 10]),
    ]
    assert graph.edges.tolist() == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]]
    assert graph.kernel[1].tolist() == [3, 3]
    assert graph.stride[1].tolist() == [2, 2]
    assert graph.bias.tolist() == [False, True, False, False, True, False]
    assert graph.params.tolist() == [0, 3 * 16 * 9 + 16, 32, 0, 170, 0]


@pytest.mark.parametrize(
    ("channels", "groups", "op"),
    [(8, 1, Op.Conv), (8, 4, Op.Conv), (8, 8, Op.Depthwise), (16, 8, Op.Depthwise)],
)
def test_one_group_a_channel_is_depthwise(builder, channels, groups, op):
    node = builder.conv(builder.input((4, 4), 8), channels, 3, groups=groups)
    graph = builder.build()
    assert graph.op[node] == op
    assert graph.params[node] == 9 * 8 // groups * channels


def test_one_channel_is_an_ordinary_convolution(builder):
    node = builder.conv(builder.input((4, 4), 1), 1, 3)
    assert builder.build().op[node] == Op.Conv


def test_hard_swish_is_relu6_and_mul(builder):
    image = builder.input((4, 4))
    builder.hard_swish(image)
    graph = builder.build()
    assert [Op(int(op)).name for op in graph.op] == ["Input", "ReLU6", "Mul"]
    assert sorted(graph.edges.T.tolist()) == [[0, 1], [0, 2], [1, 2]]


def test_a_node_of_several_inputs_shows_the_smallest_and_a_concatenation_the_first(builder):
    image = builder.input((8, 8), 4)
    gate = builder.mean(image)
    scaled = builder.add(Op.Mul, (image, gate), (8, 8, 4))
    joined = builder.add(Op.Concat, (scaled, image), (8, 8, 8))
    graph = builder.build()
    assert graph.resolution[scaled].tolist() == [1, 8, 1, 8, 4, 4]
    assert graph.resolution[joined].tolist() == [8, 8, 8, 8, 4, 8]


def test_reading_a_node_twice_is_one_edge(builder):
    image = builder.input((4, 4))
    builder.add(Op.Add, (image, image))
    assert builder.build().edges.tolist() == [[0], [1]]


@pytest.mark.parametrize("node", [1, -1, 7])
def test_reading_a_node_that_does_not_exist_is_refused(builder, node):
    builder.input((4, 4))
    with pytest.raises(GraphError, match=f"ReLU reads node {node}, but only 1 nodes exist so far"):
        builder.add(Op.ReLU, (0, node))


def test_a_source_without_a_shape_is_refused(builder):
    with pytest.raises(GraphError, match="Input has no inputs, so its output shape must be given"):
        builder.add(Op.Input, ())


def test_a_graph_does_not_change_with_its_builder(builder):
    builder.input((4, 4))
    graph = builder.build()
    builder.output(0)
    assert len(graph) == 1
    assert graph.edges.shape == (2, 0)
    assert np.array_equal(graph.op, [Op.Input])
