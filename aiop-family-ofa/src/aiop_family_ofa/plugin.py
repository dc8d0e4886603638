"""What this distribution registers: ``ofa_pn``, ``ofa_mbv3`` and ``ofa_resnet``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiop_core.capabilities import SupernetRegistration
from aiop_core.hookspecs import hookimpl
from aiop_family_ofa.options import MobileNetV3Options, ProxylessOptions, ResNetOptions
from aiop_family_ofa.training_options import TrainingOptions

if TYPE_CHECKING:
    from aiop_core.contracts import Family, Registration


def _create(options: Any) -> Family[Any]:
    from aiop_family_ofa.family import create

    return create(options)


@hookimpl
def aiop_register_families() -> Sequence[Registration[Family[Any]]]:
    """The three published spaces."""
    spaces = [
        ("ofa_pn", "Once-for-all ProxylessNAS, width 1.3", ProxylessOptions),
        ("ofa_mbv3", "Once-for-all MobileNetV3, width 1.0 or 1.2", MobileNetV3Options),
        ("ofa_resnet", "Once-for-all ResNet-50D, elastic in depth, expansion and width", ResNetOptions),
    ]
    return [
        SupernetRegistration(name, summary, _create, options, supernet_options=TrainingOptions)
        for name, summary, options in spaces
    ]
