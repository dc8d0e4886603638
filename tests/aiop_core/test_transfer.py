"""``aiop train`` on several caches, ``aiop adapt`` and ``aiop evaluate``, on toy predictors."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.aiop_core.transfer_plugins import both, chains, evaluate

from aiop_core.graph.fingerprints import fingerprints
from aiop_core.pipeline.saved import read_card
from aiop_core.records.cache import GraphCache

pytestmark = pytest.mark.usefixtures("toys")


def test_several_caches_are_learnt_together_and_judged_apart(aiop, folder: Path) -> None:
    done = aiop("train", *both(folder), "--predictor", "seeded", "--train", "25,40", "--out", folder / "o", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    names = [str(folder / f"{name}.safetensors") for name in ("near", "far")]
    assert {(r["train"], r["source"], r["name"]) for r in found["rounds"]} == {
        (size, name, who) for size in (25, 40) for name in names for who in ("seeded", "mean")
    }
    joint = [r for r in found["rounds"] if r["name"] == "seeded"]
    assert all(r["scores"]["mae"] == [None, None, None] and r["scores"]["spearman"][0] > 0.5 for r in joint)
    assert {r["learnt"] for r in joint} == {25, 40}
    alone = {(r["train"], r["source"]): r for r in found["rounds"] if r["name"] == "mean"}
    assert alone[25, names[0]]["learnt"] == 15  # each cache has its share
    assert alone[25, names[1]]["learnt"] == 10
    assert alone[25, names[1]]["scores"]["mae"][0] > 1 > alone[25, names[0]]["scores"]["mae"][0]
    card = read_card(folder / "o" / "predictor")
    assert [(s["name"], s["metric"]["name"], s["labels"]) for s in card.sources] == [
        (names[0], "near", 30),
        (names[1], "far", 20),
    ]
    assert card.ranks_only
    assert (card.metric.name, card.metric.unit, card.labels) == ("near", "score", 50)
    shown = aiop("train", *both(folder), "--predictor", "seeded", "--train", "25,40", "--out", folder / "o").out
    assert "near + far of 50 architectures" in shown
    assert "Predictor (learnt from all 50 labels)" in shown


def test_several_caches_need_a_predictor_that_learns_several(aiop, folder: Path) -> None:
    done = aiop("train", *both(folder), "--predictor", "plain", "--out", folder / "o")
    assert done.code == 1
    assert "predictor 'plain' cannot learn from several sources; those that can are: seeded, spy" in done.err
    mixed = ("--cache", folder / "near.safetensors", "--cache", folder / "error.safetensors")
    done = aiop("train", *mixed, "--predictor", "seeded", "--out", folder / "o")
    assert "higher is better in" in done.err
    assert "turn the labels of one around" in done.err
    twice = aiop("train", *both(folder), *both(folder), "--predictor", "seeded", "--out", folder / "o")
    assert (twice.code, "one --cache is given twice" in twice.err) == (2, True)
    few = aiop("train", *both(folder), "--predictor", "seeded", "--train", 1, "--out", folder / "o")
    assert "1 labels to learn from leave a side of" in few.err


def test_adapt_judges_and_keeps_what_was_known(aiop, folder: Path, saved: Path) -> None:
    far, before = ("--cache", folder / "far.safetensors"), (saved / "adaptable.json").read_text()
    first = aiop("adapt", "--predictor", saved, *far, "--as", "far", "--out", folder / "q", "--ridge", 0.5, "--json")
    assert first.code == 0, first.err
    found = json.loads(first.out)
    assert (found["learnt"], found["tested"]) == (16, 4)
    assert found["after"]["mae"] == [None, None, None]
    assert found["before"]["spearman"][0] > 0
    assert (saved / "adaptable.json").read_text() == before
    weights = json.loads((folder / "q" / "adaptable.json").read_text())["weights"]
    assert weights["base"] == json.loads(before)["weights"]["base"]
    assert set(weights) == {"base", "far"}
    second = aiop(
        "adapt",
        "--predictor",
        folder / "q",
        "--cache",
        folder / "target.safetensors",
        "--as",
        "t",
        "--out",
        folder / "r",
    )
    assert second.code == 0, second.err
    assert "Predictor (with far, t; learnt from all 24 labels)" in second.out
    assert "before" in second.out
    card = read_card(folder / "r")
    assert [(a["name"], a["metric"]["name"], a["labels"]) for a in card.adapters] == [
        ("far", "far", 20),
        ("t", "target", 24),
    ]
    assert card.adapters[0]["options"] == {"ridge": 0.5}
    assert card.ranks_only
    assert card.trust.calibration is None


def test_what_adapt_refuses(aiop, folder: Path, saved: Path) -> None:
    far = ("--cache", folder / "far.safetensors")
    same = aiop("adapt", "--predictor", saved, *far, "--as", "far", "--out", saved)
    assert same.code == 1
    assert f"{saved} holds a predictor; name another folder with --out, or overwrite it with --force" in same.err
    assert aiop("adapt", "--predictor", saved, *far, "--as", "far", "--out", saved, "--force").code == 0
    twice = aiop("adapt", "--predictor", saved, *far, "--as", "far", "--out", folder / "q")
    assert "--as 'far' cannot name what is learnt; choose another name; taken are: far" in twice.err
    turned = aiop(
        "adapt", "--predictor", saved, "--cache", folder / "error.safetensors", "--as", "e", "--out", folder / "q"
    )
    assert "differ in whether higher is better; turn the labels around" in turned.err
    plain = folder / "plain"
    assert aiop("train", *far, "--predictor", "plain", "--out", plain).code == 0
    other = aiop("adapt", "--predictor", plain / "predictor", *far, "--as", "x", "--out", folder / "q")
    assert "predictor 'plain' cannot be brought to other labels; those that can are: seeded, spy" in other.err
    two = aiop("adapt", "--predictor", saved, *both(folder), "--as", "x", "--out", folder / "q")
    assert (two.code, "give one --cache FILE; 'aiop cache merge' joins several of one metric" in two.err) == (2, True)
    file = aiop("adapt", "--predictor", saved, *far, "--as", "x", "--out", folder / "far.safetensors" / "q")
    assert "cannot be made: Not a directory; name another folder" in file.err
    (saved / "learnt.json").write_text("[]")
    damaged = aiop("adapt", "--predictor", saved, *far, "--as", "x", "--out", folder / "q")
    assert "learnt.json is damaged" in damaged.err


def test_adapting_to_what_was_learnt_cannot_be_judged(aiop, folder: Path, saved: Path) -> None:
    near = ("--cache", folder / "near.safetensors")
    done = aiop("adapt", "--predictor", saved, *near, "--as", "near", "--out", folder / "q", "--json")
    assert done.code == 0, done.err
    assert "every held-out label was learnt before, so what is learnt now cannot be judged" in done.err
    assert json.loads(done.out)["after"] == {}
    predicted = aiop("predict", "--predictor", folder / "q", "--family", "reference", "d1-w4-k3")
    assert predicted.code == 0, predicted.err
    assert "d1-w4-k3" in predicted.out


def test_evaluate_compares_on_the_same_few_labels(aiop, folder: Path, saved: Path) -> None:
    done = evaluate(aiop, saved, folder, "--labels", "0,6,12", "--seeds", 3, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    tested = {(r["train"], r["seed"], r["name"]): (r["learnt"], r["test"]) for r in found["rounds"]}
    zero = {(0, 0, name): (0, 24) for name in ("seeded", "more MACs", "more parameters")}
    few = {
        (size, seed, name): (size, 24 - size)
        for size in (6, 12)
        for seed in range(3)
        for name in ("seeded", "seeded from scratch", "mean")
    }
    assert tested == zero | few
    summary = {(s["labels"], s["name"]): s for s in found["summary"]}
    assert "mae" not in summary[0, "seeded"]
    assert summary[0, "seeded"]["spearman"]["mean"] > 0.8
    best = summary[6, "seeded"]["mae"]
    assert best["min"] <= best["mean"] <= best["max"]
    assert best["low"] < best["mean"] < best["high"]
    assert best["mean"] < summary[6, "mean"]["mae"]["mean"]
    assert json.loads((folder / "e" / "results.json").read_text())["summary"] == found["summary"]
    shown = evaluate(aiop, saved, folder, "--labels", "0,6,12", "--seeds", 3).out
    assert "below it the 95 % bootstrap interval" in shown
    assert "seeded from scratch" in shown


def test_the_tuned_predictor_is_saved_and_predicts(aiop, folder: Path, saved: Path) -> None:
    assert evaluate(aiop, saved, folder, "--labels", "6,8", "--seeds", 2).code == 0
    tuned = folder / "e" / "predictor"
    card = read_card(tuned)
    assert (card.labels, card.metric.name, card.tuned["labels"], card.ranks_only) == (8, "target", 8, False)
    assert card.trust is not None
    assert card.evaluation.startswith("Tuned on 8 labels of ")
    specs = GraphCache.load(folder / "target.safetensors").specs
    predicted = aiop("predict", "--predictor", tuned, "--family", "reference", "--json", "d1-w4-k3", "d2-w8-k3")
    assert predicted.code == 0, predicted.err
    assert len(json.loads(predicted.out)["predictions"]) == 2
    learnt = json.loads((tuned / "learnt.json").read_text())
    assert {metric: len(prints) for metric, prints in learnt.items()} == {"near": 30, "target": 8}
    target = ("--cache", folder / "target.safetensors", "--labels", 6, "--save", "all")
    again = aiop("evaluate", "--predictor", tuned, *target, "--out", folder / "again")
    assert f"8 of {len(specs)} labels of" in again.err
    assert read_card(folder / "again" / "predictor").labels == 16
    assert evaluate(aiop, saved, folder, "--restart", "--save", "none", "--labels", 6, "--seeds", 1).code == 0


def test_a_target_that_was_learnt_is_refused(aiop, folder: Path, saved: Path) -> None:
    done = aiop("evaluate", "--predictor", saved, "--cache", folder / "near.safetensors", "--out", folder / "e")
    assert done.code == 1
    assert "the predictor learnt from every label of" in done.err


def test_networks_that_were_learnt_with_another_metric_are_said(aiop, folder: Path, saved: Path) -> None:
    chains(8, "other").save(folder / "other.safetensors")
    how = ("--cache", folder / "other.safetensors", "--labels", 0, "--out", folder / "e")
    assert "of 8 networks of" in aiop("evaluate", "--predictor", saved, *how).err


def test_without_labels_any_predictor_ranks(aiop, folder: Path) -> None:
    plain = folder / "plain"
    assert aiop("train", "--cache", folder / "near.safetensors", "--predictor", "plain", "--out", plain).code == 0
    done = evaluate(aiop, plain / "predictor", folder, "--labels", 0, "--json")
    assert [r["name"] for r in json.loads(done.out)["rounds"]] == ["plain", "more MACs", "more parameters"]
    refused = evaluate(aiop, plain / "predictor", folder, "--labels", 5, "--restart")
    assert "predictor 'plain' cannot be tuned to a target's labels; those that can are: seeded, spy" in refused.err


def test_a_metric_that_should_be_low_is_ranked_the_other_way(aiop, folder: Path, saved: Path) -> None:
    how = ("--cache", folder / "error.safetensors", "--labels", 0, "--out", folder / "e", "--json")
    rounds = json.loads(aiop("evaluate", "--predictor", saved, *how).out)["rounds"]
    assert all(r["scores"]["spearman"][0] < 0 for r in rounds)  # the toy error grows with size


def test_options_of_a_saved_predictor_are_flags_and_config(aiop, folder: Path, saved: Path) -> None:
    shown = aiop("evaluate", "--predictor", saved, "--help").out
    assert "--tune.what, --what" in shown
    assert "--tune.adapters" in shown
    assert "--adapt.ridge, --ridge" in aiop("adapt", "--predictor", saved, "--help").out
    assert "--tune." not in aiop("evaluate", "--help").out
    config = folder / "c.toml"
    cache = folder / "target.safetensors"
    config.write_text(
        f'predictor = "{saved}"\ncache = "{cache}"\nlabels = [6]\nseeds = 1\n'
        '[tune]\nwhat = "offset"\n[adapt]\nridge = 1\n'
    )
    target = ("--cache", cache, "--out", folder / "e")
    done = aiop("evaluate", "--config", config, "--out", folder / "e")
    assert done.code == 0, done.err
    assert read_card(folder / "e" / "predictor").tuned["options"] == {"what": "offset", "adapters": []}
    other = aiop("evaluate", "--config", config, *target, "--what", "line")
    assert "is of a command with other tune; give the same again" in other.err
    assert aiop("evaluate", "--config", config, *target, "--tune.what", "line", "--restart").code == 0
    bad = aiop("evaluate", "--predictor", saved, *target, "--what", "all")
    assert (bad.code, "one of line, offset" in bad.err) == (2, True)
    config.write_text("[tune]\nwhatever = 3\n")
    assert "unknown option 'tune.whatever'" in aiop("evaluate", "--predictor", saved, "--config", config, *target).err
    missing = aiop("evaluate", "--tune.what", "line", *target)
    assert "--tune.what belongs to a predictor; name its folder with --predictor" in missing.err


def test_tested_on_all_as_published_tables_do(aiop, folder: Path) -> None:
    how = ("--cache", folder / "near.safetensors", "--predictor", "seeded", "--train", 10, "--judge-only", "--json")
    rounds = json.loads(aiop("train", *how, "--test", "all", "--out", folder / "o").out)["rounds"]
    assert {(r["learnt"], r["test"]) for r in rounds} == {(10, 30)}


def test_splits_of_a_training_are_disjoint_up_to_isomorphism(aiop, folder: Path) -> None:
    """Twins under other specs: averaged, together, or apart as asked."""
    cache = chains(12, "twins", noise=0.1)
    twins = GraphCache.of(
        cache.graphs.take(np.repeat(np.arange(12), 2)),
        np.repeat(cache.labels, 2) + np.tile([0, 0.1], 12),
        [f"{spec}-{i}" for spec in cache.specs for i in range(2)],
        ["chains"] * 24,
        cache.metric,
        {},
    )
    assert len(set(fingerprints(twins.graphs))) == 12
    twins.save(folder / "twins.safetensors")
    counts = {}
    for isomorphic in ("merge", "together", "apart"):
        how = ("--cache", folder / "twins.safetensors", "--isomorphic", isomorphic, "--train", 7, "--judge-only")
        done = aiop("train", *how, "--predictor", "seeded", "--out", folder / isomorphic, "--json")
        assert done.code == 0, done.err
        first = json.loads(done.out)["rounds"][0]
        counts[isomorphic] = (first["learnt"], first["learnt"] + first["test"])
    assert counts["merge"] == (7, 12)
    assert counts["together"][0] in (6, 8)
    assert counts["together"][1] == 24
    assert counts["apart"] == (7, 24)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Eight chains as models of no family, with a score that knows the label."""
    rows = [f"reference:d{d}-w{w}-k{k},{40 + 10 * d + w},{w}" for d in (1, 2) for w in (4, 8) for k in (3, 5)]
    (tmp_path / "t.csv").write_text("spec,top1,width\n" + "\n".join(rows) + "\n")
    return tmp_path / "t.csv"


