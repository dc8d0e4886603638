"""``aiop profile``: body, head and whole of a run's architectures, counted once each."""

import json
import multiprocessing
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import aiop_core.plugins
from aiop_core.contracts import Registration
from aiop_core.errors import ModelError, SpecError, StoreError
from aiop_core.graph.cost import Cost
from aiop_core.hookspecs import hookimpl
from aiop_core.options import option
from aiop_core.pipeline.profile import profile_run, run_profiler
from aiop_core.pipeline.view import Quiet
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_core.records.record import Record
from aiop_core.records.store import RECORDS, LabelStore
from aiop_core.testing import reference

CALLS = []


@dataclass(frozen=True)
class Options:
    factor: float = option(1.0, "of the first weight")


class FirstWeight:
    def __init__(self, options):
        self.factor = options.factor

    def profile(self, model, input_shape):
        CALLS.append(input_shape)
        return {"weight": next(model.parameters()).flatten()[0].item() * self.factor}


class Failing(FirstWeight):
    def profile(self, model, input_shape):
        CALLS.append(input_shape)
        if len(CALLS) < 2:
            raise RuntimeError("out of memory\nsomewhere")
        return {"x": 1.0}


class Plugin:
    @staticmethod
    @hookimpl
    def aiop_register_profilers():
        return [
            Registration("first", "The first weight.", FirstWeight, Options),
            Registration("failing", "Fails once.", Failing, Options),
        ]


SOURCES = [
    PluginSource("reference", "aiop-reference", "0.1", lambda: reference),
    PluginSource("first", "aiop-profiler-first", "1.2", lambda: Plugin),
]


@pytest.fixture(autouse=True)
def _fresh():
    CALLS.clear()


@pytest.fixture
def sources():
    return SOURCES


