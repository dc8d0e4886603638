"""The paper's tables are made from caches in its authors' format: those that the files allow, once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.aiop_core.published import entry, regular, small, weighted, written
from tests.conftest import Aiop

import aiop_predictor_gnn.plugin
from aiop_core.plugins import PluginSource
from aiop_core.records.cache import GraphCache
from aiop_predictor_gnn.tables import FAMILIES, PUBLISHED_FINE_TUNED, PUBLISHED_ZERO_SHOT, TASKS


@pytest.fixture
def sources() -> list[PluginSource]:
    return [PluginSource("gnn", "aiop-predictor-gnn", "0.1", lambda: aiop_predictor_gnn.plugin)]


def write(folder: Path, name: str, *, metric: str | None, count: int = 9, seed: int = 0) -> None:
    """``count`` different chains; wider ones do better."""
    rng = np.random.default_rng(seed)
    entries = []
    for i in range(count):
        width = 8 + 4 * i
        at = (4, 4, 4, 4, width, width)
        graph = small(weighted(3, at, [width, width, 3, 3]), regular(6, at), name=f"OFA-PN-Net{i}")
        other = {} if metric is None else {"metric_map": f"{metric}->acc", "flops": 3.0, "params": 1.0}
        entries.append(entry(**{"compute graph": graph, "acc": 0.5 + width / 500 + 0.001 * rng.random()}, **other))
    (folder / f"gpi_{name}_comp_graph_cache.pkl").write_bytes(written(entries))


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    folder = tmp_path / "caches"
    folder.mkdir()
    write(folder, "nb101", metric=None)
    write(folder, "ofa_pn_val_PCK_lsp_shared", metric="val_PCK", seed=1)
    write(folder, "ofa_pn_val_PCK_mpii_ind", metric="val_PCK", seed=2)
    write(folder, "ofa_pn_obj_det_coco_ind", metric="obj_det_AP", seed=3)
    return folder


def test_tables_are_made_from_what_is_there_and_go_on_where_they_stopped(
    aiop: Aiop, caches: Path, tmp_path: Path
) -> None:
    command = ["gnn", "paper-tables", "--caches", caches, "--out", tmp_path / "out"]
    command += ["--epochs", "1", "--labels", "5", "--seeds", "2", "--device", "cpu"]
    done = aiop(*command)
    assert done.code == 0, done.err
    for text in ("zero-shot", "fine-tuned", "MPII", "OD", "0.42 %", "0.753", "0.773", "0.800"):
        assert text in done.out
    assert "missing:" in done.err
    assert "gpi_ofa_mbv3_val_PCK_lsp_shared_comp_graph_cache.pkl" in done.err
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(row["family"], row["task"]) for row in rows] == [("ofa_pn", "val_PCK_mpii"), ("ofa_pn", "obj_det_coco")]
    for row in rows:
        assert {(r["name"], r["seed"]) for r in row["rounds"]} == {
            (name, seed) for name in ("zero-shot", "fine-tuned") for seed in (12345, 1)
        }
        assert all(r["learnt"] == 5 and r["test"] == 4 and r["scores"]["mae"][0] < 0.2 for r in row["rounds"])
    predictors = sorted(path.name for path in (tmp_path / "out" / "predictors").iterdir())
    assert predictors == ["nb101-1", "nb101-12345", "ofa_pn-1", "ofa_pn-12345"]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "predictors").rglob("*")}
    again = aiop(*command, "--json")
    assert json.loads(again.out) == rows
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "predictors").rglob("*")}
    other = aiop(*command, "--tune", "heads")
    cache = GraphCache.load(tmp_path / "out" / "caches" / "nb101.safetensors")
    replace(cache, labels=cache.labels[::-1].copy()).save(tmp_path / "out" / "caches" / "nb101.safetensors")
    assert "rounds.jsonl is of a command with other learnt; give the same again" in aiop(*command).err
    assert (other.code, "was made with other tune; give the same, or another --out" in other.err) == (1, True)


def test_it_says_what_it_would_do_and_what_is_missing(aiop: Aiop, caches: Path, tmp_path: Path) -> None:
    plan = json.loads(aiop("gnn", "paper-tables", "--caches", caches, "--out", tmp_path / "out", "--dry-run").out)
    assert plan["targets"] == ["ofa_pn_val_PCK_mpii_ind", "ofa_pn_obj_det_coco_ind"]
    assert len(plan["missing"]) == 22 - 4
    assert plan["seeds"] == [12345, 1, 2, 3, 4]
    assert (plan["fit"]["epochs"], plan["adapt"]["epochs"], plan["tune"]["epochs"]) == (40, 100, 100)
    assert not (tmp_path / "out").exists()


def test_without_pretraining_there_are_no_tables(aiop: Aiop, caches: Path, tmp_path: Path) -> None:
    (caches / "gpi_nb101_comp_graph_cache.pkl").unlink()
    done = aiop("gnn", "paper-tables", "--caches", caches, "--out", tmp_path / "out")
    assert done.code == 1
    assert "lacks 19 of 22 files; at least gpi_nb101_comp_graph_cache.pkl and, of one family" in done.err


def test_a_broken_folder_is_named(aiop: Aiop, caches: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "settings.json").write_text("{")
    done = aiop("gnn", "paper-tables", "--caches", caches, "--out", tmp_path / "out")
    assert (done.code, "settings.json cannot be used" in done.err) == (1, True)


def test_published_numbers_are_one_for_each_target() -> None:
    assert {family: len(numbers) for family, numbers in PUBLISHED_ZERO_SHOT.items()} == dict.fromkeys(FAMILIES, 6)
    assert len(PUBLISHED_FINE_TUNED["ofa_pn"]) == len(TASKS)
