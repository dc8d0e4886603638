"""``aiop cache score``: the architectures of a cache are made again and scored, once each."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from aiop_core.contracts import Metric, Registration
from aiop_core.errors import CacheError, ModelError, SpecError
from aiop_core.graph.model import GraphSet
from aiop_core.hookspecs import hookimpl
from aiop_core.options import option
from aiop_core.pipeline.scoring import profiler_source, score_cache, spelling
from aiop_core.pipeline.view import Quiet
from aiop_core.plugins import PluginRegistry, PluginSource, Selection
from aiop_core.records.cache import GraphCache
from aiop_core.records.score_journal import ScoreJournal
from aiop_core.testing import reference

FAMILY = reference.ReferenceFamily()
CHAINS = FAMILY.sample(5, seed=0)
CALLS = []


@dataclass(frozen=True)
class Options:
    factor: float = option(1.0, "of the first weight")


class FirstWeight:
    """The first weight of a network and its input's height."""

    def __init__(self, options):
        self.factor = options.factor

    def profile(self, model, input_shape):
        CALLS.append(input_shape)
        weight = next(model.parameters()).flatten()[0].item() * self.factor
        return {"weight": weight, **({"positive": 1.0} if weight > 0 else {})}


class Picky(FirstWeight):
    """Fails for the first two networks."""

    def profile(self, model, input_shape):
        if len(CALLS) < 2:
            CALLS.append(input_shape)
            raise RuntimeError("out of memory\nsomewhere")
        return super().profile(model, input_shape)


class Plugin:
    @staticmethod
    @hookimpl
    def aiop_register_profilers():
        return [
            Registration("first", "The first weight.", FirstWeight, Options),
            Registration("picky", "The same, at times.", Picky, Options),
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


def cache(families=("reference",) * 5, specs=None, graphs=None):
    return GraphCache.of(
        GraphSet.of(FAMILY.graph(c, (64, 64)) for c in CHAINS),
        np.linspace(0.1, 0.9, 5),
        specs or [c.spec for c in CHAINS],
        families,
        Metric("acc"),
        {"graphs": graphs} if graphs else {},
    )


@pytest.fixture
def file(tmp_path):
    cache().save(tmp_path / "c.safetensors")
    return tmp_path / "c.safetensors"


def scored(given, tmp_path, name="first", options=None, **kwargs):
    registry = PluginRegistry(SOURCES)
    profiler = Selection("profiler", name, options or Options())
    return score_cache(registry, given, profiler, **{"seed": 0, "journal": tmp_path / "j", "view": Quiet()} | kwargs)


def test_scores_go_into_the_cache_with_their_source(aiop, file):
    done = aiop("cache", "score", file, "--profiler", "first", "--profiler.factor", 2)
    assert (done.code, done.out) == (0, f"{file}: 5 graphs with first/weight, first/positive\n")
    found = GraphCache.load(file)
    weights, positive = found.graphs.scores["first/weight"], found.graphs.scores["first/positive"]
    assert len(set(weights.tolist())) == 5
    assert np.isnan(positive).tolist() == (weights <= 0).tolist()
    source = {
        "profiler": "first",
        "version": "aiop-profiler-first 1.2",
        "options": {"factor": 2.0},
        "weights_seed": 0,
    }
    assert found.score_sources == {"first/weight": source, "first/positive": source}
    assert found.provenance["graphs"]["profilers"] == [{"name": "first", "factor": 2.0}]
    assert list(file.parent.iterdir()) == [file]
    assert set(CALLS) == {(3, 64, 64)}


def test_weights_follow_from_seed_and_spec(tmp_path):
    first = scored(cache(), tmp_path, journal=tmp_path / "a").cache.graphs.scores["first/weight"]
    again = scored(cache(), tmp_path, journal=tmp_path / "b").cache.graphs.scores["first/weight"]
    other = scored(cache(), tmp_path, journal=tmp_path / "c", seed=1).cache.graphs.scores["first/weight"]
    assert first.tolist() == again.tolist()
    assert not set(first) & set(other)


def test_another_file_leaves_the_first_as_it_was(aiop, file):
    before, out = file.read_bytes(), file.with_name("o.safetensors")
    done = aiop("cache", "score", file, "--profiler", "first", "-o", out, "--json")
    assert json.loads(done.out) == {
        "file": str(out),
        "graphs": 5,
        "scores": ["first/weight", "first/positive"],
        "failed": [],
    }
    assert file.read_bytes() == before
    again = aiop("cache", "score", file, "--profiler", "first", "-o", out)
    assert (again.code, again.err.count("exists; name another file, or overwrite it with --force")) == (1, 1)
    assert aiop("cache", "score", file, "--profiler", "first", "-o", out, "--force").code == 0


def test_a_killed_scoring_goes_on(tmp_path, monkeypatch):
    whole = scored(cache(), tmp_path, journal=tmp_path / "whole").cache.graphs.scores["first/weight"]
    journal, view, say = tmp_path / "j", Quiet(), []
    monkeypatch.setattr(view, "say", say.append)
    CALLS.clear()

    class Killed(BaseException):
        pass

    def die(*args):
        if len(CALLS) == 3:
            raise Killed
        return profile(*args)

    profile = FirstWeight.profile
    monkeypatch.setattr(FirstWeight, "profile", die)
    with pytest.raises(Killed):
        scored(cache(), tmp_path)
    monkeypatch.setattr(FirstWeight, "profile", profile)
    journal.write_bytes(journal.read_bytes()[:-4])  # in the middle of a line
    CALLS.clear()
    found = scored(cache(), tmp_path, view=view).cache.graphs.scores["first/weight"]
    assert (len(CALLS), say) == (3, ["2 of 5 architectures are scored already: skipped"])
    assert found.tolist() == whole.tolist()
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line[1] for line in lines[1:]] == [c.spec for c in CHAINS]


