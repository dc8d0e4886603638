"""The command line in this process over plugins of the test's choice, and real data where they are."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch starts its threads

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import aiop_core.plugins
from aiop_core import cli
from aiop_core.plugins import PluginSource
from aiop_core.testing import reference as reference_plugin


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


Aiop = Callable[..., Finished]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; what needs it is marked ``data``."""
    folder = Path(os.environ.get("AIOP_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; name the folder in AIOP_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def reference(shared_data: Path) -> Path:
    """The folder of what the research code gives; a sibling of the data."""
    folder = shared_data.parent / "reference"
    if not folder.is_dir():
        pytest.skip(f"no reference at {folder}")
    return folder


@pytest.fixture
def sources() -> list[PluginSource]:
    """The installed plugins; a test may change the list."""
    return [PluginSource("reference", "aiop-reference", "0.1", lambda: reference_plugin)]


@pytest.fixture
def aiop(sources: list[PluginSource], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Aiop:
    """``aiop("plugins", "--json")`` as on a command line where ``sources`` are installed."""
    monkeypatch.setattr(aiop_core.plugins, "installed_sources", lambda: sources)

    def call(*args: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["aiop", *map(str, args)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return call
