"""What this distribution registers: ``nb101``, ``nb201``, ``tnb101_micro`` and ``tnb101_macro``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiop_core.contracts import NoOptions, Registration
from aiop_core.hookspecs import hookimpl
from aiop_family_nasbench.options import NB201Options, TransNASOptions

if TYPE_CHECKING:
    import click

    from aiop_core.contracts import Family


def _nb101(_: NoOptions) -> Family[Any]:
    from aiop_family_nasbench.family import NASBenchFamily
    from aiop_family_nasbench.nb101 import NB101Space

    return NASBenchFamily(NB101Space())


def _nb201(options: NB201Options) -> Family[Any]:
    from aiop_family_nasbench.family import NASBenchFamily
    from aiop_family_nasbench.nb201 import NB201Space

    return NASBenchFamily(NB201Space(options.dataset))


def _tnb101_micro(options: TransNASOptions) -> Family[Any]:
    from aiop_family_nasbench.family import NASBenchFamily
    from aiop_family_nasbench.tnb101 import MicroSpace

    return NASBenchFamily(MicroSpace(options.task))


def _tnb101_macro(options: TransNASOptions) -> Family[Any]:
    from aiop_family_nasbench.family import NASBenchFamily
    from aiop_family_nasbench.tnb101 import MacroSpace

    return NASBenchFamily(MacroSpace(options.task))


@hookimpl
def aiop_register_families() -> Sequence[Registration[Family[Any]]]:
    """The published spaces."""
    return [
        Registration("nb101", "NAS-Bench-101, CIFAR-10 cells of up to 7 vertices", _nb101),
        Registration("nb201", "NAS-Bench-201 (the topology space of NATS-Bench)", _nb201, NB201Options),
        Registration("tnb101_micro", "TransNAS-Bench-101, cells, with a task's head", _tnb101_micro, TransNASOptions),
        Registration(
            "tnb101_macro", "TransNAS-Bench-101, skeletons, with a task's head", _tnb101_macro, TransNASOptions
        ),
    ]


@hookimpl
def aiop_register_commands(cli: click.Group) -> None:
    """``aiop nasbench import``."""
    from aiop_family_nasbench.commands import nasbench

    cli.add_command(nasbench)
