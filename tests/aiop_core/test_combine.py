"""Caches merged, split, cut and written as Parquet: nothing lost, nothing on two sides."""

import builtins
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from aiop_core.contracts import Metric
from aiop_core.errors import CacheError, SplitError
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.fingerprints import fingerprints
from aiop_core.graph.model import Graph, GraphSet
from aiop_core.graph.ops import Op
from aiop_core.records.cache import GraphCache
from aiop_core.records.combine import joined, merge, recounted, split, take
from aiop_core.records.parquet import write_parquet


@st.composite
def random_graphs(draw):
    """A network of convolutions, groups, strides, branches and concatenations."""
    b = GraphBuilder()
    nodes = [b.input((8, 8), draw(st.sampled_from([2, 4])))]
    for _ in range(draw(st.integers(1, 6))):
        node = draw(st.sampled_from(nodes))
        kind = draw(st.sampled_from(["conv", "depthwise", "swish", "norm", "concat"]))
        h, w, c = b.shape(node)
        if kind == "conv":
            node = b.conv(
                node, 2 * draw(st.integers(1, 4)), draw(st.sampled_from([1, 3])), stride=draw(st.integers(1, 2))
            )
        elif kind == "depthwise":
            node = b.conv(node, c, 3, groups=c, bias=draw(st.booleans()))
        elif kind == "swish":
            node = b.hard_swish(node)
        elif kind == "norm":
            node = b.batch_norm(node)
        else:
            other = draw(st.sampled_from([n for n in nodes if b.shape(n)[:2] == (h, w)]))
            node = b.add(Op.Concat, (node, other), (h, w, c + b.shape(other)[2]))
        nodes.append(node)
    b.output(nodes[-1])
    return b.build()


labels = st.floats(0, 1)
texts = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def random_caches(draw, least=1, most=6):
    graphs = draw(st.lists(random_graphs(), min_size=least, max_size=most))
    n = len(graphs)
    cache = GraphCache.of(
        GraphSet.of(graphs),
        draw(st.lists(labels, min_size=n, max_size=n)),
        draw(st.lists(texts, min_size=n, max_size=n)),
        draw(st.lists(st.sampled_from(["f", "g"]), min_size=n, max_size=n)),
        Metric("acc", description="top-1"),
        {"how": "a test"},
    )
    # columns of one table, as a reader may give them
    macs, params = np.stack([cache.macs, cache.params], axis=1).T
    return replace(cache, macs=macs, params=params)


def rows(cache):
    """What a cache says of each graph."""
    columns = (
        cache.graphs,
        cache.labels.tolist(),
        cache.specs,
        cache.families,
        cache.macs.tolist(),
        cache.params.tolist(),
    )
    return list(zip(*columns, strict=True))


def unique(found):
    return [row for i, row in enumerate(found) if row not in found[:i]]


@settings(max_examples=60, deadline=None)
@given(random_caches())
def test_a_file_loses_nothing(tmp_path_factory, cache):
    path = tmp_path_factory.mktemp("cache") / "c.safetensors"
    cache.save(path)
    assert rows(GraphCache.load(path)) == rows(cache)


@settings(max_examples=60, deadline=None)
@given(random_caches(), random_caches())
def test_merging_loses_only_repeats(a, b):
    merged = merge([("a", a), ("b", b)], {})
    together = rows(a) + rows(b)
    assert len(merged.cache) + merged.repeats == len(together)
    assert all(row in rows(merged.cache) for row in together)
    assert [row[1:] for row in rows(merged.cache)] == [row[1:] for row in unique_networks(together)]
    again = merge([("m", merged.cache), ("a", a)], {})
    assert again.repeats == len(a)
    assert rows(again.cache) == rows(merged.cache)


def unique_networks(found):
    keys = [(row[0].fingerprint, *row[1:4]) for row in found]
    return [row for i, row in enumerate(found) if keys[i] not in keys[:i]]


@settings(max_examples=60, deadline=None)
@given(random_caches(4, 12), st.integers(0, 3), st.sampled_from([(0.5, 0.5), (0.5, 0.25, 0.25), (0.4, 0.3, 0.2, 0.1)]))
def test_splitting_loses_nothing_and_keeps_networks_together(cache, seed, fractions):
    try:
        parts = split(cache, fractions, seed=seed)
    except SplitError:
        assert len(set(fingerprints(cache.graphs))) < 8
        return
    assert len(parts) == len(fractions)
    assert sorted(map(repr_row, rows(cache))) == sorted(repr_row(row) for part in parts for row in rows(part))
    sides = [set(fingerprints(part.graphs)) for part in parts]
    assert len(set().union(*sides)) == sum(map(len, sides))
    assert [rows(part) for part in parts] == [rows(part) for part in split(cache, fractions, seed=seed)]


def repr_row(row):
    return repr((row[0].fingerprint, *row[1:]))


