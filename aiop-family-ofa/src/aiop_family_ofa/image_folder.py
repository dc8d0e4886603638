"""Classes of images in folders, as something that a supernet learns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aiop_core.contracts import Level
from aiop_core.errors import DataError
from aiop_family_ofa.calibration import IMAGENET_MEAN, IMAGENET_STD, SUFFIXES
from aiop_family_ofa.plans import CLASSES
from aiop_family_ofa.training_options import TrainingOptions

AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)
"""Of a random crop, relative to its image. Source: once-for-all's training, as torchvision's ``RandomResizedCrop``."""

_TRIES = 10
_AHEAD = 2
"""Batches that are read while one is learnt."""


class ImageFolder:
    """A :class:`~aiop_core.capabilities.Lesson` for classifiers: which sub-folder an image lies in.

    The published classifiers have 1,000 outputs. Fewer classes are the first of them, in the
    order of their names, and the others learn that they never occur.

    Raises:
        DataError: if there are no classes, or too many.
    """

    def __init__(self, folder: Path, options: TrainingOptions) -> None:
        self._options = options
        below = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        found = {path.name: [p for p in sorted(path.rglob("*")) if p.suffix.lower() in SUFFIXES] for path in below}
        self.classes = tuple(name for name, paths in found.items() if paths)
        if not 2 <= len(self.classes) <= CLASSES:
            has = f"has {len(self.classes)} sub-folders with images" if folder.is_dir() else "does not exist"
            raise DataError(
                f"image folder '{folder}' {has}; give one with a sub-folder for each of 2 to {CLASSES} classes, "
                f"with files ending in {', '.join(sorted(SUFFIXES))}"
            )
        self._paths = [path for name in self.classes for path in found[name]]
        self._labels = np.repeat(np.arange(len(self.classes)), [len(found[name]) for name in self.classes])

    def __str__(self) -> str:
        return f"{len(self._paths)} images of {len(self.classes)} classes"

    def head(self, levels: Sequence[Level]) -> nn.Module:
        """Nothing: the networks' own classifier is trained."""
        return nn.Identity()

    def batches(self, *, seed: int, device: str) -> Iterator[tuple[Float[Tensor, "b 3 h w"], Int[Tensor, " b"]]]:
        """Random crops, half of them mirrored, of all images in a random order, again and again."""
        mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        with ThreadPoolExecutor(self._options.workers) as pool:
            coming: list[tuple[list[Future[UInt8[np.ndarray, "h w 3"]]], np.ndarray]] = []
            for chosen, seeds in self._order(np.random.default_rng(seed)):
                coming.append(([pool.submit(self._cut, i, s) for i, s in zip(chosen, seeds, strict=True)], chosen))
                if len(coming) > _AHEAD:
                    futures, numbers = coming.pop(0)
                    pixels = torch.from_numpy(np.stack([future.result() for future in futures])).to(device)
                    images = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std  # channels last in memory
                    yield images, torch.from_numpy(self._labels[numbers]).to(device)

    def loss(self, outputs: Float[Tensor, "b 1000"], target: Int[Tensor, " b"]) -> Tensor:
        """Cross-entropy; only classes that there are share what label smoothing takes."""
        share = self._options.label_smoothing
        wanted = torch.zeros_like(outputs)
        wanted[:, : len(self.classes)] = share / len(self.classes)
        wanted[torch.arange(len(target)), target] += 1 - share
        return cross_entropy(outputs, wanted)

    def distance(self, outputs: Float[Tensor, "b 1000"], teacher: Float[Tensor, "b 1000"]) -> Tensor:
        """Cross-entropy with the teacher's chances: the Kullback-Leibler divergence but for a constant."""
        return cross_entropy(outputs, teacher.softmax(dim=1))

    def _order(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers of the images of each batch, and a seed for each."""
        batch = min(self._options.batch, len(self._paths))
        while True:
            order = rng.permutation(len(self._paths))
            for first in range(0, len(order) - batch + 1, batch):
                yield order[first : first + batch], rng.integers(2**63, size=batch)

    def _cut(self, number: int, seed: int) -> UInt8[np.ndarray, "h w 3"]:
        path, size, rng = self._paths[number], self._options.image_size, np.random.default_rng(seed)
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"image '{path}' cannot be read: {error}; repair or remove it") from error
        cut = image.resize((size, size), Image.Resampling.BILINEAR, box=_box(image.width, image.height, rng))
        return np.array(cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 1 / 2 else cut)


def _box(width: int, height: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A random part of an image: left, top, right, bottom; all of it if none fits."""
    for _ in range(_TRIES):
        area = rng.uniform(*AREA) * width * height
        aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if w <= width and h <= height:
            left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height
