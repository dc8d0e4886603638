"""The hooks of aiop-zoo-torch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from aiop_core.contracts import NoOptions, Registration, Zoo
from aiop_core.errors import PluginError
from aiop_core.hookspecs import hookimpl


def _needs(library: str) -> None:
    if find_spec(library) is None:
        raise PluginError(f"the zoo '{library}' needs {library}: pip install 'aiop-zoo-torch[{library}]'")


def _timm(_: NoOptions) -> Zoo:
    _needs("timm")
    from aiop_zoo_torch.timm_zoo import TimmZoo

    return TimmZoo()


def _torchvision(_: NoOptions) -> Zoo:
    _needs("torchvision")
    from aiop_zoo_torch.torchvision_zoo import TorchvisionZoo

    return TorchvisionZoo()


@hookimpl
def aiop_register_zoos() -> Sequence[Registration[Zoo]]:
    """One zoo for each library; which are there is found out when one is used."""
    return [
        Registration("timm", "image classifiers of timm, e.g. timm:resnet50", _timm),
        Registration(
            "torchvision",
            "classifiers, segmentation and detection networks of torchvision, e.g. torchvision:fcn_resnet50",
            _torchvision,
        ),
    ]
