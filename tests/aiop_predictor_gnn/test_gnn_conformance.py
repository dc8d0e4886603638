"""The conformance kit, with short fits: what it checks does not depend on how well they end."""

from __future__ import annotations

from dataclasses import replace

from aiop_core.testing import Check, conformance_tests
from aiop_predictor_gnn.options import GnnOptions
from aiop_predictor_gnn.plugin import aiop_register_predictors

(REGISTRATION,) = aiop_register_predictors()


def create(options: GnnOptions) -> object:
    return REGISTRATION.create(replace(options, min_steps=50, epochs=1))


@conformance_tests("predictor", replace(REGISTRATION, create=create))
def test_gnn_conforms(check: Check) -> None:
    check()
