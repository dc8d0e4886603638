"""The conformance kit, and how the predictor is registered."""

from __future__ import annotations

from aiop_core.contracts import AdaptableRegistration
from aiop_core.plugins import PluginRegistry
from aiop_core.testing import Check, conformance_tests
from aiop_predictor_gp.plugin import aiop_register_predictors

(GP,) = aiop_register_predictors()


@conformance_tests("predictor", GP, {"target": "raw"})
def test_gp_conforms(check: Check) -> None:
    check()


def test_is_what_users_get_who_name_no_predictor() -> None:
    assert isinstance(GP, AdaptableRegistration)
    found = [plugin for plugin in PluginRegistry().plugins() if plugin.kind == "predictor" and plugin.registration]
    assert [plugin.name for plugin in found if plugin.registration and plugin.registration.preferred] == ["gp"]
