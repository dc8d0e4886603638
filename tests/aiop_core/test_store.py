"""The label store: nothing is lost, nothing is mixed, and damage is said in one line."""

import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from aiop_core.errors import StoreError
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.cost import cost
from aiop_core.records import record as record_module
from aiop_core.records.record import Record, pack_graph, unpack_graph
from aiop_core.records.store import RECORDS, LabelStore

IDENTITY = {"family": {"name": "f"}, "task": {"name": "t", "epochs": 2}, "seed": 0}


def graph(channels: int = 4):
    b = GraphBuilder()
    b.output(b.batch_norm(b.conv(b.input((8, 8)), channels, 3)))
    return b.build()


def record(spec: str, value: float = 0.5) -> Record:
    g = graph()
    return Record("f", spec, "t", {"acc": value}, {"acc": g}, {"acc": cost(g)}, {"p/x": 1.5}, {"seed": 3})


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "run", IDENTITY)
    store.append(record("a", 0.25))
    store.append(record("b"))
    again = LabelStore(tmp_path / "run")
    assert list(again) == [record("a", 0.25), record("b")]
    assert "a" in again
    assert "c" not in again
    assert again.identity == IDENTITY


def test_a_line_cut_short_by_a_kill_is_repaired_by_the_next_append(tmp_path: Path) -> None:
    store = LabelStore(tmp_path, IDENTITY)
    store.append(record("a"))
    whole = (tmp_path / RECORDS).read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 1):
        (tmp_path / RECORDS).write_bytes(whole + whole[:cut])
        survivor = LabelStore(tmp_path)
        assert [r.spec for r in survivor] == ["a"]
        survivor.append(record("b"))
        assert [r.spec for r in LabelStore(tmp_path)] == ["a", "b"]
        (tmp_path / RECORDS).write_bytes(whole)


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    LabelStore(tmp_path, IDENTITY).append(record("a"))
    path = tmp_path / RECORDS
    path.write_bytes(path.read_bytes().replace(b'"acc":0.5', b'"acc":0.9'))
    with pytest.raises(StoreError, match=r"the record at byte 0 of .* does not match its checksum; delete that line"):
        LabelStore(tmp_path)
    path.write_bytes(b"not json\n")
    with pytest.raises(StoreError, match=r"the record at byte 0 of .* is not readable; delete that line"):
        LabelStore(tmp_path)


def test_other_options_are_refused_naming_the_difference(tmp_path: Path) -> None:
    LabelStore(tmp_path, IDENTITY).append(record("a"))
    other = {**IDENTITY, "task": {"name": "t", "epochs": 9}}
    with pytest.raises(StoreError, match=r"made with other options \(task.epochs is 2 there and 9 here\); give those"):
        LabelStore(tmp_path, other)


def test_a_folder_without_store_and_a_damaged_header(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no label store"):
        LabelStore(tmp_path)
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(StoreError, match=r"store.json is damaged"):
        LabelStore(tmp_path, IDENTITY)
    (tmp_path / "store.json").write_text(json.dumps({"version": 99, "identity": IDENTITY}))
    with pytest.raises(StoreError, match="version 99; this aiop reads version 1"):
        LabelStore(tmp_path, IDENTITY)


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LabelStore(tmp_path, IDENTITY)
    store.append(record("a"))
    length = (tmp_path / RECORDS).stat().st_size

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"cannot be written \(No space left on device\).*every label .* is kept"):
        store.append(record("b"))
    assert (tmp_path / RECORDS).stat().st_size == length
    assert [r.spec for r in LabelStore(tmp_path)] == ["a"]


def _label_all(folder: str, specs: list[str]) -> None:
    store = LabelStore(Path(folder), IDENTITY)
    for spec in specs:
        with store.claim(spec) as free:
            if free:
                store.append(record(spec))


def test_two_processes_share_a_store(tmp_path: Path) -> None:
    specs = [f"s{i}" for i in range(40)]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_label_all, args=(str(tmp_path), order)) for order in (specs, specs[::-1])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers)
    lines = (tmp_path / RECORDS).read_text().splitlines()
    assert sorted(json.loads(line)["record"]["spec"] for line in lines) == sorted(specs)


def test_a_claim_keeps_others_out_until_it_ends(tmp_path: Path) -> None:
    first, second = LabelStore(tmp_path, IDENTITY), LabelStore(tmp_path, IDENTITY)
    with first.claim("a") as free:
        assert free
        with second.claim("a") as also:
            assert not also
        first.append(record("a"))
    with second.claim("a", wait=True) as free:
        assert not free
    assert "a" in second


def test_graphs_travel_as_text_and_damage_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    g = graph()
    text = pack_graph(g)
    assert unpack_graph(text) == g
    for damaged in (text[:-8], "AAAA", text[:20] + "!" + text[21:]):
        with pytest.raises(StoreError, match="a packed graph is damaged"):
            unpack_graph(damaged)
    monkeypatch.setattr(record_module, "MAX_GRAPH_BYTES", 100)
    with pytest.raises(StoreError, match="a packed graph is larger than 100 bytes"):
        unpack_graph(text)


def test_a_record_without_a_field_is_refused() -> None:
    data = record("a").to_json()
    del data["labels"]
    with pytest.raises(StoreError, match="a record lacks a field or has a wrong one: 'labels'"):
        Record.from_json(data)
    assert np.isfinite(Record.from_json(record("a").to_json()).labels["acc"])


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"run folder .* cannot be made: .*; name another with --out"):
        LabelStore(tmp_path / "file" / "run", IDENTITY)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "options.json").write_text("mine")
    with pytest.raises(StoreError, match=r"holds something else than labels \(options.json\); name an empty folder"):
        LabelStore(tmp_path, {"seed": 0})
    assert [path.name for path in tmp_path.iterdir() if path.name != "store.lock"] == ["options.json"]
    assert (tmp_path / "options.json").read_text() == "mine"


def test_options_may_change_as_long_as_there_is_no_label(tmp_path: Path) -> None:
    LabelStore(tmp_path, {"seed": 0})
    assert LabelStore(tmp_path, {"seed": 1}).identity == {"seed": 1}
    LabelStore(tmp_path, {"seed": 1}).append(record("a"))
    with pytest.raises(StoreError, match="holds labels made with other options"):
        LabelStore(tmp_path, {"seed": 0})
