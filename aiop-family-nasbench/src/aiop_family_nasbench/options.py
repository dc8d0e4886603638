"""Every knob of the families."""

from __future__ import annotations

from dataclasses import dataclass

from aiop_core.options import option


@dataclass(frozen=True)
class NB201Options:
    """What ``nb201`` can be told."""

    dataset: str = option(
        "cifar10",
        "whose classes and image size the network has",
        choices=("cifar10", "cifar100", "imagenet16_120"),
    )


@dataclass(frozen=True)
class TransNASOptions:
    """What the families of TransNAS-Bench-101 can be told."""

    task: str = option(
        "class_object",
        "whose head the network has",
        choices=(
            "class_scene",
            "class_object",
            "room_layout",
            "jigsaw",
            "segmentsemantic",
            "normal",
            "autoencoder",
        ),
    )
