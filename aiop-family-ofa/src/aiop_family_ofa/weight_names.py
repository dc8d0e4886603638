"""How a supernet's weights are called: in this package, and in the once-for-all library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiop_family_ofa.plans import MBConvPlan
from aiop_family_ofa.space import Space

COUNTER = ".num_batches_tracked"


def canonical(name: str, names: Mapping[str, str]) -> str:
    """One name for all spellings of it.

    The library's supernets wrap what its sub-networks do not (``conv.conv.weight``,
    ``bn.bn.weight``, ``linear.linear.weight``), older files call a residual block's
    branch ``mobile_inverted_conv``, and parallel training puts ``module.`` in front.
    """
    name = re.sub(r"^(module\.)*(body\.)?", "", name)
    name = re.sub(r"\b(\w+)(\.\1)+\b", r"\1", name)
    name = re.sub(r"^(blocks\.\d+)\.(?:mobile_inverted_)?conv\.", r"\1.", name)
    for theirs, ours in names.items():
        if name.startswith(f"{theirs}."):
            return ours + name[len(theirs) :]
    return name


def published(name: str, space: Space[Any]) -> str:
    """What the library calls the weight ``name`` of a :class:`~aiop_family_ofa.networks.Network`.

    There, a layer that is elastic holds the plain one: ``conv.conv``, ``bn.bn``, ``linear.linear``.
    """
    name = name.removeprefix("body.")
    for theirs, ours in space.checkpoint_names.items():
        if name.startswith(f"{ours}."):
            name = theirs + name[len(ours) :]
            break
    block = re.match(r"blocks\.(\d+)\.", name)
    mobile = [plan for plan in space.plan(space.largest).blocks.values() if isinstance(plan, MBConvPlan)]
    elastic = not mobile or (block is not None and mobile[int(block[1])].expands)
    if elastic:
        name = re.sub(r"\b(bn|conv|linear)(\.[a-z]\w+)$", r"\1.\1\2", name)
    return re.sub(r"^(blocks\.\d+)\.", r"\1.conv.", name) if mobile else name
