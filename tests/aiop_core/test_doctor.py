"""``aiop doctor``, and the hook by which plugins tell it what they need."""

import json
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from aiop_core.capabilities import Finding
from aiop_core.contracts import Registration
from aiop_core.hookspecs import hookimpl
from aiop_core.plugins import PluginSource
from aiop_core.testing import run_checks

HERE = Finding("anvil", Path("/lib/anvil"), "2.1, for the torch at hand")
OPTIONAL = Finding("anvil's bellows", Path(), None, "faster with it: pip install bellows", required=False)
MISSING = Finding("hammer", Path(), None, "it is not installed: pip install hammer")


def needing(*findings):
    """A plugin whose requirement finds this."""

    def check():
        if not findings:
            raise ZeroDivisionError("a bug\nin two lines")
        return list(findings)

    return source_of(lambda: [Registration("forge", "An anvil and a hammer.", lambda _: check)])


def source_of(hook):
    plugin = ModuleType("forge")
    plugin.aiop_register_requirements = hookimpl(hook)
    return PluginSource("smith", "aiop-smith", "0.3", lambda: plugin)


def findings(done):
    return {found["name"]: found for found in json.loads(done.out)["findings"]}


def test_everything_is_there(aiop, sources):
    sources.append(needing(HERE, OPTIONAL))
    done = aiop("doctor")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("ok      Python: 3.")
    assert lines[1].startswith("ok      torch: ")
    assert "ok      aiop-smith: 0.3" in lines
    assert "ok      aiop-reference: 0.1" in lines
    assert [line.split(":")[0] for line in lines if "aiop-core" in line] == ["ok      aiop-core"]
    assert lines[-4:] == [
        "ok      anvil: 2.1, for the torch at hand (/lib/anvil)",
        "absent  anvil's bellows",
        "        faster with it: pip install bellows",
        "of what the installed plugins need, nothing is missing",
    ]


def test_something_is_missing(aiop, sources):
    sources.append(needing(MISSING, HERE))
    done = aiop("doctor")
    assert done.code == 1
    assert "MISSING hammer\n        it is not installed: pip install hammer\nok      anvil" in done.out
    assert done.out.endswith("of what the installed plugins need, missing or broken: hammer\n")


def test_as_json(aiop, sources):
    sources.append(needing(MISSING, OPTIONAL, HERE))
    done = aiop("doctor", "--json")
    assert done.code == 1
    assert json.loads(done.out)["complete"] is False
    assert findings(done)["hammer"] == {
        "name": "hammer",
        "path": ".",
        "found": None,
        "advice": "it is not installed: pip install hammer",
        "required": True,
    }
    assert findings(done)["Python"]["path"] == sys.executable


def test_a_check_that_fails(aiop, sources):
    sources.append(needing())
    done = aiop("doctor", "--json")
    assert done.code == 1
    assert findings(done)["forge"]["advice"] == (
        "its check by plugin 'smith' of aiop-smith 0.3 fails (ZeroDivisionError: a bug in two lines); "
        "report it to the plugin's authors"
    )


def test_a_broken_plugin(aiop, sources):
    sources.append(source_of(lambda: "forge"))
    done = aiop("doctor")
    assert done.code == 1
    assert (
        "MISSING plugin 'smith' of aiop-smith 0.3\n"
        "        it cannot be used: aiop_register_requirements must return a sequence of Registration, not str\n"
    ) in done.out


def test_without_torch(aiop, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = aiop("doctor", "--json")
    assert done.code == 0
    torch = findings(done)["torch"]
    assert (torch["found"], torch["required"]) == (None, False)
    assert torch["advice"] == "what trains or predicts needs it: pip install 'aiop-core[torch]'"


def test_a_torch_that_cannot_be_imported(aiop, monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.13:\\n cannot open shared object file')")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    done = aiop("doctor", "--json")
    assert done.code == 1
    assert findings(done)["torch"]["advice"] == (
        "it cannot be imported (libcudart.so.13: cannot open shared object file); pip install --force-reinstall torch"
    )


@pytest.mark.parametrize("usable", [True, False])
def test_cuda_devices(aiop, monkeypatch, usable):
    import torch

    def available():
        if not usable:
            warnings.warn("The NVIDIA driver on your\nsystem is too old", UserWarning, stacklevel=1)
        return usable

    monkeypatch.setattr(torch.cuda, "is_available", available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU{i}")
    torch_line = findings(aiop("doctor", "--json"))["torch"]
    if usable:
        assert (torch_line["found"], torch_line["advice"]) == (f"{torch.__version__}, GPU0, GPU1", "")
    else:
        assert torch_line["found"] == f"{torch.__version__}, no CUDA device: everything runs on the CPU"
        assert torch_line["advice"] == "The NVIDIA driver on your system is too old"


def test_help_names_it(aiop):
    assert "  doctor " in aiop("--help").out
    assert "--json" in aiop("doctor", "--help").out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([HERE, OPTIONAL], ""),
        ([], "it gave [], expected a sequence of at least one aiop_core.capabilities.Finding"),
        (["anvil"], "it gave ['anvil'], expected a sequence of at least one aiop_core.capabilities.Finding"),
        ([Finding("anvil", Path(), None)], "'anvil' is missing without advice; say what to do"),
    ],
)
def test_conformance(given, message):
    results = run_checks("requirement", Registration("forge", "A forge.", lambda _: lambda: given))
    [result] = [result for result in results if result.name == "a requirement gives findings"]
    assert (result.passed, result.message) == (not message, message)
