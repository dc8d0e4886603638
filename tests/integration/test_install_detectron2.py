"""What ./dev runs so that tests have a real detectron2: once, and in one line if it cannot."""

import importlib.util
import os
from importlib import metadata
from types import SimpleNamespace

import pytest


@pytest.fixture
def script(root):
    spec = importlib.util.spec_from_file_location("install_detectron2", root / ".ci" / "install_detectron2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(request):
    return request.config.rootpath


def test_it_is_not_installed_twice(script, monkeypatch, capsys):
    monkeypatch.setattr(metadata, "distributions", lambda: [SimpleNamespace(name="detectron2")])
    monkeypatch.setattr(script, "run", lambda *arguments: pytest.fail(f"ran {arguments}"))
    script.main()
    assert capsys.readouterr().err == ""


def test_offline(script, monkeypatch):
    monkeypatch.setattr(metadata, "distributions", list)
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    line = r"^dev: cannot load pb1-detectron2==0.6 \(ERROR: .*\); mend that, then run ./dev again$"
    with pytest.raises(SystemExit, match=line):
        script.main()


def test_the_last_line_is_the_reason(script, monkeypatch, tmp_path):
    (tmp_path / "fails.py").write_text("raise SystemExit('first\\nlast')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"\(last\)"):
        script.run("cannot load", "fails")
    (tmp_path / "silent.py").write_text("raise SystemExit(3)")
    with pytest.raises(SystemExit, match=r"\(exit status 3\)"):
        script.run("cannot load", "silent")
