"""The hooks of aiop-predictor-features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiop_core.contracts import NoOptions, Predictor, Registration
from aiop_core.hookspecs import hookimpl
from aiop_predictor_features.options import GbtOptions


def _line(name: str) -> Callable[[NoOptions], Predictor]:
    def create(_: NoOptions) -> Predictor:
        from aiop_predictor_features import lines

        predictor: Predictor = getattr(lines, name)()
        return predictor

    return create


def _gbt(options: GbtOptions) -> Predictor:
    from aiop_predictor_features.trees import GradientBoostedTrees

    return GradientBoostedTrees(options)


@hookimpl
def aiop_register_predictors() -> Sequence[Registration[Predictor]]:
    """Baselines, from the simplest to the strongest."""
    return [
        Registration("constant_mean", "the mean of the training labels", _line("constant_mean")),
        Registration("flops_only", "a line through log10 FLOPs", _line("flops_only")),
        Registration("params_only", "a line through log10 parameters", _line("params_only")),
        Registration("gbt", "gradient-boosted trees on graph features", _gbt, GbtOptions),
    ]
