"""What is read of graphs: words counted one by one, blocks whole, whatever is read at once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tests.aiop_predictor_gp.cells import network, specs

from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.features import graph_features
from aiop_core.graph.model import Graph, GraphSet
from aiop_core.graph.ops import Op
from aiop_core.graph.paths import path_features
from aiop_predictor_gp import reading
from aiop_predictor_gp.reading import TRANSFERABLE, Vocabulary, structure

Word = tuple[object, ...]


@pytest.fixture(scope="module")
def graphs() -> GraphSet:
    return GraphSet.of(network(kinds, head=1) for kinds in specs(20, seed=3))


def spelt(graph: Graph) -> tuple[list[Word], list[Word]]:
    """Each node as its attributes, and with those of its predecessors and successors."""
    own: list[Word] = [
        (int(op), *resolution, *kernel, *stride, int(groups))
        for op, resolution, kernel, stride, groups in zip(
            graph.op,
            graph.resolution.tolist(),
            graph.kernel.tolist(),
            graph.stride.tolist(),
            graph.groups,
            strict=True,
        )
    ]
    edges = graph.edges.T.tolist()
    around: list[Word] = [
        (own[n], *(tuple(sorted(own[e[1 - side]] for e in edges if e[side] == n)) for side in (1, 0)))
        for n in range(len(graph))
    ]
    return own, around


def counted(graphs: GraphSet, kind: int) -> Counter[tuple[int, ...]]:
    """How often each column occurs among those of words that graphs differ in."""
    found = [Counter(spelt(graph)[kind]) for graph in graphs]
    columns = {word: tuple(counter[word] for counter in found) for word in set().union(*found)}
    return Counter(column for column in columns.values() if len(set(column)) > 1)


def test_words_are_counted_as_one_would_by_hand(graphs: GraphSet) -> None:
    table = Vocabulary.of(graphs).counts(graphs)
    for kind, name in enumerate(("nodes", "neighbourhoods")):
        assert Counter(tuple(column) for column in table[name].T.astype(int).tolist()) == counted(graphs, kind)


def test_neighbourhoods_tell_more_apart_than_nodes(graphs: GraphSet) -> None:
    nodes, neighbourhoods = Vocabulary.of(graphs).known
    assert len(neighbourhoods) > len(nodes) > 3


def test_words_that_training_did_not_have_are_ignored(graphs: GraphSet) -> None:
    vocabulary = Vocabulary.of(graphs)
    stranger = network("3" * 7, width=17, hw=20)
    table = vocabulary.counts(GraphSet.of([stranger, graphs[4]]))
    for name, values in vocabulary.counts(graphs).items():
        assert not table[name][0].any()
        np.testing.assert_array_equal(table[name][1], values[4])


def test_words_that_vary_most_are_kept(graphs: GraphSet, monkeypatch: pytest.MonkeyPatch) -> None:
    variances = np.sort(Vocabulary.of(graphs).counts(graphs)["neighbourhoods"].var(0))
    monkeypatch.setattr(reading, "WIDEST", 3)
    kept = Vocabulary.of(graphs)
    assert [len(words) for words in kept.known] == [3, 3]
    np.testing.assert_allclose(np.sort(kept.counts(graphs)["neighbourhoods"].var(0)), variances[-3:])


def test_equal_graphs_have_no_words() -> None:
    graphs = GraphSet.of([network("31d")] * 3)
    vocabulary = Vocabulary.of(graphs)
    assert [values.shape for values in vocabulary.counts(graphs).values()] == [(3, 0), (3, 0)]


@pytest.mark.parametrize("at_once", [1, 3, 20])
def test_graphs_read_in_parts_are_read_as_a_whole(
    graphs: GraphSet, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = Vocabulary.of(graphs)
    whole = {**structure(graphs), **vocabulary.counts(graphs)}
    monkeypatch.setattr(reading, "READ_GRAPHS", at_once)
    parts = {**structure(graphs), **vocabulary.counts(graphs)}
    for words, expected in zip(Vocabulary.of(graphs).known, vocabulary.known, strict=True):
        np.testing.assert_array_equal(words, expected)
    assert whole.keys() == parts.keys()
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, err_msg=name)


def test_blocks_hold_every_feature_once(graphs: GraphSet) -> None:
    table = structure(graphs)
    assert set(TRANSFERABLE) < set(table)
    np.testing.assert_array_equal(table["paths"], path_features(graphs))
    features = graph_features(graphs)[0]
    blocks = np.concatenate([table[name] for name in ("sizes", "stages", "counts")], axis=1)
    assert Counter(map(tuple, blocks.T.tolist())) == Counter(map(tuple, features.T.tolist()))


def test_what_a_head_that_enlarges_its_maps_moves_is_not_transferable() -> None:
    """Stages count from the largest map, so that such a head renames all of a body's."""

    def with_head(kinds: str, hw: int) -> Graph:
        builder = GraphBuilder()
        node = builder.input((16, 16))
        for kind in kinds:
            node = builder.conv(node, 8, int(kind))
        if hw > 16:
            node = builder.add(Op.Resize, (node,), (hw, hw, 8))
        builder.output(node)
        return builder.build()

    tables = [structure(GraphSet.of([with_head("33", hw), with_head("3111", hw)])) for hw in (16, 64)]
    changes = [table["stages"][1] - table["stages"][0] for table in tables]
    assert not np.allclose(*changes)
    for name in ("paths", "counts"):
        first, second = (table[name][1] - table[name][0] for table in tables)
        np.testing.assert_allclose(first, second, err_msg=name)


def test_no_graphs_have_no_rows(graphs: GraphSet) -> None:
    none = graphs[:0]
    for name, values in {**structure(none), **Vocabulary.of(graphs).counts(none)}.items():
        assert len(values) == 0, name
