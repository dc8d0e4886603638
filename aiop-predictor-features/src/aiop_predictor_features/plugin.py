"""The hooks of aiop-predictor-features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiop_core.contracts import BaselineRegistration, NoOptions, Predictor, Registration
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
        BaselineRegistration(
            "constant_mean",
            "the mean of the training labels",
            _line("constant_mean"),
            asks="how much do the labels differ at all?",
        ),
        BaselineRegistration(
            "flops_only",
            "a line through log10 FLOPs",
            _line("flops_only"),
            asks="does the metric follow FLOPs alone?",
        ),
        BaselineRegistration(
            "params_only",
            "a line through log10 parameters",
            _line("params_only"),
            asks="does the metric follow the parameter count alone?",
        ),
        BaselineRegistration(
            "gbt",
            "gradient-boosted trees on graph features",
            _gbt,
            GbtOptions,
            asks="do numbers about the whole graph suffice, without reading its edges?",
        ),
    ]
