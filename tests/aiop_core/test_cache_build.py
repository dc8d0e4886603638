"""``aiop cache build``: many runs as one cache, repeats and other options said, correlation with accuracy."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr
from tests.aiop_core.published import entry, regular, small, written

from aiop_core.contracts import Metric
from aiop_core.graph.cost import cost
from aiop_core.graph.model import GraphSet
from aiop_core.pipeline.collect import collect
from aiop_core.records.cache import GraphCache
from aiop_core.records.record import Record
from aiop_core.records.store import LabelStore
from aiop_core.testing.reference import ReferenceFamily, ReferenceTask

FAMILY = ReferenceFamily()
CHAINS = FAMILY.all()
TASK = {"name": "reference", "images": 8, "epochs": 1}
METRIC = ReferenceTask.metrics[0].name
NAME = f"reference_{METRIC}_toy.safetensors"


def metrics(*names):
    tables = [asdict(Metric(name)) for name in names]
    return [{key: value for key, value in table.items() if key != "description"} for table in tables]


def run(folder, chains=range(4), *, seed=0, add=0.0, names=(METRIC,), **other):
    """A run folder with made-up labels: architecture i has (i + 1) / 20."""
    identity = {"family": {"name": "reference"}, "task": TASK, "seed": seed, "metrics": metrics(*names)} | other
    store = LabelStore(folder, identity)
    for i in chains:
        graph = FAMILY.graph(CHAINS[i], (64, 64))
        values = dict.fromkeys(names, (i + 1) / 20 + add)
        graphs = dict.fromkeys(names, graph)
        costs = dict.fromkeys(names, cost(graph))
        store.append(Record("reference", CHAINS[i].spec, "reference", values, graphs, costs, {"p/x": float(i)}))
    return folder


def test_runs_become_one_cache(aiop, tmp_path):
    one, two = run(tmp_path / "one"), run(tmp_path / "two", range(4, 9), seed=1)
    done = aiop("cache", "build", one, two, "--out", tmp_path / "caches", "--suffix", "toy")
    assert done.code == 0, done.err
    file = tmp_path / "caches" / NAME
    assert done.out == f"{file}: 9 graphs of reference with {METRIC}\n"
    cache = GraphCache.load(file)
    assert sorted(cache.specs) == sorted(chain.spec for chain in CHAINS[:9])
    labels = {chain.spec: (i + 1) / 20 for i, chain in enumerate(CHAINS)}
    assert cache.labels.tolist() == [labels[spec] for spec in cache.specs]
    assert list(cache.graphs.scores) == ["p/x"]
    assert cache.provenance["graphs"] == {"family": {"name": "reference"}, "task": TASK}
    assert [part["file"] for part in cache.provenance["merged"]] == [str(one), str(two)]


def test_the_first_label_of_an_architecture_is_kept(aiop, tmp_path):
    parts = [run(tmp_path / "one"), run(tmp_path / "two", range(2, 6), add=0.1), run(tmp_path / "three", [0])]
    done = aiop("cache", "build", *parts, "--out", tmp_path / "c.safetensors")
    assert "3 repeat an earlier architecture and were dropped; 2 of them had another label" in done.out
    cache = GraphCache.load(tmp_path / "c.safetensors")
    assert len(cache) == len(set(cache.specs)) == 6
    assert cache.labels[cache.specs.index(CHAINS[2].spec)] == 3 / 20
    told = json.loads(aiop("cache", "build", *parts, "--out", tmp_path / "d.safetensors", "--json").out)["caches"][0]
    assert (told["repeats_dropped"], told["graphs"], told["family"], told["suffix"]) == (3, 6, "reference", "")


def test_runs_with_other_options_are_refused(aiop, tmp_path):
    one, two = run(tmp_path / "one"), run(tmp_path / "two", range(4, 6), task=TASK | {"epochs": 9})
    done = aiop("cache", "build", one, two, "--out", tmp_path / "caches")
    assert done.code == 1
    assert done.err.splitlines()[-1] == (
        f"Error: {two} was labelled with other options than {one} (task.epochs is 1 there and 9 here); "
        "build a cache of each, with a --suffix of its own"
    )
    assert not (tmp_path / "caches").exists()


def test_runs_of_another_way_of_labelling_are_refused(aiop, tmp_path):
    one, two = run(tmp_path / "one"), run(tmp_path / "two", [5], mode="shared")
    done = aiop("cache", "build", one, two, "--out", tmp_path / "caches")
    assert f'{two} was labelled with other options than {one} (mode is null there and "shared" here)' in done.err


def collected(folder, **store):
    """A run folder's cache, as ``aiop run`` leaves it."""
    origin = {"graphs": {"family": {"name": "reference"}, "task": TASK}}
    collect(LabelStore(run(folder, **store)), Metric(METRIC), origin).save(folder / "graphs.safetensors")
    return folder / "graphs.safetensors"


