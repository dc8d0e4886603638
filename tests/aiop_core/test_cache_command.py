"""``aiop cache`` from the command line."""

import gzip
import json
import os
import pickle

import pandas as pd
import pytest
from tests.aiop_core.published import entry, regular, small, written

from aiop_core.graph.files import save_graph
from aiop_core.records.cache import GraphCache
from aiop_core.testing.reference import ReferenceFamily

CACHE = "gpi_ofa_pn_val_PCK_lsp_ind_comp_graph_cache.pkl"


def task(i, **other):
    """An architecture of its own for each ``i``."""
    layers = [regular(6, (4, 4, 4, 4, 6, 6)) for _ in range(i)]
    return (
        entry(
            **{
                "compute graph": small(*layers),
                "original config": [i],
                "metric_map": "val_PCK->acc",
                "acc": 0.1 + 0.02 * i,
            },
            params=1.0 + i,
        )
        | other
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a published cache of twenty graphs, as the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / CACHE).write_bytes(written([task(i) for i in range(20)]))
    return tmp_path


def test_import_and_show(aiop, folder):
    done = aiop("cache", "import", CACHE, "-o", "c.safetensors")
    assert (done.code, done.out) == (0, "c.safetensors: 20 graphs with val_PCK, from ofa_pn\n")
    assert f"{CACHE}: the authors' MACs are" in done.err
    counts = "parameters are 6.48e+04 times those that aiop counts on the graphs (median; 6.17e+03 to 1.23e+05)"
    assert f"{CACHE}: the authors' {counts}" in done.err  # 1 to 20 million to 162
    assert "aiop cache import" in GraphCache.load(folder / "c.safetensors").provenance["command"]
    shown = aiop("cache", "show", "c.safetensors")
    for words in (
        "20, of 20 different networks",
        "val_PCK, fraction, higher is better",
        "10.00 to 48.00 %",
        "ofa_pn 20",
    ):
        assert words in shown.out
    found = json.loads(aiop("cache", "show", "c.safetensors", "--json").out)
    assert found["nodes"] == {"min": 3, "mean": 12.5, "max": 22}
    assert found["params"] == {"min": 1_000_000, "mean": 10_500_000, "max": 20_000_000}
    assert (found["cost_source"], found["operations"]["ReLU"]) == ("authors: MACs = flops / 2", 190)
    assert found["provenance"]["imported"] == {"file": CACHE, "entries": 20, "keep_identity": False}


def test_files_are_not_overwritten(aiop, folder):
    (folder / "c.safetensors").write_text("dear")
    refused = aiop("cache", "import", CACHE, "-o", "c.safetensors")
    assert refused.code == 1
    assert refused.err == "Error: c.safetensors exists; name another file, or overwrite it with --force\n"
    assert (folder / "c.safetensors").read_text() == "dear"
    assert aiop("cache", "import", CACHE, "-o", "c.safetensors", "--force").code == 0
    (folder / "folder.safetensors").mkdir()
    assert aiop("cache", "import", CACHE, "-o", "folder.safetensors", "--force").code == 1


def test_files_are_called_what_they_are(aiop, folder):
    aiop("cache", "import", CACHE, "-o", "c.safetensors")
    for command, wanted in (
        (("import", CACHE, "-o", "x.pkl"), "x.pkl must end with .safetensors"),
        (("merge", "c.safetensors", "-o", "x"), "x must end with .safetensors"),
        (("export", "c.safetensors", "--parquet", "x.csv"), "x.csv must end with .parquet"),
    ):
        refused = aiop("cache", *command)
        assert (refused.code, refused.err) == (1, f"Error: {wanted}, by which the file is known\n")
    assert sorted(path.name for path in folder.iterdir()) == ["c.safetensors", CACHE]


def test_others_may_read_a_cache_as_the_umask_says(aiop, folder):
    before = os.umask(0o022)
    try:
        aiop("cache", "import", CACHE, "-o", "c.safetensors")
    finally:
        os.umask(before)
    assert (folder / "c.safetensors").stat().st_mode & 0o777 == 0o644


def test_several_files_become_one(aiop, folder):
    (folder / "second.pkl").write_bytes(written([task(3), task(30)]))
    done = aiop("cache", "import", CACHE, "second.pkl", "-o", "c.safetensors", "--json")
    assert json.loads(done.out) == {"file": "c.safetensors", "graphs": 21, "metric": "val_PCK", "repeats_dropped": 1}


