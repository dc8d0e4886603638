"""The hooks of aiop-predictor-gnn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiop_core.contracts import AdaptableRegistration, Predictor, Registration
from aiop_core.hookspecs import hookimpl
from aiop_predictor_gnn.options import AdaptOptions, GnnOptions, TuneOptions

if TYPE_CHECKING:
    import click

    from aiop_predictor_gnn.predictor import GnnPredictor


def _create(options: GnnOptions) -> GnnPredictor:
    from aiop_predictor_gnn.predictor import GnnPredictor

    return GnnPredictor(options)


@hookimpl
def aiop_register_predictors() -> Sequence[Registration[Predictor]]:
    """The paper's graph neural network."""
    summary = "the paper's graph neural network on computation graphs"
    return [AdaptableRegistration("gnn", summary, _create, GnnOptions, AdaptOptions, TuneOptions)]


@hookimpl
def aiop_register_commands(cli: click.Group) -> None:
    """``aiop gnn``: checkpoints and tables of the paper."""
    from aiop_core.cli.lazy import LazyGroup

    modules = {
        "import": "aiop_predictor_gnn.import_command",
        "paper-tables": "aiop_predictor_gnn.tables_command",
    }
    cli.add_command(LazyGroup("gnn", modules=modules, help="Checkpoints and tables of the AIO-P paper."))
