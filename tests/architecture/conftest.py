"""The workspace as these tests see it: its distributions, sources and tracked files."""

import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Distribution:
    """One folder ``aiop-*`` with a ``pyproject.toml``."""

    folder: Path

    @property
    def name(self):
        return self.folder.name

    @property
    def package(self):
        return self.name.replace("-", "_")

    @property
    def project(self):
        return tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    @property
    def source(self):
        return self.folder / "src" / self.package

    @property
    def sources(self):
        return sorted(self.source.rglob("*.py"))

    def module(self, path):
        """The dotted name of one of its files."""
        parts = path.relative_to(self.folder / "src").with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


DISTRIBUTIONS = [Distribution(path.parent) for path in sorted(ROOT.glob("aiop-*/pyproject.toml"))]
CORE = next(d for d in DISTRIBUTIONS if d.name == "aiop-core")
LIBRARIES = [d for d in DISTRIBUTIONS if d is not CORE and "entry-points" not in d.project]
PLUGINS = [d for d in DISTRIBUTIONS if d is not CORE and d not in LIBRARIES]


def tracked_files():
    """Everything that belongs to the project: known to git, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return sorted(p for name in listed.stdout.decode().split("\0") if name and (p := ROOT / name).is_file())


def pytest_generate_tests(metafunc):
    """Arguments ``distribution`` and ``plugin`` stand for each of them in turn."""
    for argument, values in (("distribution", DISTRIBUTIONS), ("plugin", PLUGINS)):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, values, ids=lambda d: d.name)


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def core():
    return CORE


@pytest.fixture(scope="session")
def libraries():
    """Packages that plugins share."""
    return {d.package for d in LIBRARIES}


@pytest.fixture(scope="session")
def files():
    return tracked_files()
