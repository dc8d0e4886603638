"""A small drawn data set, and copies of it that tests may spoil."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiop_coco.drawn import drawn_root, drawn_set
from aiop_coco.splits import CocoSplit, coco2017

SMALL: dict[str, int] = {"train": 5, "val": 3, "size": 64, "seed": 7}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[CocoSplit, CocoSplit]:
    return drawn_set(tmp_path_factory.mktemp("drawn"), **SMALL)


@pytest.fixture
def root(drawn: tuple[CocoSplit, CocoSplit], tmp_path: Path) -> Path:
    """A folder that holds ``coco/``, a copy of the drawn set."""
    shutil.copytree(drawn[0].images.parent, tmp_path / "copy" / "coco")
    return tmp_path / "copy"


@pytest.fixture
def train(root: Path) -> CocoSplit:
    return coco2017(root)[0]


Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def edit() -> Callable[[Path | None, Change], None]:
    """``edit(path, change)`` lets ``change`` work on what a json file holds."""

    def apply(path: Path | None, change: Change) -> None:
        assert path is not None
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply


@pytest.fixture(scope="session")
def small() -> dict[str, int]:
    """The parameters of ``drawn``."""
    return SMALL


@pytest.fixture(scope="session")
def place() -> Callable[[Path], Path]:
    """Where in a cache the small set goes."""
    return lambda folder: drawn_root(folder, **SMALL)
