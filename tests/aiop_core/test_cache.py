"""The graph cache: what goes in comes out, in any safetensors reader, and damage is said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from aiop_core.contracts import Metric
from aiop_core.errors import CacheError, LabelError
from aiop_core.graph import cost
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.model import GraphSet
from aiop_core.records.cache import GraphCache


def graphs(widths: list[int]) -> GraphSet:
    found = []
    for width in widths:
        b = GraphBuilder()
        x = b.input((8, 8))
        for _ in range(width % 3 + 1):
            x = b.hard_swish(b.conv(x, width, 3))
        b.output(x)
        found.append(b.build())
    return GraphSet.of(found)


def cache(widths: list[int]) -> GraphCache:
    n = len(widths)
    return GraphCache.of(
        graphs(widths),
        np.linspace(0.1, 0.9, n),
        [f"spec-{i}-ü" for i in range(n)],
        ["f"] * n,
        Metric("acc", description="top-1"),
        {"how": "a test"},
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, widths: list[int]) -> None:
    path = tmp_path_factory.mktemp("cache") / "graphs.safetensors"
    before = cache(widths)
    before.save(path)
    after = GraphCache.load(path)
    assert list(after.graphs) == list(before.graphs)
    assert after.labels.tolist() == before.labels.tolist()
    assert list(after.specs) == list(before.specs)
    assert (after.metric, after.cost_source, after.provenance) == (before.metric, "aiop-graph", {"how": "a test"})
    assert after.macs.tolist() == [cost.cost(g).macs for g in before.graphs]


def test_opens_without_our_classes(tmp_path: Path) -> None:
    cache([3, 5]).save(tmp_path / "c.safetensors")
    tensors = load_file(tmp_path / "c.safetensors")
    assert tensors["labels"].tolist() == [0.1, 0.9]
    assert len(tensors["nodes.op"]) == tensors["node_offsets"][-1]


def test_a_label_that_is_not_finite_names_its_architecture() -> None:
    good = cache([3, 4])
    with pytest.raises(LabelError, match=r"label 'acc' of spec-1-ü is nan; 1 of 2 labels are not finite: remove"):
        GraphCache.of(good.graphs, [0.5, np.nan], good.specs, good.families, good.metric, {})


def test_lengths_must_agree() -> None:
    good = cache([3, 4])
    with pytest.raises(CacheError, match=r"one label, spec, family and cost for each graph; lengths are \[1, 2\]"):
        GraphCache.of(good.graphs, [0.5], good.specs, good.families, good.metric, {})


def test_bad_files_are_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(CacheError, match="there is no graph cache at"):
        GraphCache.load(path)
    cache([3, 4]).save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[: len(whole) // 2], whole[:-1], b"\xff" * 64):
        path.write_bytes(damaged)
        with pytest.raises(CacheError, match="is damaged or no graph cache"):
            GraphCache.load(path)
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(CacheError, match="is a safetensors file, but no graph cache"):
        GraphCache.load(path)
    save_file({"x": np.zeros(3)}, path, metadata={"format": "aiop-graph-cache", "version": "9"})
    with pytest.raises(CacheError, match="has version 9; this aiop reads 1: update aiop"):
        GraphCache.load(path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("edges", 99, r"\(an edge points outside the \d+ nodes of graph 1\); make it again"),
        ("edges", -1, r"\(an edge points outside the \d+ nodes of graph 1\)"),
        ("nodes.op", 999, r"\(operation index 999 is not in the vocabulary, 0 to \d+\)"),
        ("nodes.op", -1, r"\(operation index -1 is not in the vocabulary"),
    ],
)
def test_numbers_that_cannot_be_are_one_clear_line(tmp_path: Path, column: str, value: int, message: str) -> None:
    made = cache([3, 4])
    damaged = made.graphs.columns["op"].copy() if column == "nodes.op" else made.graphs.edges.copy()
    damaged[..., -1] = value
    if column == "edges":
        graphs = replace(made.graphs, edges=damaged)
    else:
        graphs = replace(made.graphs, columns={**made.graphs.columns, "op": damaged})
    replace(made, graphs=graphs).save(tmp_path / "c.safetensors")
    with pytest.raises(CacheError, match=r"c\.safetensors is damaged or no graph cache " + message):
        GraphCache.load(tmp_path / "c.safetensors")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="cannot be written"):
        cache([3]).save(tmp_path / "missing" / "c.safetensors")
