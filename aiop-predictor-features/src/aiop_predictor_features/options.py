"""The options of the predictor ``gbt``; the other baselines have none."""

from __future__ import annotations

from dataclasses import dataclass

from aiop_core.options import option


@dataclass(frozen=True)
class GbtOptions:
    """How many trees, and how large."""

    trees: int = option(1000, "boosting rounds", minimum=1)
    lr: float = option(0.03, "how much of each tree is added", minimum=0)
    depth: int = option(3, "splits from a tree's root to a leaf", minimum=1)
    rows: float = option(0.7, "part of the labels that each tree sees", minimum=0.1, maximum=1)
    features: float = option(0.1, "part of the features that each split chooses from", minimum=0.01, maximum=1)
