"""Every architecture that timm registers."""

from __future__ import annotations

from collections.abc import Sequence

import timm
from timm.models import get_pretrained_cfg
from torch import nn

USUAL_SHAPE = (3, 224, 224)
"""Of architectures for which timm keeps no configuration."""


class TimmZoo:
    """The architectures of timm, randomly initialised, each with its default number of classes."""

    def names(self) -> Sequence[str]:
        """As ``timm.list_models``: architectures without the tags of their weights."""
        names: list[str] = timm.list_models()
        return names

    def module(self, name: str) -> nn.Module:
        """``timm.create_model`` without weights."""
        module: nn.Module = timm.create_model(name, pretrained=False)
        return module

    def input_shape(self, name: str) -> tuple[int, ...]:
        """The size at which its default weights were trained."""
        config = get_pretrained_cfg(name)
        return tuple(config.input_size) if config else USUAL_SHAPE
