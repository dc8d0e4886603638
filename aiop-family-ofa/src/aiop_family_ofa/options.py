"""Every knob of the three families."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aiop_core.errors import OptionError
from aiop_core.options import option

SAMPLINGS = ("uniform", "depth")


@dataclass(frozen=True)
class SupernetOptions:
    """What all three families can be told."""

    sampling: str = option(
        "depth", "depth: equal shares of every total depth; uniform: every choice equally likely", choices=SAMPLINGS
    )
    weights: str = option(
        "none",
        "none (random), official (downloaded once), or a path: a supernet checkpoint, or what aiop supernet train made",
    )
    weights_sha256: str = option("", "expected SHA-256 of the checkpoint; by default the one recorded at the download")
    cache_dir: Path | None = option(
        None, "folder for downloads; by default $AIOP_CACHE, else ~/.cache/aiop", runtime=True
    )
    calibration_images: Path | None = option(
        None, "folder of images on which batch-norm statistics are recomputed for each sub-network"
    )
    calibration_count: int = option(256, "how many of those images, the first by name, are used", minimum=1)

    def __post_init__(self) -> None:
        if self.calibration_images is not None and self.weights == "none":
            raise OptionError(
                f"calibration_images is '{self.calibration_images}' but weights is 'none'; random weights need no "
                "calibration: leave it out, or set weights to 'official' or a path"
            )


@dataclass(frozen=True)
class ProxylessOptions(SupernetOptions):
    """Options of ``ofa_pn``."""

    width: float = option(1.3, "width multiplier", choices=(1.3,), source="the published supernet")


@dataclass(frozen=True)
class MobileNetV3Options(SupernetOptions):
    """Options of ``ofa_mbv3``."""

    width: float = option(1.2, "width multiplier", choices=(1.0, 1.2), source="AIO-P uses 1.2")


@dataclass(frozen=True)
class ResNetOptions(SupernetOptions):
    """Options of ``ofa_resnet``; widths are part of its specs."""
