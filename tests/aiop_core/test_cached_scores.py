"""Scores stand beside the graphs of a cache, with their sources, through everything that caches go through."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pyarrow import parquet
from safetensors import safe_open
from safetensors.numpy import load_file, save

from aiop_core.contracts import Metric
from aiop_core.errors import CacheError
from aiop_core.graph.cost import Cost
from aiop_core.graph.model import GraphSet
from aiop_core.pipeline.collect import collect
from aiop_core.records.cache import GraphCache
from aiop_core.records.combine import joined, merge, merged_isomorphic, recounted, split, take
from aiop_core.records.parquet import write_parquet
from aiop_core.records.record import Record
from aiop_core.records.store import LabelStore
from aiop_core.testing.reference import ReferenceFamily

FAMILY = ReferenceFamily()
CHAINS = FAMILY.all()
BY = {"profiler": "p", "version": "aiop-p 1", "options": {"batch": 4}}


def cache(chains=CHAINS, first=0, source=BY, **scores):
    """Chains with the scores ``p/a``, unknown of the first one, and those that are named."""
    n = len(chains)
    a = np.arange(first, first + n, dtype=np.float64)
    a[:1] = np.nan
    values = {"p/a": a, **{name: np.asarray(v, dtype=np.float64) for name, v in scores.items()}}
    made = GraphCache.of(
        GraphSet.of(FAMILY.graph(c, (32, 32)) for c in chains),
        np.linspace(0.1, 0.9, n),
        [c.spec for c in chains],
        ["reference"] * n,
        Metric("acc"),
        {},
    )
    return replace(made, graphs=replace(made.graphs, scores=values), score_sources=dict.fromkeys(values, source))


def table(found, name="p/a"):
    """Specs and scores."""
    return dict(zip(found.specs, map(repr, found.graphs.scores[name].tolist()), strict=True))


def test_a_file_keeps_scores_and_sources(tmp_path):
    whole = cache(b=range(12))
    whole.save(tmp_path / "c.safetensors")
    found = GraphCache.load(tmp_path / "c.safetensors")
    assert table(found) == table(whole)
    assert found.graphs.scores["b"].tolist() == list(range(12))
    assert found.score_sources == {"p/a": BY, "b": BY}


def test_a_file_of_before_there_were_scores_is_read(tmp_path):
    path = tmp_path / "c.safetensors"
    cache().save(path)
    with safe_open(path, framework="numpy") as file:
        header = {k: v for k, v in file.metadata().items() if k != "scores"}
    tensors = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("scores.")}
    path.write_bytes(save(tensors, metadata=header))
    found = GraphCache.load(path)
    assert (found.graphs.scores, found.score_sources, len(found)) == ({}, {}, 12)


def test_a_source_of_no_score_is_refused():
    with pytest.raises(CacheError, match="the source of the score 'q', which its graphs do not have"):
        replace(cache(), score_sources={"q": BY})


def test_entries_keep_their_scores():
    whole = cache()
    assert table(take(whole, np.array([3, 1]))) == {CHAINS[3].spec: "3.0", CHAINS[1].spec: "1.0"}
    assert (table(recounted(whole)), recounted(whole).score_sources) == (table(whole), {"p/a": BY})
    parts = split(whole, [0.5, 0.25, 0.25], seed=0)
    assert {spec: score for part in parts for spec, score in table(part).items()} == table(whole)
    assert all(part.score_sources == {"p/a": BY} for part in parts)


def test_merging_keeps_the_scores_that_all_have_from_one_source():
    a, b = cache(CHAINS[:6], b=range(6), c=range(6)), cache(CHAINS[6:], first=6, b=range(6))
    b = replace(b, score_sources=b.score_sources | {"b": {"profiler": "another"}})
    merged = merge([("a", a), ("b", b)], {})
    assert list(merged.cache.graphs.scores) == ["p/a"]
    assert table(merged.cache) == table(a) | table(b)
    assert merged.cache.score_sources == {"p/a": BY}
    assert merged.dropped_scores == ["b", "c"]
    assert merge([("a", a)], {}).dropped_scores == []


def test_sets_joined_keep_the_scores_that_all_have():
    graphs = joined([cache(CHAINS[:2], b=[5, 6]).graphs, cache(CHAINS[2:4], first=2).graphs])
    assert list(graphs.scores) == ["p/a"]
    assert [repr(x) for x in graphs.scores["p/a"].tolist()] == ["nan", "1.0", "nan", "3.0"]


def test_isomorphic_entries_become_one_with_the_mean_of_what_is_known():
    whole = take(cache(b=range(12)), np.array([0, 1, 0, 2, 1, 0]))
    whole = replace(whole, labels=np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.8]), specs=list("abcdef"))
    merged = merged_isomorphic(whole)
    assert list(merged.specs) == ["a", "b", "d"]
    assert merged.labels == pytest.approx([0.4, 0.35, 0.4])
    assert merged.graphs.scores["p/a"].tolist()[1:] == [1.0, 2.0]
    assert np.isnan(merged.graphs.scores["p/a"][0])
    assert merged.macs.tolist() == whole.macs[[0, 1, 3]].tolist()
    assert merged.score_sources == whole.score_sources
    assert merged_isomorphic(merged) is merged


def test_parquet_has_a_column_for_each_score(tmp_path):
    write_parquet(cache(), tmp_path / "c.parquet")
    found = parquet.read_table(tmp_path / "c.parquet")
    assert found.column("scores.p/a").to_pylist() == [None, *range(1, 12)]
    assert json.loads(found.schema.metadata[b"aiop.scores"]) == {"p/a": BY}


def test_show_lists_scores(aiop, tmp_path):
    cache().save(tmp_path / "c.safetensors")
    found = json.loads(aiop("cache", "show", tmp_path / "c.safetensors", "--json").out)["scores"]
    assert found == {"p/a": {"known": 11, "min": 1.0, "mean": 6.0, "max": 11.0, "source": BY}}
    shown = " ".join(aiop("cache", "show", tmp_path / "c.safetensors").out.split())
    assert "score p/a │ 1 to 11, known of 11 │" in shown
    assert shown.count('scores given by │ profiler p, version aiop-p 1, options {"batch": 4}') == 1
    nameless = replace(cache(), score_sources={})
    nameless.save(tmp_path / "c.safetensors")
    assert "scores given by │ an unknown source" in " ".join(
        aiop("cache", "show", tmp_path / "c.safetensors").out.split()
    )


def test_merge_says_which_scores_went(aiop, tmp_path):
    cache(CHAINS[:6], b=range(6)).save(tmp_path / "a.safetensors")
    cache(CHAINS[6:]).save(tmp_path / "b.safetensors")
    args = ("cache", "merge", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "-o")
    assert (
        "scores that not all caches have from one source were dropped: b\n"
        in aiop(*args, tmp_path / "c.safetensors").out
    )
    assert json.loads(aiop(*args, tmp_path / "d.safetensors", "--json").out)["scores_dropped"] == ["b"]


def record(chain, scores, sources):
    graph = FAMILY.graph(chain, (32, 32))
    cost = {"acc": Cost(1, 2, "test")}
    return Record("reference", chain.spec, "t", {"acc": 0.5}, {"acc": graph}, cost, scores, {}, sources)


def test_collecting_keeps_what_profilers_said_and_who(tmp_path):
    store = LabelStore(tmp_path, {"x": 1})
    other = BY | {"options": {"batch": 8}}
    for chain, scores, source in zip(
        sorted(CHAINS[:4], key=lambda c: c.spec),
        ({"p/a": 1.0, "q/b": 2.0}, {"p/a": 3.0}, {"p/a": 4.0}, {}),
        (BY, BY, other, BY),
        strict=True,
    ):
        store.append(record(chain, scores, {"p": source}))
    found = collect(LabelStore(tmp_path), Metric("acc"), {})
    assert [repr(x) for x in found.graphs.scores["p/a"].tolist()] == ["1.0", "3.0", "nan", "nan"]
    assert [repr(x) for x in found.graphs.scores["q/b"].tolist()] == ["2.0", "nan", "nan", "nan"]
    assert found.score_sources == {"p/a": BY, "q/b": {"profiler": "q"}}


def test_a_record_of_before_there_were_sources_is_read():
    data = record(CHAINS[0], {"p/a": 1.0}, {"p": BY}).to_json()
    assert Record.from_json(data).score_sources == {"p": BY}
    del data["score_sources"]
    assert Record.from_json(data).score_sources == {}
