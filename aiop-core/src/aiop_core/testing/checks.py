"""Running checks: each one is a plain function that raises if its promise is broken.

The promises themselves are in :mod:`~aiop_core.testing.families`,
:mod:`~aiop_core.testing.tasks`, :mod:`~aiop_core.testing.predictors`,
:mod:`~aiop_core.testing.transfer`, :mod:`~aiop_core.testing.sharing` and
:mod:`~aiop_core.testing.zoos`; a check's name is its function's, with spaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from aiop_core.capabilities import Finding, SharingRegistration
from aiop_core.contracts import (
    AdaptableRegistration,
    Backbone,
    BaselineRegistration,
    Family,
    Predictor,
    Registration,
    Task,
    Zoo,
)
from aiop_core.errors import AiopError, ContractError
from aiop_core.options import build_options, option_fields, suggest
from aiop_core.testing.randomness import no_global_randomness

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class CheckResult:
    """How a check ended; ``message`` is one line and says why it did not pass."""

    name: str
    passed: bool
    message: str = ""


@dataclass(frozen=True)
class Check:
    """One promise of a contract, and the function that tries whether it is kept."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Raise if the promise is broken."""
        self.run()

    def result(self) -> CheckResult:
        """Run it, and tell how it ended instead of raising."""
        try:
            self.run()
        except Exception as error:  # noqa: BLE001 - a stranger's object may raise anything
            reason = str(error) if isinstance(error, AiopError) else f"{type(error).__name__}: {error}"
            return CheckResult(self.name, passed=False, message=" ".join(reason.split()))
        return CheckResult(self.name, passed=True)


def check_family(family: Family[Any]) -> list[CheckResult]:
    """Every check of a search space."""
    return [check.result() for check in _family(lambda: family)]


def check_task(task: Task, backbone: Callable[[], Backbone] | None = None) -> list[CheckResult]:
    """Every check of a task, on a new ``backbone`` each; by default the small reference one."""
    return [check.result() for check in _task(lambda: task, backbone)]


def check_predictor(make_predictor: Callable[[], Predictor]) -> list[CheckResult]:
    """Every check of a predictor; each call of ``make_predictor`` gives an unfitted one."""
    return [check.result() for check in _predictor(make_predictor)]


def check_zoo(zoo: Zoo) -> list[CheckResult]:
    """Every check of a collection of models."""
    return [check.result() for check in _zoo(lambda: zoo)]