def old(file):
    """A cache that carries only family and task."""
    cache = GraphCache.load(file)
    replace(cache, provenance={"graphs": cache.provenance["graphs"]}).save(file)
    return file


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"head": "0123", "shared": {"epochs": 1}}, 'head is null there and "0123" here, shared is null there and'),
        ({"data": "0123"}, 'data is null there and "0123" here'),
        ({"weights": "0123"}, 'weights is null there and "0123" here'),
        ({"task": TASK | {"epochs": 2}}, "task.epochs is 1 there and 2 here"),
    ],
)
def test_caches_of_runs_are_not_mixed_either(aiop, tmp_path, other, said):
    plain, special = collected(tmp_path / "a"), collected(tmp_path / "b", chains=range(4, 6), **other)
    for first in (tmp_path / "a", plain, old(collected(tmp_path / "c"))):
        for second in (tmp_path / "b", special):
            done = aiop("cache", "build", first, second, "--out", tmp_path / "caches")
            assert f"{second} was labelled with other options than {first} ({said}" in done.err
    assert not (tmp_path / "caches").exists()


def test_caches_of_one_way_of_labelling_go_together(aiop, tmp_path):
    shared = {"head": "0123", "shared": {"epochs": 1}, "data": "4567"}
    one, two = collected(tmp_path / "a", **shared), collected(tmp_path / "b", chains=range(4, 6), seed=1, **shared)
    assert aiop("cache", "merge", one, two, "--out", tmp_path / "merged.safetensors").code == 0
    parts = (tmp_path / "a", one, two, tmp_path / "merged.safetensors")
    assert aiop("cache", "build", *parts, "--out", tmp_path / "all.safetensors").code == 0
    assert len(GraphCache.load(tmp_path / "all.safetensors")) == 6
    plain = collected(tmp_path / "c", chains=[7])
    for built in ("all.safetensors", "merged.safetensors"):
        done = aiop("cache", "build", tmp_path / built, plain, "--out", tmp_path / "no")
        assert 'head is "0123" there and null here' in done.err


def test_old_caches_can_still_be_built(aiop, tmp_path):
    one, two = old(collected(tmp_path / "a")), old(collected(tmp_path / "b", chains=range(4, 6)))
    run(tmp_path / "c", [8])
    done = aiop("cache", "build", one, two, tmp_path / "c", "--out", tmp_path / "all.safetensors")
    assert done.code == 0, done.err
    assert len(GraphCache.load(tmp_path / "all.safetensors")) == 7


def test_no_two_parts_differ_wherever_they_stand(aiop, tmp_path):
    """The first cache tells nothing; the others are still compared, and so is what is built of them."""
    silent = collected(tmp_path / "a")
    replace(GraphCache.load(silent), provenance={}).save(silent)
    one, two = old(collected(tmp_path / "b", chains=[5])), collected(tmp_path / "c", task=TASK | {"epochs": 9})
    done = aiop("cache", "build", silent, one, two, "--out", tmp_path / "caches")
    assert f"{two} was labelled with other options than {one} (task.epochs is 1 there and 9 here)" in done.err
    built = tmp_path / "built.safetensors"
    assert aiop("cache", "build", silent, one, "--out", built).code == 0
    refused = aiop("cache", "build", built, two, "--out", tmp_path / "caches")
    assert "task.epochs is 1 there and 9 here" in refused.err


