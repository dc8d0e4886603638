"""Images on which batch-norm statistics of a sub-network are recomputed.

A sub-network shares its weights with all others, but activations are distributed
differently in each, so that the supernet's running statistics do not fit it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from aiop_core.errors import DataError

BATCH = 32
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CROP = 0.875
"""The side of the centre crop over the shorter side of the resized image. Source of all: once-for-all's evaluation."""

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}


def image_files(folder: Path, count: int) -> list[Path]:
    """The first ``count`` images below ``folder`` by path.

    Raises:
        DataError: if the folder is missing or has no images.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)[:count] if folder.is_dir() else []
    if not paths:
        raise DataError(
            f"calibration folder '{folder}' {'has no images' if folder.is_dir() else 'does not exist'}; "
            f"give a folder with files ending in {', '.join(sorted(SUFFIXES))}"
        )
    return paths


def batches(folder: Path, count: int, hw: tuple[int, int]) -> Iterator[Float[Tensor, "batch 3 h w"]]:
    """The images of :func:`image_files`, resized, cropped and normalised as for ImageNet.

    Raises:
        DataError: if the folder is missing or has no images, or one cannot be read.
    """
    paths = image_files(folder, count)
    return (torch.stack([_image(p, hw) for p in paths[i : i + BATCH]]) for i in range(0, len(paths), BATCH))


def _image(path: Path, hw: tuple[int, int]) -> Float[Tensor, "3 h w"]:
    h, w = hw
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"calibration image '{path}' cannot be read: {error}; repair or remove it") from error
    scale = max(h / CROP / image.height, w / CROP / image.width)
    size = (max(w, round(image.width * scale)), max(h, round(image.height * scale)))
    left, top = (size[0] - w) // 2, (size[1] - h) // 2
    image = image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + w, top + h))
    pixels = torch.from_numpy(np.array(image, dtype=np.float32)) / 255
    return ((pixels - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)).permute(2, 0, 1)
