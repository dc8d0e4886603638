"""The options of the predictor ``gnn``."""

from __future__ import annotations

from dataclasses import dataclass

from aiop_core.options import option


@dataclass(frozen=True)
class GnnOptions:
    """What is learnt, from which node features, and for how long."""

    scaling: str = option(
        "standardise",
        "what is learnt instead of the label (standardise_flops: the paper's equation 5)",
        choices=("none", "standardise", "standardise_flops"),
    )
    normalise: str = option(
        "fixed",
        "divide heights, widths and channels by 256, 256, 512 (fixed: size stays visible; the paper's for "
        "classification) or by the graph's own maxima (the paper's for body and head)",
        choices=("fixed", "own_maxima"),
    )
    vocabulary: str = option(
        "aiop", "operations with an embedding of their own: all, or the paper's 32", choices=("aiop", "paper")
    )
    lr: float = option(
        3e-3, "Adam's highest learning rate, reached after a warm-up, then falling as a cosine (paper: 1e-4)", minimum=0
    )
    weight_decay: float = option(0.0, "decoupled weight decay", minimum=0)
    batch_size: int = option(128, "graphs a step (paper: 32)", minimum=1)
    epochs: int = option(40, "passes over the training set, if they are more than min-steps", minimum=1, source="paper")
    min_steps: int = option(2000, "gradient steps at least, so that few labels are seen often enough", minimum=1)
    validation: float = option(
        0.1,
        "part of the training labels kept to choose the best moment; none is kept where that is fewer than 25 labels",
        minimum=0,
        maximum=0.9,
    )
    patience: float = option(
        0.5, "stop after this part of the steps without a better validation loss", minimum=0, maximum=1
    )
