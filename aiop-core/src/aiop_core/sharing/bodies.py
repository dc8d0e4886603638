"""A family's bodies as sharing needs them: on the device, of equal widths, without training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aiop_core.capabilities import Bodies
from aiop_core.contracts import Backbone, Level
from aiop_core.errors import ContractError, OptionError
from aiop_core.sharing.norms import recalibrate
from aiop_core.sharing.padding import ChannelPadding, padded_levels

CALIBRATION = 32
"""Images that batch-norm statistics of a body are measured on."""

LOOKED_AT = 25
"""Bodies whose widths an error names."""


def shared_widths(given: Sequence[int], bodies: Bodies) -> tuple[int, ...]:
    """Channels that a shared head pads levels to: those given, else of the widest bodies where widths vary."""
    return tuple(given) or tuple(level.channels for level in bodies.widest or ())


def require_several(per_stratum: int, bodies: Bodies) -> int:
    """``per_stratum``, if so many bodies of each stratum have a deviation.

    Raises:
        OptionError: if that is one body altogether.
    """
    if per_stratum * bodies.strata < 2:
        raise OptionError(
            f"one body of {bodies.family} at a time has no deviation; give per_stratum of at least 2 as the family "
            "has a single stratum"
        )
    return per_stratum


class PaddedBody(nn.Module):
    """A backbone whose levels are zero-padded to given channels.

    Attributes:
        levels: as they are after padding.
    """

    def __init__(self, backbone: Backbone, widths: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(backbone, nn.Module):
            raise ContractError(f"body is a {type(backbone).__name__}; a family must give a torch.nn.Module")
        self.pad = ChannelPadding(backbone.levels, widths)
        self.levels = self.pad.levels
        self.backbone = backbone

    def forward(self, images: Tensor) -> list[Tensor]:
        """The padded levels, finest first."""
        features: list[Tensor] = self.pad(self.backbone(images))
        return features


class FrozenBodies:
    """Bodies that are ready to run, in evaluation mode, whose weights take no gradients.

    Their batch norms normalise as images of the task make them: a sub-network's statistics are not its supernet's, and
    random weights have none, so that what a body gives would shrink from layer to layer.

    Errors name a task's option ``head_widths``: one tuple of numbers, what its heads pad levels to.

    Args:
        bodies: of a family.
        widths: channels that every body's levels are zero-padded to; empty for none.
        device: a torch device.
        images: normalised ones of the task, on which batch-norm statistics are measured; ``None`` leaves them.

    Attributes:
        levels: of every body, after padding.

    Raises:
        OptionError: if there is not one width for each level.
    """

    def __init__(self, bodies: Bodies, widths: Sequence[int], device: str, images: Tensor | None = None) -> None:
        self._images = images
        self.family, self.strata = bodies.family, bodies.strata
        self.widest: tuple[Level, ...] | None = None  # padded, all are equally wide
        self._bodies, self._widths, self._device = bodies, tuple(widths), device
        self._first = bodies.body(0).levels
        if widths and len(widths) != len(self._first):
            raise OptionError(
                f"head_widths {', '.join(map(str, widths))} are {len(widths)} numbers, but bodies of {self.family} "
                f"have {len(self._first)} levels; give {self._needed()} or wider"
            )
        self.levels = padded_levels(self._first, widths)

    def spec(self, number: int) -> str:
        """The canonical text of body ``number``."""
        return self._bodies.spec(number)

    def body(self, number: int) -> PaddedBody:
        """Body ``number`` on the device.

        Raises:
            OptionError: if it is wider than the option ``head_widths`` says, or differs
                from the others while that is not given.
        """
        backbone = self._bodies.body(number)
        wider = any(v.channels > w.channels for v, w in zip(backbone.levels, self.levels, strict=False))
        if wider or (not self._widths and tuple(backbone.levels) != tuple(self._first)):
            have = ", ".join(str(level.channels) for level in backbone.levels)
            raise OptionError(
                f"body {self.spec(number)} of {self.family} has levels of {have} channels, which do not fit "
                f"head_widths {','.join(map(str, self._widths)) or '(none)'}; the first {LOOKED_AT} bodies need "
                f"{self._needed()}: give that or what the family's widest body has"
            )
        padded = PaddedBody(backbone, self._widths).to(self._device).eval().requires_grad_(requires_grad=False)
        padded = padded.to(memory_format=torch.channels_last)
        if self._images is not None and len(self._images) > 1:  # one image may be one number a channel
            recalibrate(padded, [self._images])
        return padded

    def _needed(self) -> str:
        """The widths that cover the first bodies, as an option is written."""
        found = [self._bodies.body(number).levels for number in range(LOOKED_AT)]
        return ",".join(str(max(level.channels for level in each)) for each in zip(*found, strict=False))