@pytest.mark.parametrize("change", [{"options": Options(3.0)}, {"seed": 1}, {"name": "picky"}], ids=str)
def test_a_journal_of_other_scores_is_refused(tmp_path, change):
    scored(cache(), tmp_path)
    with pytest.raises(
        CacheError, match=r"j was left by a scoring with other options or of another cache; give the same"
    ):
        scored(cache(), tmp_path, **change)
    with pytest.raises(CacheError, match="of another cache"):
        scored(replace(cache(), specs=["d1-w4-k3"] * 5), tmp_path)


@pytest.mark.parametrize("text", ["no json\n", '{"a": 1}\n[1]\n'])
def test_a_damaged_journal_is_said(tmp_path, text):
    (tmp_path / "j").write_text(text)
    with pytest.raises(CacheError, match=r"j is damaged \(.*\); delete it to compute the scores anew"):
        scored(cache(), tmp_path)


def test_an_empty_journal_is_begun(tmp_path):
    (tmp_path / "j").write_bytes(b'{"cut')
    ScoreJournal(tmp_path / "j", {"a": 1})
    assert (tmp_path / "j").read_text() == '{"a": 1}\n'


def test_a_journal_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(CacheError, match="j cannot be written: No such file or directory; mend that"):
        ScoreJournal(tmp_path / "absent" / "j", {})


def test_what_cannot_be_scored_is_said_and_stays_unknown(aiop, file):
    done = aiop("cache", "score", file, "--profiler", "picky")
    assert done.code == 0
    assert f"no scores for {CHAINS[0].spec}: out of memory\n" in done.err
    assert done.out.endswith(f"2 architectures have no scores; the first, {CHAINS[0].spec}: out of memory\n")
    found = GraphCache.load(file)
    assert np.isnan(found.graphs.scores["picky/weight"]).tolist() == [True, True, False, False, False]


def test_nothing_that_can_be_scored_is_an_error(aiop, tmp_path):
    cache(families=["absent"] * 5).save(tmp_path / "c.safetensors")
    done = aiop("cache", "score", tmp_path / "c.safetensors", "--profiler", "first")
    assert done.code == 1
    last = done.err.splitlines()[-1]
    assert last.startswith(f"Error: no architecture could be scored; the first: '{CHAINS[0].spec}' names no model")
    with pytest.raises(ModelError, match="no architecture could be scored"):
        scored(GraphCache.load(tmp_path / "c.safetensors"), tmp_path)


