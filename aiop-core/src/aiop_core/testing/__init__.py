"""The conformance kit: what a family, task, predictor or zoo must do to work with everything else.

``aiop check NAME`` runs it from the command line. Under pytest, a plugin's whole test is::

    from aiop_core.testing import conformance_tests
    from my_plugin.plugin import aiop_register_families

    @conformance_tests("family", aiop_register_families()[0])
    def test_my_family(check):
        check()
"""

from aiop_core.testing.checks import (
    Check,
    CheckResult,
    check_family,
    check_predictor,
    check_task,
    check_zoo,
    conformance_tests,
    run_checks,
)

__all__ = [
    "Check",
    "CheckResult",
    "check_family",
    "check_predictor",
    "check_task",
    "check_zoo",
    "conformance_tests",
    "run_checks",
]
