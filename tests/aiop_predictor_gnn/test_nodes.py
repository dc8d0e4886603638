"""Node features: vocabulary, normalisation, and what identifies a node."""

from __future__ import annotations

import numpy as np
import pytest

from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.model import GraphSet
from aiop_core.graph.ops import Op
from aiop_predictor_gnn.nodes import VOCABULARIES, NodeTable


@pytest.fixture
def graphs() -> GraphSet:
    builder = GraphBuilder()
    node = builder.input((64, 32))
    node = builder.conv(node, 16, 11, bias=True)
    node = builder.add(Op.Maxpool, (node,), (32, 16, 16), kernel=(2, 2), stride=(2, 2))
    node = builder.add(Op.ConvTranspose, (node,), (64, 32, 8), kernel=(4, 4), stride=(2, 2))
    builder.output(builder.add(Op.Softmax, (node,)))
    return GraphSet.of([builder.build()])


def test_vocabulary_of_ours_keeps_every_operation(graphs: GraphSet) -> None:
    nodes = NodeTable.of(graphs, VOCABULARIES["aiop"], "fixed")
    assert nodes.op.tolist() == [Op.Input, Op.Conv, Op.Maxpool, Op.ConvTranspose, Op.Softmax, Op.Output]
    assert nodes.kernel[:, 0].tolist() == [0, 8, 0, 4, 0, 0]  # 8 and larger share a row


def test_vocabulary_of_the_paper_renames_what_it_has_no_name_for(graphs: GraphSet) -> None:
    nodes = NodeTable.of(graphs, VOCABULARIES["paper"], "fixed")
    assert nodes.op.tolist() == [Op.Input, Op.Conv, Op.Maxpool, Op.Conv, Op.OOV, Op.Output]
    assert nodes.kernel[:, 0].tolist() == [0, 7, 0, 4, 0, 0]


def test_only_operations_with_weights_show_kernel_and_bias(graphs: GraphSet) -> None:
    nodes = NodeTable.of(graphs, VOCABULARIES["aiop"], "fixed")
    assert nodes.weighted.tolist() == [False, True, False, True, False, False]
    assert nodes.bias.tolist() == [0, 1, 0, 0, 0, 0]


def test_fixed_normalisation_divides_by_the_papers_maxima(graphs: GraphSet) -> None:
    nodes = NodeTable.of(graphs, VOCABULARIES["aiop"], "fixed")
    np.testing.assert_allclose(nodes.resolution[1], [64 / 256, 64 / 256, 32 / 256, 32 / 256, 3 / 512, 16 / 512])


def test_own_maxima_are_each_graphs(graphs: GraphSet) -> None:
    builder = GraphBuilder()
    builder.output(builder.conv(builder.input((8, 8)), 4, 1))
    both = GraphSet.of([graphs[0], builder.build()])
    nodes = NodeTable.of(both, VOCABULARIES["aiop"], "own_maxima")
    np.testing.assert_allclose(nodes.resolution[1], [1, 1, 1, 1, 3 / 16, 1])
    np.testing.assert_allclose(nodes.resolution[-1], [1, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("change", ["op", "resolution", "kernel", "bias", "weighted"])
def test_words_differ_where_any_feature_does(graphs: GraphSet, change: str) -> None:
    nodes = NodeTable.of(graphs, VOCABULARIES["aiop"], "fixed")
    other = (
        NodeTable(**{**vars(nodes), change: 1 - getattr(nodes, change)})
        if change != "weighted"
        else NodeTable(**{**vars(nodes), change: ~nodes.weighted})
    )
    assert (nodes.words() == NodeTable.of(graphs, VOCABULARIES["aiop"], "fixed").words()).all()
    assert (nodes.words() != other.words()).any(axis=0).all()