def test_entries_of_one_architecture_are_scored_once(tmp_path):
    spec = CHAINS[0].spec
    found = scored(cache(specs=[spec, CHAINS[1].spec, spec, spec, spec]), tmp_path)
    assert len(CALLS) == 2
    assert len(set(found.cache.graphs.scores["first/weight"].tolist())) == 2


def test_networks_are_made_as_the_cache_says(tmp_path):
    task = {"name": "reference", "images": 8, "epochs": 1}
    scored(cache(graphs={"family": {"name": "reference"}, "task": task}), tmp_path, journal=tmp_path / "a")
    assert set(CALLS) == {(3, 32, 32)}
    CALLS.clear()
    scored(cache(graphs={"family": {"name": "reference"}, "input_hw": [32, 96]}), tmp_path, journal=tmp_path / "b")
    assert set(CALLS) == {(3, 32, 96)}
    CALLS.clear()
    zoo = cache(families=["reference_zoo"] * 5, specs=["reference_zoo:wren"] * 5, graphs={"input_shape": [3, 48, 48]})
    scored(zoo, tmp_path, journal=tmp_path / "c")
    assert CALLS == [(3, 48, 48)]


@pytest.mark.parametrize("form", ["{folder}/evil.py:net", "evil_of_a_cache:net"])
def test_code_that_a_cache_names_is_not_run_unasked(aiop, tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    text = "import pathlib, torch\npathlib.Path('ran').touch()\ndef net(): return torch.nn.Conv2d(3, 4, 3)\n"
    for name in ("evil.py", "evil_of_a_cache.py"):
        (tmp_path / name).write_text(text)
    code = form.format(folder=tmp_path)
    made = cache(families=["a table"] * 5, specs=["reference_zoo:wren"] * 4 + [code], graphs={"input_shape": [3, 8, 8]})
    made.save(tmp_path / "c.safetensors")
    args = ("cache", "score", "c.safetensors", "--profiler", "first")
    refused = aiop(*args)
    assert refused.code == 1
    assert refused.err.endswith(
        f"Error: the cache names Python code as an architecture, '{code}', and scoring it runs that code; "
        "if you trust both, give --allow-code\n"
    )
    assert not CALLS
    assert not (tmp_path / "ran").exists()
    assert aiop(*args, "--allow-code").code == 0
    assert (tmp_path / "ran").exists()


def test_other_scores_stay_and_older_ones_go(tmp_path):
    given = cache()
    scores = {"other/x": np.arange(5.0), "first/gone": np.arange(5.0)}
    given = replace(given, graphs=replace(given.graphs, scores=scores), score_sources={"other/x": {"table": "t"}})
    found = scored(given, tmp_path).cache
    assert list(found.graphs.scores) == ["other/x", "first/weight", "first/positive"]
    assert found.score_sources["other/x"] == {"table": "t"}


def test_spellings():
    registry = PluginRegistry(SOURCES)
    assert spelling(registry, "reference", "d1-w4-k3") == "reference:d1-w4-k3"
    assert spelling(registry, "reference_zoo", "reference_zoo:wren") == "reference_zoo:wren"
    with pytest.raises(SpecError):
        FAMILY.parse("reference_zoo:wren")


def test_labels_keep_who_scored(aiop, tmp_path):
    args = ("--task", "reference", "--family", "reference", "--count", 2, "--task.epochs", 1, "--profiler", "first")
    assert aiop("label", *args, "--out", tmp_path, "--json").code == 0
    from aiop_core.records.store import LabelStore

    registry = PluginRegistry(SOURCES)
    expected = profiler_source(registry, Selection("profiler", "first", None))
    assert expected["options"] == {"factor": 1.0}
    assert [r.score_sources for r in LabelStore(tmp_path)] == [{"first": expected}] * 2


def test_shown_scores_are_the_same_each_time(aiop):
    found = {aiop("graph", "show", "reference_zoo:wren", "--profiler", "first").out for _ in range(2)}
    assert len(found) == 1
