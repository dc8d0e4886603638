"""The command line: plugins, flags, config files, help, and one line for each mistake."""

import json
from pathlib import Path

import pytest

from aiop_core.cli import _interrupted
from aiop_core.contracts import Metric, Registration
from aiop_core.errors import AiopError
from aiop_core.graph.model import GraphSet
from aiop_core.hookspecs import hookimpl
from aiop_core.plugins import PluginSource
from aiop_core.records.cache import GraphCache
from aiop_core.testing import reference


def broken() -> object:
    raise ImportError("No module named 'nowhere'")


class Greets:
    """A plugin that adds a command."""

    @staticmethod
    @hookimpl
    def aiop_register_commands(cli):
        @cli.command("hello")
        def hello():
            """Say hello."""
            print("hello from a plugin")

        @cli.command("fails")
        def fails():
            raise ZeroDivisionError("a bug")

        @cli.command("stops")
        def stops():
            raise KeyboardInterrupt

        @cli.command("misused")
        def misused():
            raise AiopError("given was x, allowed is y")


def test_plugins_lists_what_is_installed_and_what_is_broken(aiop, sources) -> None:
    sources.append(PluginSource("bad", "aiop-bad", "2.0", broken))
    rows = json.loads(aiop("plugins", "--json").out)
    assert [(r["kind"], r["name"], r["distribution"], r["version"]) for r in rows] == [
        ("family", "reference", "aiop-reference", "0.1"),
        ("task", "reference", "aiop-reference", "0.1"),
        ("predictor", "reference", "aiop-reference", "0.1"),
        ("zoo", "reference_zoo", "aiop-reference", "0.1"),
        ("plugin", "bad", "aiop-bad", "2.0"),
    ]
    assert rows[1]["options"] == ["images", "epochs"]
    assert rows[4]["error"] == "ImportError: No module named 'nowhere'"
    table = aiop("plugins").out
    assert "aiop-reference" in table
    assert "broken: ImportError" in table


def test_no_plugins_says_what_to_install(aiop, sources) -> None:
    sources.clear()
    assert "pip install" in aiop("plugins").out


def test_check_passes_for_the_reference_and_names_what_is_unknown(aiop, sources) -> None:
    assert "checks pass" in aiop("check", "reference", "--kind", "predictor").out
    several = aiop("check", "reference")
    assert several.code == 1
    assert "'reference' is the name of several plugins; say which with --kind: family, task, predictor" in several.err
    assert "nothing named 'referense' is installed; did you mean 'reference'?" in aiop("check", "referense").err
    sources.append(PluginSource("bad", "aiop-bad", "2.0", broken))
    assert "plugin 'bad' of aiop-bad 2.0 is broken: ImportError" in aiop("check", "bad").err
    options = json.loads(aiop("check", "reference", "--kind", "task", "-o", "images=8", "-o", "epochs=1", "--json").out)
    assert all(check["passed"] for check in options["checks"])


def test_check_fails_with_exit_1_for_a_predictor_that_breaks_its_promises(aiop, sources) -> None:
    class Lazy:
        def fit(self, train, *, seed, device, progress):
            raise ValueError("not today")

    class Plugin:
        @staticmethod
        @hookimpl
        def aiop_register_predictors():
            return [Registration("lazy", "", lambda _: Lazy())]

    sources.append(PluginSource("lazy", "aiop-lazy", "0.1", lambda: Plugin))
    done = aiop("check", "lazy")
    assert done.code == 1
    assert "FAILED" in done.out


def test_help_shows_a_plugins_options_once_it_is_named(aiop) -> None:
    assert "--task.images" not in aiop("run", "--help").out
    shown = aiop("run", "--task", "reference", "--help").out
    assert "--task.images" in shown
    assert "training images" in shown
    assert "[default: 64]" in shown


