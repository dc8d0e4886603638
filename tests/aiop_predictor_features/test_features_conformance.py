"""The conformance kit on every baseline."""

from __future__ import annotations

from aiop_core.testing import Check, conformance_tests
from aiop_predictor_features.plugin import aiop_register_predictors

CONSTANT, FLOPS, PARAMS, TREES = aiop_register_predictors()


@conformance_tests("predictor", CONSTANT)
def test_constant_mean_conforms(check: Check) -> None:
    check()


@conformance_tests("predictor", FLOPS)
def test_flops_only_conforms(check: Check) -> None:
    check()


@conformance_tests("predictor", PARAMS)
def test_params_only_conforms(check: Check) -> None:
    check()


@conformance_tests("predictor", TREES)
def test_gbt_conforms(check: Check) -> None:
    check()
