"""The options of the predictor ``gnn``: fitting it, adapting it, and bringing it to a target."""

from __future__ import annotations

from dataclasses import dataclass

from aiop_core.options import option

SCALINGS = ("none", "standardise", "standardise_flops")
"""What may be learnt instead of labels; :data:`aiop_core.records.scaling.SCALINGS`, whose import would be slow."""

NORMALISE = ("fixed", "own_maxima")
"""How heights, widths and channels are divided."""


@dataclass(frozen=True)
class GnnOptions:
    """What is learnt, from which node features, and for how long."""

    scaling: str = option(
        "standardise",
        "what is learnt instead of the label (standardise_flops: the paper's equation 5)",
        choices=SCALINGS,
    )
    normalise: str = option(
        "fixed",
        "divide heights, widths and channels by 256, 256, 512 (fixed: size stays visible; the paper's for "
        "classification) or by the graph's own maxima (the paper's for body and head)",
        choices=NORMALISE,
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


@dataclass(frozen=True)
class AdaptOptions:
    """How an adapter learns a further data set while all that was there before stays."""

    normalise: str | None = option(None, "divide sizes otherwise than before; see the predictor's", choices=NORMALISE)
    lr: float = option(
        3e-3, "Adam's highest learning rate, reached after a warm-up, then falling as a cosine (paper: 1e-4)", minimum=0
    )
    weight_decay: float = option(0.0, "decoupled weight decay", minimum=0)
    batch_size: int = option(128, "graphs a step (paper: 32)", minimum=1)
    epochs: int = option(100, "passes over the labels, if they are more than min-steps", minimum=1, source="paper")
    min_steps: int = option(2000, "gradient steps at least, so that few labels are seen often enough", minimum=1)
    validation: float = option(
        0.1,
        "part of the labels kept to choose the best moment; none is kept where that is fewer than 25 labels "
        "(paper: 0.05, its code 0.25)",
        minimum=0,
        maximum=0.9,
    )
    patience: float = option(
        0.5, "stop after this part of the steps without a better validation loss", minimum=0, maximum=1
    )


@dataclass(frozen=True)
class TuneOptions:
    """How a predictor is brought to a target by few labels."""

    what: str = option(
        "scaling",
        "what the labels change: the scaling of predictions only (zero-shot), the last layers by AdaProxy's rescaling, "
        "the heads, heads and adapters, heads and backbone, or all",
        choices=("scaling", "rescale", "heads", "adapters", "backbone", "all"),
    )
    adapter: str = option("average", "whose predictions count: average, one adapter's name, or none of them")
    scaling: str | None = option(None, "label scaling of the target; as before by default", choices=SCALINGS)
    normalise: str | None = option(None, "divide sizes otherwise than before; see the predictor's", choices=NORMALISE)
    epochs: int = option(100, "passes over the labels", minimum=1, source="paper")
    lr: float = option(1e-4, "Adam's learning rate", minimum=0, source="paper")
    batch_size: int = option(1, "graphs a step", minimum=1, source="paper")
    penalty: float = option(0.0, "with rescale: weight of the sum of |b|", minimum=0, source="the code's -rescale")
    loss: str = option("l2", "with rescale: squared (l2) or absolute (l1) error", choices=("l2", "l1"))
