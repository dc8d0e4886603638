"""Running checks: registrations, options, expected failures, and what a result says."""

import re
from dataclasses import dataclass

import pytest
import torch

from aiop_core.contracts import Registration
from aiop_core.errors import ContractError
from aiop_core.options import option
from aiop_core.testing import Check, check_predictor, reference, run_checks
from aiop_core.testing.reference import ReferencePredictor, ReferenceTask, TaskOptions
from aiop_core.testing.reference_modules import reference_backbone

FAMILY = reference.aiop_register_families()[0]
TASK = reference.aiop_register_tasks()[0]


def failed(results, name, message):
    result = next(result for result in results if result.name == name)
    assert not result.passed
    assert re.search(message, result.message), result.message


# --- Registrations --------------------------------------------------------------------


@dataclass(frozen=True)
class Undocumented:
    width: int = 3


@dataclass(frozen=True)
class WithoutDefault:
    width: int


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Undocumented, "option 'width' has no help"),
        (WithoutDefault, "option 'width' of WithoutDefault needs a default"),
    ],
)
def test_options_without_help_or_default_fail(options, message):
    results = run_checks("profiler", Registration("toy", "A toy.", lambda o: object(), options))
    failed(results, "options have defaults and help", message)


def test_creating_that_seeds_torch_fails():
    results = run_checks("profiler", Registration("toy", "A toy.", lambda o: torch.manual_seed(0)))
    failed(results, "creating touches no global random state", "create changed the global random state of torch")


def test_creating_that_raises_fails_and_so_does_everything_else():
    def create(options):
        raise OSError("no such\ndisk")

    results = run_checks("family", Registration("toy", "A toy.", create))
    assert [r.name for r in results if r.passed] == ["options have defaults and help"]
    failed(results, "specs round trip", "OSError: no such disk")


@dataclass(frozen=True)
class Seen:
    width: int = option(1, "width multiplier")


@pytest.mark.parametrize(("given", "width"), [(None, 1), ({"width": "7"}, 7), (Seen(5), 5)])
def test_options_may_be_defaults_values_or_an_instance(given, width):
    seen = []
    run_checks("profiler", Registration("toy", "A toy.", seen.append, Seen), given)
    assert {options.width for options in seen} == {width}


# --- Expected failures ----------------------------------------------------------------


class CopiesTheBackbone(ReferenceTask):
    def model(self, backbone):
        return super().model(reference_backbone())


COPIES = Registration("copies", "A toy.", lambda _: CopiesTheBackbone(TaskOptions(images=16, epochs=1)))


def test_an_expected_failure_with_a_reason_passes():
    name = "model holds the backbone"
    results = run_checks("task", COPIES, expected_failures={name: "the toy copies it on purpose"})
    assert all(result.passed for result in results)


def test_an_expected_failure_that_passes_fails():
    results = run_checks("task", TASK, {"images": 16}, expected_failures={"data are prepared": "no disk"})
    failed(results, "data are prepared", r"passes, though it is expected to fail \(no disk\)")


def test_an_expected_failure_needs_a_reason():
    with pytest.raises(ContractError, match="expected failure 'specs round trip' needs a reason"):
        run_checks("family", FAMILY, expected_failures={"specs round trip": " "})


def test_an_expected_failure_must_name_a_check():
    with pytest.raises(ContractError, match="'specs round trips' is no check; did you mean 'specs round trip'"):
        run_checks("family", FAMILY, expected_failures={"specs round trips": "?"})


def test_checks_show_what_they_raise():
    assert Check("x", lambda: None).result().passed
    with pytest.raises(ZeroDivisionError):
        Check("x", lambda: 1 / 0)()
    assert Check("x", lambda: 1 / 0).result().message == "ZeroDivisionError: division by zero"


def test_results_do_not_stop_at_the_first_failure():
    class Broken(ReferencePredictor):
        def save(self, folder):
            raise OSError("disk full")

    failures = [result for result in check_predictor(Broken) if not result.passed]
    assert [result.message for result in failures] == ["OSError: disk full"] * 2