@settings(max_examples=40, deadline=None)
@given(random_caches())
def test_parquet_loses_nothing(tmp_path_factory, cache):
    path = tmp_path_factory.mktemp("cache") / "c.parquet"
    write_parquet(cache, path)
    found = parquet.read_table(path)
    graphs = []
    for row in found.to_pylist():
        wide = {name: np.array([row[f"{name}_h"], row[f"{name}_w"]]).T for name in ("kernel", "stride")}
        resolution = np.array([row[name] for name in ("h_in", "h_out", "w_in", "w_out", "c_in", "c_out")]).T
        edges = np.array([row["edge_source"], row["edge_target"]])
        ops = [Op[name] for name in row["op"]]
        graphs.append(
            Graph(
                ops, resolution, **wide, groups=row["groups"], bias=row["bias"], params=row["node_params"], edges=edges
            )
        )
    plain = [found[name].to_pylist() for name in ("label", "spec", "family", "macs", "params")]
    assert list(zip(graphs, *plain, strict=True)) == rows(cache)
    assert found["fingerprint"].to_pylist() == fingerprints(cache.graphs)
    metadata = {key.decode(): value.decode() for key, value in found.schema.metadata.items()}
    assert json.loads(metadata["aiop.metric"])["description"] == "top-1"
    assert metadata["aiop.cost_source"] == cache.cost_source
    assert json.loads(metadata["aiop.provenance"]) == {"how": "a test"}


def chain(width):
    b = GraphBuilder()
    b.output(b.conv(b.input((8, 8)), width, 3))
    return b.build()


def made(widths, **other):
    n = len(widths)
    graphs = GraphSet.of(chain(width) for width in widths)
    cache = GraphCache.of(graphs, np.linspace(0.1, 0.9, n), [str(w) for w in widths], ["f"] * n, Metric("acc"), {})
    return replace(cache, **other)


def test_pandas_explodes_nodes(tmp_path):
    write_parquet(made([3, 5]), tmp_path / "c.parquet")
    table = pd.read_parquet(tmp_path / "c.parquet")
    nodes = table[["spec", "op", "c_out", "node_params"]].explode(["op", "c_out", "node_params"])
    assert nodes["op"].tolist() == ["Input", "Conv", "Output"] * 2
    assert nodes.groupby("spec")["node_params"].sum().to_dict() == {"3": 81, "5": 135}


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CacheError, match=r"needs pyarrow: pip install 'aiop-core\[parquet\]'"):
        write_parquet(made([3]), tmp_path / "c.parquet")


def test_parquet_that_cannot_be_written(tmp_path):
    with pytest.raises(CacheError, match="cannot be written"):
        write_parquet(made([3]), tmp_path / "missing" / "c.parquet")


def test_a_network_that_was_measured_twice_stays_twice():
    a, b = made([3, 4]), made([3, 4], labels=np.array([0.1, 0.3]))
    merged = merge([("a", a), ("b", b)], {})
    assert (merged.repeats, merged.cache.labels.tolist()) == (1, [0.1, 0.9, 0.3])


def test_merging_keeps_what_all_agree_on():
    a = made([3], provenance={"graphs": {"family": 1}})
    assert merge([("a", a), ("b", made([4], provenance={"graphs": {"family": 1}}))], {}).cache.provenance["graphs"]
    merged = merge([("a", a), ("b", made([4]))], {"how": "a test"}).cache
    assert merged.provenance == {
        "how": "a test",
        "merged": [{"file": "a", "provenance": {"graphs": {"family": 1}}}, {"file": "b", "provenance": {}}],
    }


def test_merging_tells_labels_that_were_made_in_different_ways():
    individual, shared = {"family": {"name": "a"}, "seed": 0}, {"family": {"name": "a"}, "seed": 0, "head": "f1"}
    other_family = {"family": {"name": "b"}, "weights": "x", "seed": 0}

    def mixed(first, second):
        caches = [made([3 + i], provenance={"labelled": how} if how else {}) for i, how in enumerate((first, second))]
        return merge([("a", caches[0]), ("b", caches[1])], {}).mixed

    assert mixed(individual, shared)
    assert mixed(None, shared)
    assert not mixed(individual, other_family)
    assert not mixed(None, None)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"metric": Metric("map")}, "a has the metric 'acc' and b has 'map'; merge caches of one metric"),
        ({"metric": Metric("acc", "ms")}, "a has the unit 'fraction' and b has 'ms'; merge caches of one unit"),
        ({"metric": Metric("acc", higher_is_better=False)}, "a has the direction 'True' and b has 'False'"),
        ({"cost_source": "them"}, "the cost source 'aiop-graph' and b has 'them'; count all costs .* with --recount"),
    ],
)
def test_what_cannot_be_merged(other, message):
    with pytest.raises(CacheError, match=message):
        merge([("a", made([3])), ("b", made([4], **other))], {})


def test_recounting():
    cache = made([3, 4], macs=np.array([1, 2]), cost_source="them")
    assert recounted(cache).macs.tolist() == made([3, 4]).macs.tolist()
    assert recounted(cache).cost_source == "aiop-graph"


def test_taking_and_joining():
    cache = made([3, 4, 5])
    assert rows(take(cache, np.array([2, 0]))) == [rows(cache)[2], rows(cache)[0]]
    assert list(joined([made([3]).graphs, made([4, 5]).graphs])) == list(cache.graphs)


@pytest.mark.parametrize("fractions", [[1.0], [0.5, 0.4], [1.5, -0.5], [float("nan"), 0.5]])
def test_fractions_that_make_no_split(fractions):
    with pytest.raises(SplitError, match="give at least two above 0 whose sum is 1"):
        split(made([3, 4, 5]), fractions, seed=0)


def test_each_family_is_on_all_sides():
    cache = made(range(1, 41), families=["f", "g"] * 20)
    for part, size in zip(split(cache, [0.5, 0.25, 0.25], seed=1), [20, 10, 10], strict=True):
        assert len(part) == size
        assert part.families.count("f") == size / 2
