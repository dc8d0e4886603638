"""The hooks: the whole extension surface on one screen.

A plugin is a module with any of these functions, marked ``@hookimpl``, and named in the
entry-point group ``aiop``. Hooks *return* registrations; they do no I/O and import
nothing heavy, torch included.
"""

# mypy: disable-error-code="empty-body"
# a hook specification has a signature and a docstring, and nothing to run
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from aiop_core.capabilities import Requirement
    from aiop_core.contracts import (
        Executor,
        Family,
        OperationRule,
        Predictor,
        Profiler,
        Registration,
        Task,
        Zoo,
    )

ENTRY_POINT_GROUP = "aiop"

hookspec = pluggy.HookspecMarker(ENTRY_POINT_GROUP)
hookimpl = pluggy.HookimplMarker(ENTRY_POINT_GROUP)


@hookspec
def aiop_register_families() -> Sequence[Registration[Family[Any]]]:
    """Search spaces that architectures are drawn from."""


@hookspec
def aiop_register_tasks() -> Sequence[Registration[Task]]:
    """Tasks that architectures are trained and measured on."""


@hookspec
def aiop_register_predictors() -> Sequence[Registration[Predictor]]:
    """Predictors of a task's metric from a graph."""


@hookspec
def aiop_register_profilers() -> Sequence[Registration[Profiler]]:
    """Counters and scores of a module, stored beside its labels."""


@hookspec
def aiop_register_executors() -> Sequence[Registration[Executor]]:
    """When and in which order architectures are trained."""


@hookspec
def aiop_register_zoos() -> Sequence[Registration[Zoo]]:
    """Named collections of models, written ``ZOO:NAME`` where a command takes a model."""


@hookspec
def aiop_register_operations() -> Sequence[Registration[OperationRule]]:
    """Rules for operations that the readers of models do not know, as ``DIALECT:OPERATION``."""


@hookspec
def aiop_register_requirements() -> Sequence[Registration[Requirement]]:
    """What plugins need and no distribution can declare, for ``aiop doctor``."""


@hookspec
def aiop_register_commands(cli: click.Group) -> None:
    """Add commands to ``aiop``."""
