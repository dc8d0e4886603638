"""Hidden channels in the order of their importance, so that the first ones are the best to keep.

Before a block's width becomes elastic, its channels are sorted by the L1 norm of the weights
that read them. The network computes the same as before.

Source: Cai et al., "Once for All", section 3.3; the library's ``re_organize_middle_weights``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aiop_family_ofa import mobile, resnet
from aiop_family_ofa.plans import BottleneckPlan, divisible
from aiop_family_ofa.shrinking import Elastic
from aiop_family_ofa.space import Space
from aiop_family_ofa.weights import Supernet


class _Channels(NamedTuple):
    """Channels between some layers of the supernet.

    Attributes:
        makers: beginnings of the names of weights with such outputs.
        readers: names of weights with such inputs; the last one says what they are worth.
        widths: how many there are at each ratio, from the largest to the smallest.
    """

    makers: tuple[str, ...]
    readers: tuple[str, ...]
    widths: list[int]


@torch.no_grad()
def sort_channels(
    supernet: Supernet, space: Space[Any], elastic: Elastic, beside: Callable[[Tensor], Sequence[Tensor]]
) -> None:
    """Sort the hidden channels of all blocks; those of a width that is elastic already stay among themselves.

    Args:
        supernet: changed in place.
        space: its space.
        elastic: what was open so far.
        beside: further tensors of a weight's shape that must be sorted as it is, such as an optimiser's.
    """
    for channels in _all_channels(space):
        worth = supernet.tensors[channels.readers[-1]].abs().sum((0, 2, 3))
        bounds = [*channels.widths[: elastic.ratios], 0]
        pieces = [
            low + worth[low:high].argsort(descending=True, stable=True) for high, low in itertools.pairwise(bounds)
        ]
        order = torch.cat(pieces[::-1])
        for name, tensor in supernet.tensors.items():
            axis = 0 if name.startswith(channels.makers) else 1 if name in channels.readers else None
            if axis is not None and not name.endswith("_matrix"):
                for part in (tensor, *beside(tensor)):
                    part.copy_(part.index_select(axis, order))


def _all_channels(space: Space[Any]) -> Iterator[_Channels]:
    for slot, block in space.plan(space.largest).blocks.items():
        at = f"blocks.{slot}."
        if isinstance(block, BottleneckPlan):
            widths = [divisible(round(block.channels * ratio)) for ratio in reversed(resnet.RATIOS)]
            yield _Channels((f"{at}conv2.",), (f"{at}conv3.conv.weight",), widths)
            yield _Channels((f"{at}conv1.",), (f"{at}conv2.conv.weight",), widths)
        elif block.expands:
            widths = [divisible(block.in_channels * ratio) for ratio in reversed(mobile.RATIOS)]
            makers: tuple[str, ...] = (f"{at}inverted_bottleneck.", f"{at}depth_conv.conv.", f"{at}depth_conv.bn.")
            readers: tuple[str, ...] = (f"{at}point_linear.conv.weight",)
            if block.squeeze:
                gate = f"{at}depth_conv.se.fc."
                makers, readers = (*makers, f"{gate}expand."), (f"{gate}reduce.weight", *readers)
                squeezed = [divisible(width // mobile.SQUEEZE_REDUCTION) for width in widths]
                yield _Channels((f"{gate}reduce.",), (f"{gate}expand.weight",), squeezed)
            yield _Channels(makers, readers, widths)
