"""Graphs in files: what is saved comes back, and what is damaged is said."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from aiop_core.errors import GraphError
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.files import load_graph, save_graph
from aiop_core.graph.ops import Op
from aiop_core.testing.reference import ReferenceFamily

FAMILY = ReferenceFamily()
GRAPH = FAMILY.graph(FAMILY.all()[0], (64, 64))


def test_a_graph_comes_back_with_its_name_and_provenance(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_graph(GRAPH, path, name="Grünspecht", provenance={"command": "aiop", "seeds": [1, 2]})
    saved = load_graph(path)
    assert saved.graph == GRAPH
    assert (saved.name, saved.provenance) == ("Grünspecht", {"command": "aiop", "seeds": [1, 2]})
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([Op.Add, Op.ReLU, Op.Concat]), st.integers(0, 99)), max_size=20))
def test_any_graph_comes_back(tmp_path: Path, steps) -> None:
    builder = GraphBuilder()
    builder.input((8, 8))
    for op, at in steps:
        builder.add(op, (at % len(builder), len(builder) - 1))
    graph = builder.build()
    save_graph(graph, tmp_path / "any.safetensors")
    assert load_graph(tmp_path / "any.safetensors").graph == graph


def test_any_safetensors_reader_opens_it(tmp_path: Path) -> None:
    save_graph(GRAPH, tmp_path / "net.safetensors")
    tensors = load_file(tmp_path / "net.safetensors")
    assert np.array_equal(tensors["nodes.op"], GRAPH.op)
    assert np.array_equal(tensors["edges"], GRAPH.edges)


def changed(path: Path, header=None, **tensors) -> Path:
    save_graph(GRAPH, path)
    known = {"format": "aiop-graph", "version": "1", "name": "", "provenance": "{}"}
    save_file(load_file(path) | tensors, path, metadata=known | (header or {}))
    return path


@pytest.mark.parametrize(
    ("header", "tensors", "message"),
    [
        ({"format": "other"}, {}, "is a safetensors file, but no graph; 'aiop graph save' writes one"),
        ({"version": "7"}, {}, "has version 7; this aiop reads 1: update aiop"),
        ({"provenance": "{"}, {}, "is damaged or no graph"),
        ({}, {"nodes.op": np.full(len(GRAPH), 999, np.int16)}, "is damaged: operation index 999 is not in the vocab"),
        ({}, {"nodes.op": np.zeros(len(GRAPH))}, "column 'op' is of type float64"),
        ({}, {"nodes.kernel": np.zeros((3, 2), np.int16)}, "is damaged: graph column 'kernel' has shape"),
        ({}, {"edges": np.zeros((2, 1), np.int64)}, "the edges are of type int64"),
        ({}, {"edges": np.array([[5], [2]], np.int32)}, "is damaged: nodes are not in topological order"),
    ],
)
def test_damage_is_one_clear_line(tmp_path: Path, header, tensors, message: str) -> None:
    path = changed(tmp_path / "net.safetensors", header, **tensors)
    with pytest.raises(GraphError, match=message) as caught:
        load_graph(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_others_may_read_it_as_the_umask_says(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        save_graph(GRAPH, tmp_path / "net.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "net.safetensors").stat().st_mode & 0o777 == mode


def test_missing_and_unwritable(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"there is no graph at .*; 'aiop graph save MODEL -o"):
        load_graph(tmp_path / "gone.safetensors")
    with pytest.raises(GraphError, match="cannot be written"):
        save_graph(GRAPH, tmp_path / "no folder" / "net.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(GraphError, match="cannot be written"):
        save_graph(GRAPH, tmp_path / "folder.safetensors")
    assert not list(tmp_path.glob("*.part"))


def test_a_header_that_lies_about_sizes(tmp_path: Path) -> None:
    header = json.dumps({"nodes.op": {"dtype": "I16", "shape": [2**40], "data_offsets": [0, 2**41]}}).encode()
    (tmp_path / "net.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(GraphError, match="is damaged or no graph"):
        load_graph(tmp_path / "net.safetensors")
