"""The hooks of aiop-predictor-gnn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiop_core.contracts import Predictor, Registration
from aiop_core.hookspecs import hookimpl
from aiop_predictor_gnn.options import GnnOptions

if TYPE_CHECKING:
    from aiop_predictor_gnn.predictor import GnnPredictor


def _create(options: GnnOptions) -> GnnPredictor:
    from aiop_predictor_gnn.predictor import GnnPredictor

    return GnnPredictor(options)


@hookimpl
def aiop_register_predictors() -> Sequence[Registration[Predictor]]:
    """The paper's graph neural network."""
    return [Registration("gnn", "the paper's graph neural network on computation graphs", _create, GnnOptions)]