def test_a_hostile_file_is_one_line(aiop, folder):
    class Hostile:
        def __reduce__(self):
            return os.system, ("touch ran",)

    (folder / "x.pkl").write_bytes(pickle.dumps([Hostile()]))
    done = aiop("cache", "import", "x.pkl", "-o", "c.safetensors")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1].startswith(
        f"Error: x.pkl is not read: it asks for {os.name}.system, which is refused"
    )
    assert not (folder / "ran").exists()
    assert not (folder / "c.safetensors").exists()


def test_merge(aiop, folder):
    (folder / "second.pkl").write_bytes(written([task(3), task(30)]))
    for name, *flags in ((CACHE,), ("second.pkl", "--recount")):
        assert aiop("cache", "import", name, "-o", f"{name}.safetensors", *flags).code == 0
    merge = "cache", "merge", f"{CACHE}.safetensors", "second.pkl.safetensors", "-o", "m.safetensors"
    assert "count all costs on the graphs with --recount" in aiop(*merge).err
    done = aiop(*merge, "--recount")
    assert "m.safetensors: 21 graphs with val_PCK" in done.out
    assert "1 entries repeat an earlier one and were dropped" in done.out
    assert GraphCache.load(folder / "m.safetensors").cost_source == "aiop-graph"


def test_split(aiop, folder):
    (folder / "twins.pkl").write_bytes(written([task(i // 2, acc=0.5 - 0.01 * i) for i in range(20)]))
    aiop("cache", "import", "twins.pkl", "-o", "c.safetensors")
    done = aiop("cache", "split", "c.safetensors", "-o", "part")
    assert done.out.splitlines() == [
        "part.train.safetensors: 16 graphs, 80.0%",
        "part.dev.safetensors: 2 graphs, 10.0%",
        "part.test.safetensors: 2 graphs, 10.0%",
        "10 graphs are networks that another graph is, too; they stay beside it",
    ]
    assert "part.train.safetensors exists" in aiop("cache", "split", "c.safetensors", "-o", "part").err
    done = aiop("cache", "split", "c.safetensors", "-o", "part", "--fractions", "0.5,0.5", "--force", "--json")
    assert [part["graphs"] for part in json.loads(done.out)["parts"]] == [10, 10]
    assert json.loads(done.out)["repeated_networks"] == 10
    numbered = aiop("cache", "split", "c.safetensors", "-o", "n", "--fractions", "0.4,0.2,0.2,0.2", "--json")
    assert [part["file"] for part in json.loads(numbered.out)["parts"]] == [f"n.{i}.safetensors" for i in (1, 2, 3, 4)]
    wrong = aiop("cache", "split", "c.safetensors", "-o", "part", "--fractions", "half")
    assert (wrong.code, "'half' is not numbers separated by commas" in wrong.err) == (2, True)


def test_export(aiop, folder):
    aiop("cache", "import", CACHE, "-o", "c.safetensors")
    assert aiop("cache", "export", "c.safetensors", "--parquet", "c.parquet").code == 0
    assert pd.read_parquet("c.parquet")["label"].tolist() == pytest.approx([0.1 + 0.02 * i for i in range(20)])
    assert "c.parquet exists" in aiop("cache", "export", "c.safetensors", "--parquet", "c.parquet").err


def test_an_imported_cache_trains_a_predictor(aiop, folder):
    aiop("cache", "import", CACHE, "-o", "c.safetensors")
    done = aiop("train", "--cache", "c.safetensors", "--out", "run", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["labels"] == 20


@pytest.mark.parametrize("command", ["show", "export", "merge", "split"])
def test_missing_and_damaged_caches(command, aiop, folder):
    rest = {"export": ["--parquet", "x.parquet"], "merge": ["-o", "m.safetensors"], "split": ["-o", "s"]}
    rest = rest.get(command, [])
    assert "Error: there is no graph cache at missing" in aiop("cache", command, "missing", *rest).err
    single = ReferenceFamily().graph(ReferenceFamily().all()[0], (64, 64))
    save_graph(single, folder / "net.safetensors")
    refused = aiop("cache", command, "net.safetensors", *rest).err
    assert refused == ("Error: net.safetensors is a single graph and no graph cache; 'aiop graph show' reads it\n")
    (folder / "zipped").write_bytes(gzip.compress((folder / CACHE).read_bytes()))
    for name in (CACHE, "zipped"):
        refused = aiop("cache", command, name, *rest).err
        assert refused.startswith(f"Error: {name} is a pickle and no graph cache; 'aiop cache import' reads the AIO")
    (folder / "damaged").write_text("text")
    assert "Error: damaged is damaged or no graph cache" in aiop("cache", command, "damaged", *rest).err