def run_checks(
    kind: str,
    registration: Registration[Any],
    options: Any = None,
    *,
    uses: Mapping[str, Mapping[str, Any]] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> list[CheckResult]:
    """Every check of what a plugin registers.

    Args:
        kind: ``family``, ``task``, ``predictor``, ``zoo`` …; of some kinds only the registration is checked.
        registration: what the hook returned.
        options: an instance of the registration's options, a mapping of values, or
            nothing for the defaults.
        uses: values of the registration's further options, by use: ``adapt`` for ``adapt_options``
            and so on; defaults where absent.
        expected_failures: for names of checks, the reason why each cannot pass; one that
            passes all the same counts as failed.

    Raises:
        ContractError: if ``expected_failures`` names no check, or gives no reason.
    """
    checks = _all_checks(kind, registration, options, uses or {}, expected_failures or {})
    return [check.result() for check in checks]


def conformance_tests(
    kind: str,
    registration: Registration[Any],
    options: Any = None,
    *,
    uses: Mapping[str, Mapping[str, Any]] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> pytest.MarkDecorator:
    """Parametrise a pytest function over the checks of :func:`run_checks`, as ``check``."""
    import pytest

    checks = _all_checks(kind, registration, options, uses or {}, expected_failures or {})
    return pytest.mark.parametrize("check", [pytest.param(c, id=c.name.replace(" ", "-")) for c in checks])


def _all_checks(
    kind: str,
    registration: Registration[Any],
    options: Any,
    uses: Mapping[str, Mapping[str, Any]],
    expected_failures: Mapping[str, str],
) -> list[Check]:
    def create() -> Any:
        chosen = options
        if chosen is None or isinstance(chosen, Mapping):
            chosen = build_options(registration.options, chosen or {}, prefix=f"{kind}.")
        return registration.create(chosen)

    checks = [
        Check("options have defaults and help", partial(_options_have_defaults_and_help, registration)),
        Check("creating touches no global random state", partial(_creating_is_quiet, create)),
    ]
    if kind == "family":
        checks += _family(cache(create))
    elif kind == "task":
        task = cache(create)
        checks += _task(task, None)
        if isinstance(registration, SharingRegistration):
            checks += _sharing(task, _use_options(registration, uses))
    elif kind == "predictor":
        checks += _predictor(create)
        if isinstance(registration, BaselineRegistration):
            checks.append(Check("a baseline asks a question", partial(_asks_a_question, registration)))
        if isinstance(registration, AdaptableRegistration):
            checks += _adaptable(create, _use_options(registration, uses))
    elif kind == "zoo":
        checks += _zoo(cache(create))
    elif kind == "operation":
        checks.append(Check("a rule can be called", partial(_is_callable, create)))
    elif kind == "requirement":
        checks.append(Check("a requirement gives findings", partial(_gives_findings, create)))
    return _with_expectations(checks, expected_failures)


def _family(family: Callable[[], Family[Any]]) -> list[Check]:
    from aiop_core.testing.families import FAMILY_CHECKS

    return [Check(_name(f), partial(lambda f: f(family()), f)) for f in FAMILY_CHECKS]


def _task(task: Callable[[], Task], backbone: Callable[[], Backbone] | None) -> list[Check]:
    from aiop_core.testing.tasks import TASK_CHECKS

    def small() -> Backbone:
        from aiop_core.testing.reference_modules import reference_backbone

        return reference_backbone()

    return [Check(_name(f), partial(lambda f: f(task(), backbone or small), f)) for f in TASK_CHECKS]


def _predictor(make: Callable[[], Predictor]) -> list[Check]:
    from aiop_core.testing.predictors import PREDICTOR_CHECKS

    return [Check(_name(f), partial(f, make)) for f in PREDICTOR_CHECKS]


def _use_options(registration: Registration[Any], uses: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Options of all uses that the registration has: ``adapt_options``, ``head_options`` and so on."""
    return {
        name: build_options(
            getattr(registration, name), uses.get(use := name.removesuffix("_options"), {}), prefix=f"{use}."
        )
        for name in _use_types(registration)
    }


def _use_types(registration: Registration[Any]) -> list[str]:
    return [f.name for f in fields(registration) if f.name.endswith("_options")]


def _adaptable(make: Callable[[], Predictor], options: Mapping[str, Any]) -> list[Check]:
    from aiop_core.testing.transfer import ADAPTABLE_CHECKS, MakeAdaptable

    return [Check(_name(f), partial(f, MakeAdaptable(make, **options))) for f in ADAPTABLE_CHECKS]


def _sharing(task: Callable[[], Any], options: Mapping[str, Any]) -> list[Check]:
    from aiop_core.testing.sharing import SHARING_CHECKS, MakeHead

    return [Check(_name(f), partial(lambda f: f(MakeHead(task(), **options)), f)) for f in SHARING_CHECKS]


def _zoo(zoo: Callable[[], Zoo]) -> list[Check]:
    from aiop_core.testing.zoos import ZOO_CHECKS

    return [Check(_name(f), partial(lambda f: f(zoo()), f)) for f in ZOO_CHECKS]


def _name(function: Callable[..., None]) -> str:
    return function.__name__.replace("_", " ")


def _with_expectations(checks: Iterable[Check], expected_failures: Mapping[str, str]) -> list[Check]:
    by_name = {check.name: check for check in checks}
    for name, reason in expected_failures.items():
        if name not in by_name:
            raise ContractError(f"expected failure '{name}' is no check; {suggest(name, by_name)}")
        if not reason.strip():
            raise ContractError(f"expected failure '{name}' needs a reason")
        by_name[name] = Check(name, partial(_must_fail, by_name[name], reason))
    return list(by_name.values())


def _must_fail(check: Check, reason: str) -> None:
    if check.result().passed:
        raise ContractError(f"passes, though it is expected to fail ({reason}); take it off the expected failures")


def _options_have_defaults_and_help(registration: Registration[Any]) -> None:
    for options in (registration.options, *(getattr(registration, name) for name in _use_types(registration))):
        for field in option_fields(options):
            if not field.help:
                raise ContractError(f"option '{field.name}' has no help; declare it with aiop_core.options.option")
        build_options(options, {})


def _asks_a_question(registration: BaselineRegistration[Any]) -> None:
    if not registration.asks.strip().endswith("?"):
        raise ContractError(f"asks is {registration.asks!r}; write what a reader learns from it as a question")


def _is_callable(create: Callable[[], Any]) -> None:
    if not callable(rule := create()):
        raise ContractError(f"create gave a {type(rule).__name__}; a rule is a function of (recorder, call)")


def _gives_findings(create: Callable[[], Any]) -> None:
    found = create()()
    if not isinstance(found, Sequence) or not found or not all(isinstance(item, Finding) for item in found):
        raise ContractError(f"it gave {found!r}, expected a sequence of at least one aiop_core.capabilities.Finding")
    for item in found:
        if item.found is None and not item.advice:
            raise ContractError(f"'{item.name}' is missing without advice; say what to do")


def _creating_is_quiet(create: Callable[[], Any]) -> None:
    create()  # the first import of a heavy library may draw random numbers; that is not the plugin's doing
    with no_global_randomness("create"):
        create()