RUN = ("run", "--task", "reference", "--family", "reference", "--dry-run")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("run",), 2, "name a family with --family (installed: reference)"),
        ((*RUN, "--task", "referense"), 1, "unknown task 'referense'; did you mean 'reference'?"),
        ((*RUN, "--imges", "3"), 2, "no such option --imges; did you mean '--images'?"),
        ((*RUN, "--images", "three"), 2, "'three', allowed is a whole number at least 8"),
        ((*RUN, "--task.images", "3"), 2, "'3', allowed is a whole number at least 8"),
        (("run", "--task.images", "3"), 2, "--task.images belongs to a task; name one with --task"),
        ((*RUN, "--device", "abacus"), 1, "--device abacus cannot be used"),
        (("train",), 2, "give labels with one of --table FILE, --cache FILE or --run FOLDER"),
        (("train", "--cache", "c", "--label", "x"), 2, "--label goes with --table; the labels come from --cache"),
        (
            ("train", "--table", "t.csv"),
            2,
            "--table needs --label COLUMN, and --family NAME if its rows are specs of a family",
        ),
        (("train", "--cache", "c.safetensors"), 1, "there is no graph cache at c.safetensors"),
        (("train", "--run", "nowhere"), 1, "nowhere holds no label store"),
        (("train", "--train", "0", "--run", "x"), 2, "'0' is not whole numbers of at least 1"),
        (("predict", "--predictor", "nowhere", "x"), 1, "nowhere holds no predictor"),
        (("graph", "show", "x"), 1, "'x' names no model; write family:spec"),
        (("graph", "show", "x", "--input-hw", "3"), 2, "'3' is not 2 whole numbers"),
        (("fly",), 2, "No such command 'fly'"),
    ],
)
def test_mistakes_are_one_clear_message(aiop, args: tuple[str, ...], code: int, message: str) -> None:
    done = aiop(*args)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err


