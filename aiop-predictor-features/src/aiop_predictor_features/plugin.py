"""The hooks of aiop-predictor-features."""

from __future__ import annotations

from collections.abc import Sequence

from aiop_core.contracts import NoOptions, Predictor, Registration
from aiop_core.hookspecs import hookimpl
from aiop_predictor_features.options import GbtOptions


def _constant_mean(_: NoOptions) -> Predictor:
    from aiop_predictor_features.lines import ConstantMean  # noqa: PLC0415 (numpy)

    return ConstantMean()


def _flops_only(_: NoOptions) -> Predictor:
    from aiop_predictor_features.lines import FlopsOnly  # noqa: PLC0415 (numpy)

    return FlopsOnly()


def _params_only(_: NoOptions) -> Predictor:
    from aiop_predictor_features.lines import ParamsOnly  # noqa: PLC0415 (numpy)

    return ParamsOnly()


def _gbt(options: GbtOptions) -> Predictor:
    from aiop_predictor_features.trees import GradientBoostedTrees  # noqa: PLC0415 (scikit-learn)

    return GradientBoostedTrees(options)


@hookimpl
def aiop_register_predictors() -> Sequence[Registration[Predictor]]:
    """Baselines, from the simplest to the strongest."""
    return [
        Registration("constant_mean", "the mean of the training labels", _constant_mean),
        Registration("flops_only", "a line through log10 FLOPs", _flops_only),
        Registration("params_only", "a line through log10 parameters", _params_only),
        Registration("gbt", "gradient-boosted trees on graph features", _gbt, GbtOptions),
    ]
