"""The hooks of aiop-profiler-zerocost."""

from __future__ import annotations

from collections.abc import Sequence

from aiop_core.contracts import Profiler, Registration
from aiop_core.hookspecs import hookimpl
from aiop_profiler_zerocost.options import ZeroCostOptions


def _zerocost(options: ZeroCostOptions) -> Profiler:
    from aiop_profiler_zerocost.profiler import ZeroCost

    return ZeroCost(options)


@hookimpl
def aiop_register_profilers() -> Sequence[Registration[Profiler]]:
    """One profiler for all proxies: they share a network, a batch and its passes."""
    summary = "scores of an untrained network: synflow, nwot, jacov, grad_norm, snip, fisher"
    return [Registration("zerocost", summary, _zerocost, ZeroCostOptions)]
