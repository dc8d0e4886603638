"""The conformance kit, with short fits: what it checks does not depend on how well they end."""

from __future__ import annotations

from aiop_core.testing import Check, conformance_tests
from aiop_predictor_gnn.plugin import aiop_register_predictors


@conformance_tests(
    "predictor",
    aiop_register_predictors()[0],
    {"min_steps": 50, "epochs": 1},
    uses={"adapt": {"min_steps": 20, "epochs": 1}, "tune": {"what": "all", "epochs": 1}},
)
def test_gnn_conforms(check: Check) -> None:
    check()
