"""The hooks of aiop-profiler-counters."""

from __future__ import annotations

from collections.abc import Sequence

from aiop_core.contracts import NoOptions, Profiler, Registration
from aiop_core.hookspecs import hookimpl


def _thop(_: NoOptions) -> Profiler:
    from aiop_profiler_counters.thop_counter import ThopCounter

    return ThopCounter()


def _fvcore(_: NoOptions) -> Profiler:
    from aiop_profiler_counters.fvcore_counter import FvcoreCounter

    return FvcoreCounter()


@hookimpl
def aiop_register_profilers() -> Sequence[Registration[Profiler]]:
    """Counters that published numbers were made with, their errors included."""
    return [
        Registration("thop", "MACs and parameters as thop 0.1.1 counts them, errors included", _thop),
        Registration("fvcore", "MACs and parameters as fvcore counts them, errors included", _fvcore),
    ]
