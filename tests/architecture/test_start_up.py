"""Nothing heavy is imported before it is needed, so that the command line answers at once."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ["torch", "detectron2", "timm", "torch_geometric", "torchvision", "sklearn", "scipy", "pandas", "pyarrow"]

AIOP = Path(sys.executable).with_name("aiop")

LIMIT_S = 0.4
"""What is promised, of the processor's time: a busy machine's clock would measure the others. About 0.15 s."""


def heavy_after(code):
    """Which heavy libraries a fresh interpreter has loaded after ``code``."""
    script = (
        f"import sys\n{code}\nimport json\nprint(json.dumps([m for m in {HEAVY} if m in sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(done.stderr.splitlines()[-1])


def command(*arguments):
    return f"""
from aiop_core.cli import main
sys.argv = ["aiop", *{arguments}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def test_core_imports_nothing_heavy():
    assert heavy_after("import aiop_core, aiop_core.contracts, aiop_core.plugins, aiop_core.metrics") == []


def test_each_plugin_registers_without_importing_anything_heavy(plugin):
    hooks = "[getattr(p, n)() for n in dir(p) if n.startswith('aiop_register_') and n != 'aiop_register_commands']"
    assert heavy_after(f"import {plugin.package}.plugin as p\nassert {hooks}") == []


def test_the_reference_plugin_imports_nothing_heavy():
    assert heavy_after("import aiop_core.testing, aiop_core.testing.reference") == []


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("plugins",), ("plugins", "--json"), ("run", "--help"), ("graph", "--help"), ("doctor", "--help")],
)
def test_commands_that_compute_nothing_import_nothing_heavy(arguments):
    assert heavy_after(command(*arguments)) == []


@pytest.mark.parametrize("argument", ["--help", "plugins"])
def test_the_command_line_answers_at_once(argument):
    times = []
    for _ in range(7):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([AIOP, argument], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(times) < LIMIT_S


def test_heavy_imports_are_seen():
    assert heavy_after("import scipy") == ["scipy"]