def test_a_built_cache_can_be_built_on(aiop, tmp_path):
    first = tmp_path / NAME
    assert aiop("cache", "build", run(tmp_path / "one"), "--out", first).code == 0
    more = run(tmp_path / "two", range(3, 6))
    done = aiop(
        "cache", "build", tmp_path / f"reference_{METRIC}_toy", more, "--out", tmp_path / "all", "--suffix", "x"
    )
    assert done.code == 0, done.err
    assert "1 repeat an earlier architecture" in done.out
    assert len(GraphCache.load(tmp_path / "all" / f"reference_{METRIC}_x.safetensors")) == 6
    other = run(tmp_path / "three", [8], task=TASK | {"images": 16}, mode="shared")
    refused = aiop("cache", "build", first, other, "--out", tmp_path / "no", "--suffix", "x")
    assert "task.images is 8 there and 16 here" in refused.err


def test_several_metrics_and_suffixes_are_several_caches(aiop, tmp_path):
    both = run(tmp_path / "one", names=("a_AP", "b_AP"))
    done = aiop("cache", "build", both, "--out", tmp_path / "caches", "--json")
    assert sorted(path.name for path in (tmp_path / "caches").iterdir()) == [
        "reference_a_AP.safetensors",
        "reference_b_AP.safetensors",
    ]
    assert [told["metric"] for told in json.loads(done.out)["caches"]] == ["a_AP", "b_AP"]
    refused = aiop("cache", "build", both, "--out", tmp_path / "c.safetensors")
    assert (
        "c.safetensors is one file, and these are 2 caches (reference_a_AP.safetensors, reference_b_AP.safetensors); "
        "give a folder as --out"
    ) in refused.err
    assert aiop("cache", "build", both, "--out", tmp_path / "c.safetensors", "--metric", "b_AP").code == 0
    wrong = aiop("cache", "build", both, "--out", tmp_path / "d.safetensors", "--metric", "c_AP")
    assert "one has no labels of 'c_AP'" in wrong.err


def test_files_are_not_overwritten(aiop, tmp_path):
    folder = run(tmp_path / "one")
    build = ("cache", "build", folder, "--out", tmp_path / "caches", "--suffix", "toy")
    assert aiop(*build).code == 0
    assert "exists; name another file, or overwrite it with --force" in aiop(*build).err
    assert aiop(*build, "--force").code == 0
    (tmp_path / "file").write_text("dear")
    refused = aiop("cache", "build", folder, "--out", tmp_path / "file" / "caches")
    assert "caches cannot be made: Not a directory; name another with --out" in refused.err
    assert (
        "'a/b' cannot be part of a file name"
        in aiop("cache", "build", folder, "-o", tmp_path / "x", "--suffix", "a/b").err
    )
    assert "must end with .safetensors" in aiop("cache", "build", folder, "-o", tmp_path / "x.pkl").err


def accuracy(seed=0):
    return np.random.default_rng(seed).permutation(12) / 20 + 0.1


def test_correlation_with_a_classification_cache(aiop, tmp_path):
    values = accuracy()
    graphs = GraphSet.of(FAMILY.graph(chain, (64, 64)) for chain in CHAINS)
    specs = [chain.spec for chain in CHAINS]
    GraphCache.of(graphs, values, specs, ["reference"] * 12, Metric("acc"), {}).save(tmp_path / "acc.safetensors")
    build = ("cache", "build", run(tmp_path / "one", range(9)), "--classification", tmp_path / "acc.safetensors")
    told = json.loads(aiop(*build, "--out", tmp_path / "c.safetensors", "--json").out)["caches"][0]["classification"]
    labels = np.arange(1, 10) / 20
    assert told["architectures"] == 9
    for key, reference in (("spearman", spearmanr), ("kendall", kendalltau)):
        value, low, high = told[key]
        assert value == pytest.approx(reference(labels, values[:9]).statistic)
        assert low <= value <= high
    done = aiop(*build, "--out", tmp_path / "d.safetensors")
    assert f"with the accuracy in {tmp_path / 'acc.safetensors'}, 9 architectures: Spearman " in done.out
    assert f"Kendall {told['kendall'][0]:.3f}  [{told['kendall'][1]:.3f}, " in done.out