@pytest.fixture
def run(aiop, tmp_path) -> Path:
    """Three labelled chains."""
    options = ("--task", "reference", "--family", "reference", "--count", 3, "--task.epochs", 1, "--images", 8)
    done = aiop("label", *options, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    return tmp_path / "run"


def lines(run: Path) -> int:
    return len((run / RECORDS).read_text().splitlines())


def body_by_hand(spec: str) -> Cost:
    """A reference body at 32×32: convolutions without bias and batch norms of one width."""
    chain = reference.ReferenceFamily().parse(spec)
    macs, params, c_in, side = 0, 0, 3, 32
    for _ in range(reference.STAGES):
        side = -(-side // 2)
        for _ in range(chain.depth):
            weights = c_in * chain.width * chain.kernel**2
            macs, params, c_in = macs + weights * side**2, params + weights + 2 * chain.width, chain.width
    return Cost(macs, params)


def test_body_and_head_are_the_whole(aiop, run):
    labels = [dict(r.labels) for r in LabelStore(run)]
    done = aiop("profile", run, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (len(found["profiled"]), found["skipped"], found["failed"]) == (3, [], {})
    for told in found["records"]:
        body = body_by_hand(told["spec"])
        assert told["body"] == {"macs": body.macs, "params": body.params}
        width = reference.ReferenceFamily().parse(told["spec"]).width
        assert told["head"] == {"quarter_accuracy": {"macs": 4 * width, "params": 4 * width + 4}}
        whole = told["whole"]["quarter_accuracy"]
        assert whole == {"macs": body.macs + 4 * width, "params": body.params + 4 * width + 4}
    again = LabelStore(run)
    assert [dict(r.labels) for r in again] == labels
    assert len(again) == 3


def test_a_table_for_people(aiop, run):
    done = aiop("profile", run, "--profiler", "first")
    assert "body: million MACs" in done.out
    assert "head, quarter_accuracy: million parameters" in done.out
    assert "first/weight" in done.out
    assert done.out.endswith("3 profiled, 0 before, 0 failed\n")


def test_what_is_there_stays_unless_all_is_counted_again(aiop, run):
    assert aiop("profile", run, "--profiler", "first").code == 0
    assert (lines(run), len(CALLS)) == (6, 3)
    before = (run / RECORDS).read_bytes()
    again = aiop("profile", run, "--profiler", "first")
    assert "3 of 3 architectures are profiled already: skipped" in again.err
    assert aiop("profile", run, "--reprofile").code == 0  # the same numbers
    assert (run / RECORDS).read_bytes() == before

    store = LabelStore(run)
    known = next(iter(store))
    store.append(replace(known, body=Cost(1, 1), scores={"first/weight": 9.0, "other/x": 2.0}))
    assert aiop("profile", run, "--profiler", "first").code == 0
    kept = LabelStore(run).get(known.spec)
    assert (kept.body, kept.scores) == (Cost(1, 1), {"first/weight": 9.0, "other/x": 2.0})
    assert aiop("profile", run, "--profiler", "first", "--reprofile").code == 0
    replaced = LabelStore(run).get(known.spec)
    assert (replaced.body, replaced.scores) == (known.body, {"other/x": 2.0, **known.scores})


def test_a_profiler_adds_what_it_says_alone(aiop, run):
    assert aiop("profile", run).code == 0
    store = LabelStore(run)
    body = {r.spec: r.body for r in store}
    assert aiop("profile", run, "--profiler", "first").code == 0
    store.refresh()
    assert {r.spec: r.body for r in store} == body
    source = {"profiler": "first", "version": "aiop-profiler-first 1.2", "options": {"factor": 1.0}}
    assert [r.score_sources for r in store] == [{"first": source}] * 3
    assert set(CALLS) == {(3, 32, 32)}


def test_scores_are_those_that_labelling_gives(aiop, run, tmp_path):
    options = ("--task", "reference", "--family", "reference", "--count", 3, "--task.epochs", 1, "--images", 8)
    assert aiop("label", *options, "--out", tmp_path / "two", "--profiler", "first").code == 0
    assert aiop("profile", run, "--profiler", "first").code == 0
    assert {r.spec: r.scores for r in LabelStore(run)} == {r.spec: r.scores for r in LabelStore(tmp_path / "two")}


def test_another_version_is_said(aiop, run, monkeypatch):
    assert aiop("profile", run, "--profiler", "first").code == 0
    newer = PluginSource("first", "aiop-profiler-first", "1.3", lambda: Plugin)
    monkeypatch.setattr(aiop_core.plugins, "installed_sources", lambda: [SOURCES[0], newer])
    done = aiop("profile", run, "--profiler", "first")
    assert "3 architectures keep what another version of 'first' said; --reprofile replaces it" in done.err


def test_what_fails_is_said_and_left_out(aiop, run):
    done = aiop("profile", run, "--profiler", "failing")
    assert done.code == 0
    assert "no profile of" in done.err
    assert ": out of memory\n" in done.err
    assert done.out.endswith("2 profiled, 0 before, 1 failed\n")
    assert aiop("profile", run, "--profiler", "failing").out.endswith("1 profiled, 2 before, 0 failed\n")


def test_nothing_that_can_be_profiled_is_an_error(run, monkeypatch):
    store = LabelStore(run)
    profiler = run_profiler(PluginRegistry(SOURCES), store)

    def unknown(spec):
        raise SpecError("no such chain")

    monkeypatch.setattr(profiler.family, "parse", unknown)
    with pytest.raises(ModelError, match="no architecture could be profiled; the first: no such chain"):
        profile_run(profiler, store, Quiet())


def test_a_killed_profiling_goes_on(run, monkeypatch):
    store = LabelStore(run)
    profiler = run_profiler(PluginRegistry(SOURCES), store, ["first"])

    class Killed(BaseException):
        pass

    def die(model, input_shape):
        if len(CALLS) == 2:
            raise Killed
        return FirstWeight.profile(profiler.profilers["first"], model, input_shape)

    monkeypatch.setattr(profiler.profilers["first"], "profile", die, raising=False)
    with pytest.raises(Killed):
        profile_run(profiler, store, Quiet())
    done = profile_run(run_profiler(PluginRegistry(SOURCES), store, ["first"]), LabelStore(run), Quiet())
    assert (len(done.profiled), len(done.skipped), len(CALLS)) == (1, 2, 3)


def test_a_full_disk_loses_nothing(run, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    store = LabelStore(run)
    profiler = run_profiler(PluginRegistry(SOURCES), store)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        profile_run(profiler, store, Quiet())
    monkeypatch.undo()
    assert len(LabelStore(run)) == lines(run) == 3


def _profile(folder: str) -> None:
    store = LabelStore(Path(folder))
    profile_run(run_profiler(PluginRegistry(SOURCES), store, ["first"]), store, Quiet())


def test_two_processes_share_the_work(run):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_profile, args=(str(run),)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert lines(run) == 6
    assert all(r.body is not None and "first/weight" in r.scores for r in LabelStore(run))


def test_folders_without_labels_or_with_damaged_options_are_said(aiop, run, tmp_path):
    done = aiop("profile", tmp_path)
    assert (done.code, "holds no label store" in done.err) == (1, True)
    LabelStore(tmp_path / "empty", {"family": {"name": "reference"}, "task": {"name": "reference"}})
    assert "empty has no labels yet; label some architectures first" in aiop("profile", tmp_path / "empty").err
    (run / "options.json").write_text("{")
    done = aiop("profile", run)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "options.json is damaged (" in done.err
    (run / "options.json").unlink()
    assert aiop("profile", run).code == 0  # the store knows what decides labels


def test_records_of_before_have_no_body():
    record = Record("f", "s", "t", {}, {}, {"acc": Cost(10, 5)})
    assert "body" not in record.to_json()
    assert Record.from_json(record.to_json()) == record
    assert record.head("acc") is None
    counted = replace(record, body=Cost(6, 4))
    assert Record.from_json(counted.to_json()) == counted
    assert counted.head("acc") == Cost(4, 1)
