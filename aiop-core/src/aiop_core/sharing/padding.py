"""Levels of varying widths, made equally wide."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from aiop_core.contracts import Level
from aiop_core.errors import ContractError, OptionError


class ChannelPadding(nn.Module):
    """Zero channels behind each level, up to given widths.

    Args:
        levels: what a backbone gives.
        widths: channels of each level afterwards; empty for no padding.

    Attributes:
        levels: as they are after padding.

    Raises:
        ContractError: if there are no levels.
        OptionError: if a level is wider than ``widths`` allows.
    """

    def __init__(self, levels: Sequence[Level], widths: Sequence[int]) -> None:
        super().__init__()
        if not levels:
            raise ContractError("the backbone declares no levels; a head needs at least one")
        if widths and (len(widths) != len(levels) or any(w < v.channels for w, v in zip(widths, levels, strict=True))):
            have = ", ".join(str(level.channels) for level in levels)
            raise OptionError(
                f"widths {', '.join(map(str, widths))} do not cover levels of {have} channels; "
                "give one width for each level, none smaller than the level"
            )
        self.levels = padded_levels(levels, widths)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """``features``, each with as many channels as its level."""
        return [
            nn.functional.pad(x, (0, 0, 0, 0, 0, level.channels - x.shape[1])) if x.shape[1] < level.channels else x
            for x, level in zip(features, self.levels, strict=True)
        ]


def padded_levels(levels: Sequence[Level], widths: Sequence[int]) -> tuple[Level, ...]:
    """``levels`` with ``widths`` for channels, if there are any."""
    channels = widths or [level.channels for level in levels]
    return tuple(Level(width, level.stride) for width, level in zip(channels, levels, strict=True))