def test_correlation_with_a_table(aiop, tmp_path):
    rows = [f"{chain.spec};{value}" for chain, value in zip(CHAINS, 70 + 10 * accuracy(), strict=True)]
    (tmp_path / "acc.csv").write_text("\n".join(["spec;top1", *rows]))
    build = ("cache", "build", run(tmp_path / "one"), "-o", tmp_path / "c.safetensors", "--force")
    table = ("--classification", tmp_path / "acc.csv")
    told = json.loads(aiop(*build, *table, "--classification-label", "top1", "--json").out)["caches"][0]
    assert told["classification"]["spearman"][0] == pytest.approx(spearmanr(range(4), accuracy()[:4]).statistic)
    refused = aiop(*build, *table)
    assert refused.code == 2
    assert "acc.csv is a table; name its column of accuracies with --classification-label" in refused.err
    assert "no column 'acc'" in aiop(*build, *table, "--classification-label", "acc").err
    (tmp_path / "acc.csv").write_text("spec,top1\nd1-w4-k3,high\n")
    bad = aiop(*build, *table, "--classification-label", "top1")
    assert "acc.csv, row 2: top1 is 'high'; it must be a finite number" in bad.err


def test_accuracies_of_other_architectures_are_said(aiop, tmp_path):
    (tmp_path / "acc.csv").write_text("arch,top1\nd1-w9-k3,70\n")
    done = aiop(
        *("cache", "build", run(tmp_path / "one"), "-o", tmp_path / "c.safetensors", "--classification-spec", "arch"),
        *("--classification", tmp_path / "acc.csv", "--classification-label", "top1"),
    )
    assert "none of the 1 architectures of" in done.err
    assert "acc.csv is among those of the runs" in done.err
    assert not (tmp_path / "c.safetensors").exists()


def published(folder, family="OFA-PN", first=0):
    """A cache as the research code writes it, in its name."""
    entries = [
        entry(
            **{
                "compute graph": small(*[regular(6, (4, 4, 4, 4, 6, 6))] * i, name=f"{family}-Net{i}"),
                "original config": [i],
                "metric_map": "val_PCK->acc",
                "acc": 0.1 + 0.02 * i,
            },
            params=1.0 + i,
        )
        for i in range(first, first + 5)
    ]
    path = folder / f"gpi_{family.lower().replace('-', '_')}_val_PCK_lsp_ind_comp_graph_cache.pkl"
    path.write_bytes(written(entries))
    return path


def test_published_caches_are_sorted_by_their_names(aiop, tmp_path):
    parts = [published(tmp_path), published(tmp_path, "OFA-MBV3"), tmp_path / "ofa_pn_val_PCK_lsp_ind"]
    done = aiop("cache", "build", *parts, "--out", tmp_path / "ours", "--json")
    assert done.code == 0, done.err
    found = {told["file"].rpartition("/")[2]: told for told in json.loads(done.out)["caches"]}
    assert sorted(found) == ["ofa_mbv3_val_PCK_lsp_ind.safetensors", "ofa_pn_val_PCK_lsp_ind.safetensors"]
    assert found["ofa_pn_val_PCK_lsp_ind.safetensors"]["repeats_dropped"] == 5
    assert found["ofa_mbv3_val_PCK_lsp_ind.safetensors"]["suffix"] == "lsp_ind"


def test_a_published_cache_can_be_learnt_from(aiop, tmp_path):
    published(tmp_path)
    name = tmp_path / "ofa_pn_val_PCK_lsp_ind"
    done = aiop("train", "--cache", name, "--predictor", "reference", "--train", 3, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "predictor").is_dir()
