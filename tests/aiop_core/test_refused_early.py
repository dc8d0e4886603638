"""What commands refuse before they make graphs, what they warn of, and what their help shows."""

from pathlib import Path

import pytest

from aiop_core.testing.reference import ReferenceFamily


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every graph that the reference family is asked for."""
    asked: list[object] = []
    graph = ReferenceFamily.graph
    monkeypatch.setattr(ReferenceFamily, "graph", lambda *args: asked.append(args) or graph(*args))
    return asked


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Eight chains as models, with two labels and a score that no profiler computes."""
    rows = [f"reference:d{d}-w{w}-k{k},{40 + 10 * d + w},{w},{w}" for d in (1, 2) for w in (4, 8) for k in (3, 5)]
    (tmp_path / "t.csv").write_text("spec,top1,top5,width\n" + "\n".join(rows) + "\n")
    return tmp_path / "t.csv"


@pytest.fixture
def train(toys: None, table: Path, tmp_path: Path) -> tuple[object, ...]:
    return ("train", "--table", table, "--label", "top1", "--predictor", "seeded", "--out", tmp_path / "o")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--train", "4,8"), "train is 8 of 8 records, which leaves a side empty; allowed are 1 to 7"),
        (("--device", "abacus"), "--device abacus cannot be used"),
    ],
)
def test_train_refuses_bad_flags_before_graphs_are_made(aiop, train, made, flags, message: str) -> None:
    done = aiop(*train, *flags)
    assert (done.code, made) == (1, [])
    assert message in done.err


def test_train_refuses_a_folder_of_other_options_before_graphs_are_made(aiop, train, made, table: Path) -> None:
    assert aiop(*train, "--train", 5, "--judge-only").code == 0
    made.clear()
    for flags, what in (
        (("--label", "top5"), "metrics"),
        (("--lower-is-better",), "metrics"),
        (("--predictor", "plain"), "predictor"),
        (("--isomorphic", "apart"), "isomorphic graphs"),
    ):
        other = aiop(*train, "--train", 5, *flags)
        assert f"rounds.jsonl is of a command with other {what}" in other.err
        assert "begin anew with --restart" in other.err
    log = table.parent / "o" / "rounds.jsonl"
    content = log.read_text()
    log.write_text("{}\n{}\n")
    assert "rounds.jsonl is damaged" in aiop(*train).err
    assert not made
    log.write_text(content)
    again = aiop(*train, "--train", 5, "--judge-only")
    assert "fits were done before: kept" in again.err
    table.write_text(table.read_text().replace("54", "57"))
    assert "is of a command with other labels" in aiop(*train, "--train", 5).err
    assert made
    assert aiop(*train, "--train", 5, "--restart", "--judge-only").code == 0


def test_adapt_and_evaluate_refuse_before_graphs_are_made(aiop, saved: Path, table: Path, made, tmp_path: Path) -> None:
    how = ("--predictor", saved, "--table", table, "--label", "top1")
    adapt = aiop("adapt", *how, "--as", "x", "--out", saved)
    assert f"{saved} holds a predictor; name another folder with --out, or overwrite it with --force" in adapt.err
    evaluate = aiop("evaluate", *how, "--out", saved.parent)
    assert "holds the given predictor, which would be overwritten" in evaluate.err
    for command in (("adapt", "--as", "x"), ("evaluate",)):
        done = aiop(*command, *how, "--out", tmp_path / "new", "--device", "abacus")
        assert "--device abacus cannot be used" in done.err
    assert not made


def test_scores_that_nobody_computes_are_said_when_a_predictor_is_saved(aiop, train) -> None:
    told = "no installed profiler computes width: 'aiop predict' takes it as unknown where a model does not store it"
    assert told in aiop(*train, "--train", 5, "--score-columns", "width").err
    assert told not in aiop(*train, "--train", 5, "--score-columns", "width", "--judge-only").err
    assert told not in aiop(*train, "--train", 5, "--restart").err


def test_one_seed_is_no_plural(aiop, train) -> None:
    assert "top1 of 8 architectures, 1 seed: mean" in aiop(*train, "--train", 5, "--judge-only").out


@pytest.mark.parametrize("command", ["train", "predict", "explain", "adapt", "evaluate", "cache score"])
def test_help_has_examples_that_the_command_knows(aiop, command: str) -> None:
    shown = aiop(*command.split(), "--help").out
    before, _, after = shown.partition("\n  Examples:\n")
    examples = [line.strip() for line in after.split("\n\n")[0].splitlines()]
    assert sum(line.startswith(f"aiop {command} ") for line in examples) >= 2
    flags = {word for line in examples for word in line.split() if word.startswith("--")}
    assert flags
    assert not [flag for flag in flags if f" {flag} " not in before]
