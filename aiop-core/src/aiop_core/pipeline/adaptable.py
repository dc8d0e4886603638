"""Which predictors are adaptable, and saved ones of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard, cast

from aiop_core.contracts import Adaptable, AdaptableRegistration, Aligning, Metric, Predictor
from aiop_core.errors import LabelError, OptionError
from aiop_core.pipeline.saved import PredictorCard, load_predictor, read_card
from aiop_core.plugins import PluginRegistry


def require_adaptable(registry: PluginRegistry, name: str, what: str) -> AdaptableRegistration[Any]:
    """The registration of an adaptable predictor.

    Args:
        registry: of what is installed.
        name: the predictor's.
        what: what it has to be able to do, for the message.

    Raises:
        OptionError: if it is none, naming those that are.
    """
    registration = registry.get("predictor", name).registration
    if not isinstance(registration, AdaptableRegistration):
        others = [
            plugin.name
            for plugin in registry.plugins()
            if plugin.kind == "predictor" and isinstance(plugin.registration, AdaptableRegistration)
        ]
        raise OptionError(f"predictor '{name}' cannot {what}; those that can are: {', '.join(others) or 'none'}")
    return registration


def is_aligning(predictor: Predictor) -> TypeGuard[Aligning]:
    """Whether a predictor also learns from a target's graphs."""
    return callable(getattr(predictor, "align", None))


def require_direction(card: PredictorCard, metric: Metric, name: str) -> None:
    """Make sure that what a predictor learns further is better in the direction that it knows.

    Args:
        card: the predictor's.
        metric: of the further labels.
        name: of their source, for the message.

    Raises:
        LabelError: if higher is better in one and lower in the other.
    """
    if metric.higher_is_better != card.metric.higher_is_better:
        raise LabelError(
            f"'{metric.name}' of {name} and '{card.metric.name}', which the predictor learnt first, "
            "differ in whether higher is better; turn the labels around"
        )


def load_adaptable(folder: Path, registry: PluginRegistry) -> tuple[Adaptable, PredictorCard]:
    """A saved predictor that can be adapted and tuned.

    Raises:
        WeightsError: if the folder holds no predictor, or a damaged one.
        OptionError: if it is not adaptable.
    """
    require_adaptable(registry, read_card(folder).predictor, "be brought to other labels")
    predictor, card = load_predictor(folder, registry)
    return cast(Adaptable, predictor), card
