"""Toy predictors and the caches that they learn."""

from pathlib import Path

import pytest
from tests.aiop_core.transfer_plugins import Seeded, chains, source
from tests.conftest import Aiop

from aiop_core.pipeline import fit
from aiop_core.plugins import PluginSource


@pytest.fixture
def toys(sources: list[PluginSource], monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy predictors, which count their fits."""
    sources.append(source)
    monkeypatch.setattr(fit, "RESAMPLES", 20)  # intervals take longest
    monkeypatch.setattr(Seeded, "fits", 0)
    monkeypatch.setattr(Seeded, "fails_at", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three caches: two to learn from, of other metrics and sizes, and a target."""
    chains(30, "near", noise=0.01).save(tmp_path / "near.safetensors")
    chains(20, "far", noise=1, scale=100, start=30).save(tmp_path / "far.safetensors")
    chains(24, "target", noise=0.01, start=50).save(tmp_path / "target.safetensors")
    chains(24, "error", start=50, higher_is_better=False).save(tmp_path / "error.safetensors")
    return tmp_path


@pytest.fixture
def saved(aiop: Aiop, toys: None, folder: Path) -> Path:
    """A toy that learnt the first cache."""
    done = aiop(
        "train", "--cache", folder / "near.safetensors", "--predictor", "seeded", "--train", 20, "--out", folder / "p"
    )
    assert done.code == 0, done.err
    return folder / "p" / "predictor"
