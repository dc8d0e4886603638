"""Every knob of supernet training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from aiop_core.options import option

SGD_LR, ADAM_LR = 0.03, 0.005
"""Source: the first, once-for-all's ``train_ofa_net.py`` for batches of 64; the second was tried on drawn poses."""

_LIBRARY = "once-for-all"


@dataclass(frozen=True)
class TrainingOptions:
    """Options of ``aiop supernet train``, the same for all three families."""

    images: Path | None = option(
        None, "folder with a sub-folder of images for each class, to learn from instead of a task", runtime=True
    )
    image_size: int = option(128, "images: height and width, pixels", minimum=32)
    batch: int = option(64, "images: how many a step", minimum=2, source=_LIBRARY)
    label_smoothing: float = option(0.1, "images: chance given to all classes", minimum=0, maximum=1, source=_LIBRARY)
    steps: int = option(2000, "steps of training", minimum=1)
    networks: int = option(
        2, "random sub-networks a step, beside the largest and the smallest", minimum=0, source="the sandwich rule"
    )
    distillation: float = option(
        0.5, "share of a sub-network's loss that is its distance from the largest one", minimum=0, maximum=1
    )
    shrinking: str = option(
        "none", "progressive: kernels, depths and widths become elastic in turn", choices=("none", "progressive")
    )
    optimiser: str | None = option(
        None,
        "optimiser; sgd, with Nesterov's momentum, for images, adam for a task, whose loss may be of any scale",
        choices=("sgd", "adam"),
    )
    lr: float | None = option(
        None, f"highest learning rate, which falls as a cosine; {SGD_LR} for sgd, {ADAM_LR} for adam", minimum=1e-9
    )
    momentum: float = option(0.9, "sgd: momentum", minimum=0, maximum=0.999, source=_LIBRARY)
    weight_decay: float = option(3e-5, "of all weights but biases and batch norms", minimum=0, source=_LIBRARY)
    warmup: float = option(0.04, "share of all steps over which the learning rate rises", minimum=0, maximum=0.9)
    save_every: float = option(60.0, "seconds between two checkpoints of the training", minimum=0, runtime=True)
    workers: int = option(2, "images: threads that read them", minimum=1, runtime=True)


def resolve(options: TrainingOptions, *, task: bool) -> TrainingOptions:
    """The options with every default filled in that depends on what is learnt."""
    optimiser = options.optimiser or ("adam" if task else "sgd")
    return replace(options, optimiser=optimiser, lr=options.lr or (ADAM_LR if optimiser == "adam" else SGD_LR))
