"""What ``aiop train`` and ``aiop evaluate`` refuse, keep and go on with, on toy predictors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.aiop_core.transfer_plugins import Seeded, both, chains, evaluate

from aiop_core.pipeline.sources import Source, join
from aiop_core.records.cache import GraphCache
from aiop_core.records.combine import take

pytestmark = pytest.mark.usefixtures("toys")


def test_few_labels_of_the_other_direction_are_refused(aiop, folder: Path, saved: Path) -> None:
    how = ("--predictor", saved, "--cache", folder / "error.safetensors", "--out", folder / "e")
    done = aiop("evaluate", *how, "--labels", "0,6")
    assert done.code == 1
    assert "'error' of" in done.err
    assert "differ in whether higher is better; turn the labels around" in done.err
    assert not (folder / "e").exists()


def test_predictors_that_a_command_did_not_save_are_kept(aiop, folder: Path, saved: Path) -> None:
    card = (saved / "predictor.json").read_text()
    near, few = ("--cache", folder / "near.safetensors"), ("--labels", 6, "--seeds", 1)
    target = ("--cache", folder / "target.safetensors")
    own = aiop("evaluate", "--predictor", saved, *target, *few, "--out", saved.parent, "--restart")
    assert f"--out {saved.parent} holds the given predictor, which would be overwritten; name another" in own.err
    other = aiop("train", *near, "--predictor", "seeded", "--out", folder / "other")
    assert other.code == 0, other.err
    how = ("evaluate", "--predictor", saved, *target, *few, "--out", folder / "other", "--restart")
    message = f"{folder / 'other' / 'predictor'} holds a predictor that 'aiop evaluate' did not save; name another"
    assert message in aiop(*how).err
    (saved.parent / "rounds.jsonl").unlink()
    again = aiop("train", *near, "--predictor", "seeded", "--train", 20, "--out", saved.parent)
    assert f"{saved} holds a predictor that 'aiop train' did not save; name another folder with --out" in again.err
    assert (saved / "predictor.json").read_text() == card
    assert message in aiop(*how, "--save", "none").err


def test_rounds_know_sets_by_number_and_their_metrics(aiop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = ("--predictor", "seeded", "--train", 25, "--judge-only", "--out", folder / "o")
    first = aiop("train", *both(folder), *how, "--json")
    monkeypatch.chdir(folder)
    relative = ("--cache", "near.safetensors", "--cache", "./far.safetensors")
    again = aiop("train", *relative, *how, "--json")
    assert again.code == 0, again.err
    assert "2 of 2 fits were done before" in again.err
    old, new = (json.loads(done.out) for done in (first, again))
    assert [r["scores"] for r in new["rounds"]] == [r["scores"] for r in old["rounds"]]
    assert {r["source"] for r in new["rounds"]} == {"near.safetensors", "far.safetensors"}
    near = GraphCache.load(folder / "near.safetensors")
    for metric in (
        replace(near.metric, name="top1"),
        replace(near.metric, unit="points"),
    ):
        replace(near, metric=metric).save(folder / "near.safetensors")
        other = aiop("train", *relative, *how)
        assert "is of a command with other metrics; give the same again" in other.err
    whole = GraphCache.load(folder / "target.safetensors")
    for size, name in ((12, "even"), (8, "uneven")):
        for part, chosen in (("a", np.arange(size)), ("b", np.arange(size, 24))):
            take(whole, chosen).save(folder / f"{name}-{part}.safetensors")
    how = ("--predictor", "seeded", "--train", 10, "--judge-only", "--out", folder / "s")
    for name, code in (("even", 0), ("uneven", 1)):
        done = aiop("train", "--cache", f"{name}-a.safetensors", "--cache", f"{name}-b.safetensors", *how)
        assert done.code == code, done.err
    assert "with other labels; give" in done.err


def test_scores_of_different_sources_are_not_joined(aiop, folder: Path) -> None:
    for name, origin in (("near", "one"), ("far", "two")):
        cache = GraphCache.load(folder / f"{name}.safetensors")
        numbers = np.arange(len(cache), dtype=np.float64)
        graphs = replace(cache.graphs, scores={"ours": numbers, "same": numbers})
        sources = {"ours": {"table": origin}, "same": {"profiler": "x"}}
        replace(cache, graphs=graphs, score_sources=sources).save(folder / f"{name}.safetensors")
    done = aiop("train", *both(folder), "--predictor", "seeded", "--judge-only", "--out", folder / "o")
    assert "scores that not all labels have from one source are left out: ours" in done.err
    caches = [GraphCache.load(folder / f"{name}.safetensors") for name in ("near", "far")]
    joined = join([Source("a", caches[0], {}), Source("b", caches[1], {})])
    assert set(joined.data.graphs.scores) == {"same"}


def test_an_empty_side_is_said_before_anything_is_fitted(aiop, folder: Path) -> None:
    few = aiop("train", *both(folder), "--predictor", "seeded", "--train", "25,49", "--out", folder / "o")
    assert "49 labels to learn from leave a side of" in few.err
    assert Seeded.fits == 0


@pytest.mark.parametrize("count", [1, 2])
def test_two_labels_are_enough_and_one_is_not(aiop, folder: Path, count: int) -> None:
    chains(count, "tiny").save(folder / "tiny.safetensors")
    how = ("--cache", folder / "tiny.safetensors", "--predictor", "mean", "--judge-only", "--json")
    done = aiop("train", *how, "--out", folder / "o")
    if count == 1:
        assert "1 records cannot be split into two sides; label at least 2" in done.err
    else:
        assert {(r["learnt"], r["test"]) for r in json.loads(done.out)["rounds"]} == {(1, 1)}


def test_a_killed_training_goes_on(aiop, folder: Path) -> None:
    command = (
        "train",
        "--cache",
        folder / "near.safetensors",
        "--predictor",
        "seeded",
        "--train",
        "8,16",
        "--seeds",
        3,
    )
    whole = aiop(*command, "--judge-only", "--out", folder / "whole", "--json")
    assert Seeded.fits == 6
    assert not (folder / "whole" / "predictor").exists()
    Seeded.fits, Seeded.fails_at = 0, 4
    killed = aiop(*command, "--out", folder / "o")
    assert killed.code == 130
    assert "the same command again goes on where this one stopped" in killed.err
    Seeded.fits, Seeded.fails_at = 0, None
    done = aiop(*command, "--judge-only", "--out", folder / "o", "--json")
    assert "6 of 12 fits were done before: kept; --restart does them again" in done.err
    assert Seeded.fits == 3

    def scores(text: str) -> list:
        return [(r["train"], r["seed"], r["name"], r["scores"]) for r in json.loads(text)["rounds"]]

    assert scores(done.out) == scores(whole.out)
    more = aiop(*command[:-1], 4, "--judge-only", "--out", folder / "o")  # another seed, the others are kept
    assert "12 of 16 fits were done before" in more.err
    other = aiop(*command[:1], "--cache", folder / "far.safetensors", *command[3:], "--out", folder / "o")
    assert "is of a command with other labels, metrics; give the same again" in other.err
    assert other.err.count("\n") == 1
    assert aiop(*command, "--restart", "--judge-only", "--out", folder / "o").code == 0


def test_a_killed_evaluation_goes_on(aiop, folder: Path, saved: Path) -> None:
    Seeded.fits, Seeded.fails_at = 0, 3
    assert evaluate(aiop, saved, folder, "--labels", 6, "--seeds", 2).code == 130
    Seeded.fits, Seeded.fails_at = 0, None
    done = evaluate(aiop, saved, folder, "--labels", 6, "--seeds", 2, "--save", "none")
    assert "3 of 6 fits were done before" in done.err
    assert Seeded.fits == 2