def test_a_table_may_spell_models_and_hold_scores(aiop, tmp_path: Path, table: Path) -> None:
    how = ("--table", table, "--label", "top1", "--predictor", "seeded", "--train", 5, "--out", tmp_path / "o")
    done = aiop("train", *how, "--score-columns", "width", "--judge-only")
    assert done.code == 0, done.err
    cache = GraphCache.load(tmp_path / "o" / "graphs.safetensors")
    assert cache.graphs.scores["width"].tolist() == [4, 4, 8, 8, 4, 4, 8, 8]
    assert set(cache.families) == {"reference"}
    wrong = aiop("train", *how, "--input-hw", "64,64")
    assert "--input-hw goes with --family; models take --input-shape C,H,W" in wrong.err
    other = aiop("train", *how, "--family", "reference", "--input-shape", "3,64,64")
    assert "--input-shape goes with models; a family takes --input-hw H,W" in other.err


def test_the_direction_and_the_input_of_a_table_are_kept(aiop, tmp_path: Path, table: Path) -> None:
    how = ("--table", table, "--label", "top1", "--predictor", "seeded", "--train", 5, "--out", tmp_path / "o")
    done = aiop("train", *how, "--lower-is-better", "--input-shape", "3,64,64")
    assert done.code == 0, done.err
    cache = GraphCache.load(tmp_path / "o" / "graphs.safetensors")
    assert cache.metric.higher_is_better is False
    assert cache.provenance["graphs"] == {"input_shape": [3, 64, 64]}
    card = read_card(tmp_path / "o" / "predictor")
    assert (card.metric.higher_is_better, card.graphs["input_shape"]) == (False, [3, 64, 64])
    refused = aiop(
        "train", "--cache", tmp_path / "o" / "graphs.safetensors", "--predictor", "seeded", "--lower-is-better"
    )
    assert (refused.code, "--lower-is-better goes with --table" in refused.err) == (2, True)