def test_config_files_are_the_options(aiop, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('family = "reference"\ncount = 5\n[task]\nname = "reference"\nimages = 16\n')
    shown = json.loads(aiop("run", "--config", config, "--dry-run").out)
    assert (shown["count"], shown["task"]) == (5, {"name": "reference", "images": 16, "epochs": 2})
    shown = json.loads(aiop("run", "--config", config, "--count", 6, "--images", 32, "--dry-run").out)
    assert (shown["count"], shown["task"]["images"]) == (6, 32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cuont = 5", "unknown key 'cuont' in the config file; did you mean 'count'?"),
        (
            'family = "reference"\n[task]\nname = "reference"\nimges = 5',
            "unknown option 'task.imges'; did you mean 'images'?",
        ),
        (
            'family = "reference"\n[task]\nname = "reference"\nimages = 5',
            "option 'task.images' is '5', allowed is a whole",
        ),
        ('family = "nothing"', "unknown family 'nothing'"),
        ("not toml", "is not a readable config file"),
    ],
)
def test_mistakes_in_config_files(aiop, tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "run.toml"
    config.write_text(text)
    done = aiop("run", "--config", config, "--dry-run")
    assert done.code == 1
    assert message in done.err
    (tmp_path / "list.json").write_text("[]")
    assert "must hold a table of options, not a list" in aiop("run", "--config", tmp_path / "list.json").err
    assert "there is no config file" in aiop("run", "--config", tmp_path / "missing.toml").err


def test_plugins_add_commands_but_cannot_replace_ours(aiop, sources) -> None:
    sources.append(PluginSource("greets", "aiop-greets", "1.0", lambda: Greets))
    assert aiop("hello").out == "hello from a plugin\n"
    assert "hello" in aiop("--help").out
    misused = aiop("misused")
    assert (misused.code, misused.err) == (1, "Error: given was x, allowed is y\n")
    fails = aiop("fails")
    assert (fails.code, fails.err.count("\n")) == (1, 1)
    assert "unexpected ZeroDivisionError: a bug (--debug shows where" in fails.err
    with pytest.raises(ZeroDivisionError):
        aiop("--debug", "fails")
    stopped = aiop("stops")
    assert stopped.code == 130
    assert stopped.err.endswith("Interrupted.\n")
    assert _interrupted(["--debug", "run", "--task", "x"]).endswith(
        "the same command again goes on where this one stopped."
    )


def test_graph_show(aiop) -> None:
    shown = aiop("graph", "show", "reference:d2-w8-k3")
    assert "34 nodes, 33 edges, depth 33" in shown.out
    data = json.loads(aiop("graph", "show", "--family", "reference", "d1-w4-k3", "--nodes", "--json").out)
    assert data["nodes"] == len(data["node_list"]) == 19
    assert data["params"] == sum(o["params"] for o in data["ops"])
    assert [s["height"] for s in data["stages"]] == [64, 32, 16, 8, 4, 2, 1]
    assert data["node_list"][1] == {
        "node": 1, "op": "Conv", "in": "64x64x3", "out": "32x32x4", "kernel": "3x3", "stride": 2, "groups": 1,
        "params": 108, "reads": [0],
    }  # fmt: skip
    with_head = json.loads(aiop("graph", "show", "reference:d1-w4-k3", "--task", "reference", "--json").out)
    assert with_head["nodes"] == 19
    assert with_head["stages"][0]["height"] == 32
    factory = aiop("graph", "show", "torch.nn:Identity", "--input-shape", "3,8,8")
    assert "2 nodes, 1 edges" in factory.out


def test_version(aiop) -> None:
    assert "0.1.0" in aiop("--version").out


def test_train_from_a_table_and_predict_with_it(aiop, tmp_path: Path) -> None:
    rows = [f"d{d}-w{w}-k{k},{40 + 3 * d + w + k}" for d in (1, 2) for w in (4, 6, 8) for k in (3, 5)]
    (tmp_path / "t.csv").write_text("arch,top1\n" + "\n".join(rows) + "\n")
    args = ("--table", tmp_path / "t.csv", "--family", "reference", "--label", "top1", "--spec-columns", "arch")
    out = tmp_path / "out"
    done = aiop("train", *args, "--train", "6,8", "--seeds", 2, "--out", out)
    assert done.code == 0, done.err
    assert "top1 of 12 architectures, 2 seeds: mean ± deviation [range]" in done.out
    results = json.loads((out / "results.json").read_text())
    rounds = {(r["train"], r["seed"], r["test"]) for r in results["rounds"]}
    assert rounds == {(6, 0, 6), (6, 1, 6), (8, 0, 4), (8, 1, 4)}
    predicted = json.loads(aiop("predict", "--predictor", out / "predictor", "--sample", 3, "--json").out)
    assert len(predicted["predictions"]) == 3
    again = aiop("train", "--cache", out / "graphs.safetensors", "--train", "6", "--out", tmp_path / "again", "--json")
    assert json.loads(again.out)["labels"] == 12
    assert "nothing to predict" in aiop("predict", "--predictor", tmp_path / "again" / "predictor").err
    too_many = aiop("train", *args, "--train", "12", "--out", out)
    assert "train is 12 of 12 records, which leaves a side empty" in too_many.err


def test_a_damaged_predictor_is_said(aiop, tmp_path: Path) -> None:
    card = tmp_path / "predictor.json"
    card.write_text("{")
    assert "predictor.json is damaged" in aiop("predict", "--predictor", tmp_path, "x").err
    card.write_text('{"version": 7}')
    assert "has version 7; this aiop reads 1" in aiop("predict", "--predictor", tmp_path, "x").err


def test_a_predictor_of_foreign_graphs_needs_a_family_to_sample(aiop, tmp_path: Path) -> None:
    family = reference.ReferenceFamily()
    graphs = GraphSet.of(family.graph(a, (64, 64)) for a in family.all())
    labels = [0.3 + 0.01 * i for i in range(len(graphs))]
    specs = [a.spec for a in family.all()]
    cache = GraphCache.of(graphs, labels, specs, ["elsewhere"] * len(specs), Metric("acc"), {})
    cache.save(tmp_path / "c.safetensors")
    assert aiop("train", "--cache", tmp_path / "c.safetensors", "--train", 6, "--out", tmp_path / "out").code == 0
    predict = ("predict", "--predictor", tmp_path / "out" / "predictor")
    assert "--sample needs a family; name one with --family" in aiop(*predict, "--sample", 2).err
    named = json.loads(aiop(*predict, "--family", "reference", "--sample", 2, "--json").out)
    assert len(named["predictions"]) == 2


def test_out_below_a_file_is_one_clear_line(aiop, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("spec,acc\nd1-w4-k3,50\nd2-w8-k5,75\nd1-w6-k3,60\n")
    table = ("--table", tmp_path / "t.csv", "--family", "reference", "--label", "acc", "--train", 2)
    done = aiop("train", *table, "--out", tmp_path / "t.csv" / "x")
    assert done.code == 1
    assert "cannot be made: Not a directory; name another folder" in done.err
