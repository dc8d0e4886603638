"""The package of ``docs/plugin-authors.md`` works as it stands there: a stranger's plugin, without a change to core."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = re.compile(r"^\*\*`(?P<path>[^`]+)`\*\*\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """The folder that the page describes."""
    folder = tmp_path_factory.mktemp("aiop-example")
    page = (ROOT / "docs" / "plugin-authors.md").read_text(encoding="utf-8")
    for match in FILE.finditer(page):
        path = folder / match["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(match["text"], encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def aiop(package, tmp_path_factory):
    """Runs commands where that package is installed, and none of our own plugins is loaded."""
    site, work = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("work")
    install = ["pip", "install", "--quiet", "--offline", "--no-deps", "--no-build-isolation", "--target", site, package]
    subprocess.run([sys.executable, "-m", "uv", *install], check=True)
    environment = os.environ | {
        "PYTHONPATH": str(site),
        "AIOP_LOAD_PLUGINS": "example",
        "AIOP_STRICT_PLUGINS": "1",
        "OMP_NUM_THREADS": "1",
    }

    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True, cwd=work, env=environment, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def aiop(*arguments):
        return run(sys.executable, "-c", "from aiop_core.cli import main; main()", *arguments)

    aiop.run, aiop.work = run, work
    return aiop


def test_the_page_names_every_file_of_its_tree(package):
    files = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    modules = {f"src/aiop_example/{name}.py" for name in ("plugin", "family", "task", "predictor", "zoo", "operations")}
    assert files == modules | {"pyproject.toml", "tests/test_conformance.py"}


def test_it_is_listed_with_its_distribution(aiop):
    listed = json.loads(aiop("plugins", "--json"))
    found = listed["plugins"] if isinstance(listed, dict) else listed
    assert {(p["kind"], p["name"], p["distribution"]) for p in found} == {
        ("family", "plain", "aiop-example"),
        ("task", "stripes", "aiop-example"),
        ("predictor", "log_macs", "aiop-example"),
        ("zoo", "example", "aiop-example"),
        ("operation", "torch:aiop_example::snake", "aiop-example"),
    }


def test_it_passes_its_checks(aiop):
    assert "FAILED" not in aiop("check", "stripes", "--option", "epochs=1")
    for name in ("example", "torch:aiop_example::snake"):
        assert "FAILED" not in aiop("check", name)


def test_a_model_of_its_zoo_becomes_a_graph_by_its_rule(aiop):
    shown = json.loads(aiop("graph", "show", "example:adder", "--json"))
    found = {op["op"]: op["nodes"] for op in shown["ops"]}
    assert found == {"Conv": 2, "MatMul": 1, "Sin": 2, "Pow": 2, "Add": 2, "Mean": 1, "Input": 1, "Output": 1}


def test_its_own_tests_pass(aiop, package):
    found = aiop.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", package / "tests")
    assert re.search(r"\d{2} passed", found)


def test_it_runs_from_architectures_to_a_report(aiop):
    names = ["--task", "stripes", "--family", "plain", "--predictor", "log_macs"]
    aiop("run", *names, "--count", "6", "--task.epochs", "2", "--out", "out")
    report = (aiop.work / "out" / "report.html").read_text(encoding="utf-8")
    assert "stripes_accuracy" in report
    assert len(set(re.findall(r'data-value="(d\d-w\d+)"', report))) == 6
