"""The hooks of aiop-predictor-gp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiop_core.contracts import AdaptableRegistration, Predictor, Registration
from aiop_core.hookspecs import hookimpl
from aiop_predictor_gp.options import GpOptions, GpTuneOptions

if TYPE_CHECKING:
    from aiop_predictor_gp.predictor import GpPredictor


def _create(options: GpOptions) -> GpPredictor:
    from aiop_predictor_gp.predictor import GpPredictor

    return GpPredictor(options)


@hookimpl
def aiop_register_predictors() -> Sequence[Registration[Predictor]]:
    """The predictor that needs the fewest labels."""
    return [
        AdaptableRegistration(
            "gp",
            "Gaussian processes on paths, sizes and neighbourhoods of graphs: best with up to thousands of labels",
            _create,
            GpOptions,
            tune_options=GpTuneOptions,
            preferred=True,
        )
    ]
