"""Where the files of a data set in COCO's format lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aiop_core.errors import DataError

PUBLISHED = "https://cocodataset.org/#download"
"""Where COCO 2017 is published."""

PARTS = {
    "images": "images",
    "instances": "instances json",
    "panoptic": "panoptic json",
    "panoptic_masks": "panoptic PNG files",
    "stuff_masks": "separated stuff masks, made from the panoptic files",
}
"""What a split consists of: the attributes of :class:`CocoSplit`, in words."""


@dataclass(frozen=True)
class CocoSplit:
    """The files of one split; ``None`` for those that a data set does not have.

    Attributes:
        name: such as ``train2017``.
        images: the folder of images.
        instances: the json file of boxes and masks of things.
        panoptic: the json file of panoptic segments.
        panoptic_masks: the folder of panoptic PNG files; a pixel's segment is R + 256 G + 256² B.
        stuff_masks: the folder of 8-bit PNG files with the images' stems: 0 is any thing, 1, 2, …
            are the stuff classes in the order of the categories, 255 is not annotated. These are
            detectron2's ``panoptic_stuff_*``.
    """

    name: str
    images: Path
    instances: Path | None = None
    panoptic: Path | None = None
    panoptic_masks: Path | None = None
    stuff_masks: Path | None = None

    def part(self, name: str) -> Path:
        """The path of one of its parts, which is there.

        Raises:
            DataError: if the data set has no such part, or it is missing.
        """
        path: Path | None = getattr(self, name)
        if path is None:
            raise DataError(f"{self.name} has no {PARTS[name]}; choose metrics that do without, or another data set")
        if not path.exists():
            without = "" if name in ("images", "instances") else ", and parts of things alone do without (--parts)"
            raise DataError(
                f"{self.name}: {path} is missing ({PARTS[name]}); COCO's are published at {PUBLISHED}{without}"
            )
        return path


def coco2017(root: Path) -> tuple[CocoSplit, CocoSplit]:
    """The training and the validation split in detectron2's layout, whether the files are there or not.

    Args:
        root: the folder that holds ``coco/``, such as ``DETECTRON2_DATASETS``, or ``coco/`` itself.
            Images may lie in ``images/`` below it.
    """
    nested = (root / "coco").is_dir() or not (root / "annotations").is_dir()
    folder = root / "coco" if nested else root
    train, val = (_split(folder, name) for name in ("train2017", "val2017"))
    return train, val


def _split(folder: Path, name: str) -> CocoSplit:
    images, below = folder / name, folder / "images" / name
    return CocoSplit(
        name,
        below if below.is_dir() and not images.is_dir() else images,
        folder / "annotations" / f"instances_{name}.json",
        folder / "annotations" / f"panoptic_{name}.json",
        folder / f"panoptic_{name}",
        folder / f"panoptic_stuff_{name}",
    )
