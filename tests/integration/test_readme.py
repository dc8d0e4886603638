"""What the README shows works as it stands there."""

import re
from pathlib import Path

from aiop_core.plugins import PluginRegistry

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert "Cost(macs=" in capsys.readouterr().out


def test_ci_calls_the_test_command_to_the_letter():
    commands = re.findall(r"^    (\./dev .+?)(?:  +#.*)?$", README, re.MULTILINE)
    assert commands[0] == "./dev aiop run --task hpe2d --family ofa_pn"
    assert commands[1] == "./dev pytest"
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_every_folder_and_plugin_of_the_map_exists():
    for link in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / link).exists(), link
    registry = PluginRegistry()
    assert {"ofa_pn", "ofa_mbv3", "ofa_resnet"} <= set(registry.names("family"))
    assert "hpe2d" in registry.names("task")
    assert {"gnn", "flops_only", "params_only", "constant_mean", "gbt"} <= set(registry.names("predictor"))
