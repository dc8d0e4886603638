"""Data to learn from, and a predictor that has."""

from __future__ import annotations

import numpy as np
import pytest
from tests.aiop_predictor_gp.cells import fit, labelled

from aiop_core.contracts import Labelled
from aiop_predictor_gp.predictor import GpPredictor


@pytest.fixture(scope="session")
def data() -> Labelled:
    """A hundred networks with a little noise in their labels."""
    return labelled(100, seed=0, noise=0.005)


@pytest.fixture(scope="session")
def train(data: Labelled) -> Labelled:
    return data.take(np.arange(50))


@pytest.fixture(scope="session")
def test(data: Labelled) -> Labelled:
    return data.take(np.arange(50, 100))


@pytest.fixture(scope="session")
def fitted(train: Labelled) -> GpPredictor:
    """To be asked only; what learns on is fitted anew."""
    return fit(train)
