"""Images with boxes, masks and semantic classes, from files in COCO's format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aiop_coco.categories import Categories
from aiop_coco.images import UNREADABLE
from aiop_coco.records import ImageRecord, load_coco, read_records
from aiop_coco.splits import PUBLISHED, CocoSplit
from aiop_core.errors import DataError
from aiop_task_torchvision.model import IGNORED, Target
from aiop_task_torchvision.options import Settings

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class View:
    """One showing of an image: its place in the data set, and whether it is mirrored."""

    index: int
    mirrored: bool = False


Sample = tuple[Tensor, Target]
"""An image (3, height, width), RGB in [0, 1], with what :class:`~aiop_task_torchvision.model.Segmenter` learns."""


class CocoImages(Dataset[Sample]):
    """The images of one split, with what the chosen parts need.

    Crowds, and boxes without area, are left out, as in torchvision's ``references/detection``.

    Args:
        split: where the files lie.
        categories: the classes.
        settings: which parts there are, and how much memory decoded images may take.
        keep_empty: keep images without a box.

    Raises:
        DataError: if a file is missing or damaged, or nothing is left to show.
    """

    def __init__(self, split: CocoSplit, categories: Categories, settings: Settings, *, keep_empty: bool) -> None:
        self.split, self.categories = split, categories
        self.boxed, self.masked, self.semantic = settings.boxed, "inst_seg" in settings.parts, settings.semantic
        self.records: list[ImageRecord] = read_records(split, categories, keep_empty=keep_empty or not self.boxed)
        if self.masked and any(not i.segmentation for r in self.records for i in r.instances if not i.is_crowd):
            raise DataError(f"{split.instances} has objects without segmentation; leave inst_seg out of parts")
        _all_there(split.part("images"), [record.path for record in self.records])
        if self.semantic:
            _all_there(split.part("stuff_masks"), [_mask(record) for record in self.records])
        self._room = settings.cache_mb * MEGABYTE
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def truth(self) -> COCO:
        """The annotations as pycocotools has them.

        Raises:
            DataError: if the file is missing or damaged.
        """
        return load_coco(self.split.part("instances"))

    def __getitem__(self, view: View) -> Sample:
        """The image and what is in it.

        Raises:
            DataError: if a file is damaged, or not of the size that the annotations say.
        """
        sample = self._kept.get(view.index)
        if sample is None:
            sample = self._read(self.records[view.index])
            size = sum(tensor.nbytes for tensor in (sample[0], *sample[1].values()))
            if size <= self._room:
                self._room -= size
                self._kept[view.index] = sample
        pixels, target = mirror(sample) if view.mirrored else sample
        return pixels.float() / 255, target

    def _read(self, record: ImageRecord) -> Sample:
        """Pixels and masks in bytes, which take the least memory."""
        size = record.height, record.width
        target: Target = {}
        if self.boxed:
            things = [instance for instance in record.instances if not instance.is_crowd]
            corners = torch.tensor([thing.box for thing in things], dtype=torch.float32).reshape(-1, 4)
            corners[:, 2:] += corners[:, :2]
            corners[:, 0::2].clamp_(0, record.width)
            corners[:, 1::2].clamp_(0, record.height)
            inside = (corners[:, 2:] > corners[:, :2]).all(1)
            labels = torch.tensor([1 + thing.category for thing in things], dtype=torch.int64)
            target = {"boxes": corners[inside], "labels": labels[inside]}
            if self.masked:
                masks = np.stack([np.zeros(size, dtype=bool), *(thing.mask(*size) for thing in things)])[1:]
                target["masks"] = torch.from_numpy(masks)[inside].to(torch.uint8)
        if self.semantic:
            target["semantic"] = torch.from_numpy(self._classes(record))
        return torch.from_numpy(_decoded(record.path, "RGB", size)).permute(2, 0, 1), target

    def _classes(self, record: ImageRecord) -> np.ndarray[Any, Any]:
        """The semantic class of each pixel."""
        path, last = _mask(record), len(self.categories.stuff)
        classes = _decoded(path, "L", (record.height, record.width))
        odd = classes[(classes > last) & (classes != IGNORED)]
        if odd.size:
            raise DataError(
                f"{path} holds the class {odd[0]}, allowed are 0 to {last} and {IGNORED}; "
                "delete the folder, so that it is made anew from the panoptic files"
            )
        return classes


def _mask(record: ImageRecord) -> Path:
    assert record.stuff_mask is not None  # with_stuff made sure
    return record.stuff_mask


def _all_there(folder: Path, files: Sequence[Path]) -> None:
    there = {path.name for path in folder.iterdir()}
    missing = [file for file in files if file.name not in there]
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(files):,} files are missing in {folder}, the first {missing[0].name}; "
            f"put them there, COCO's are published at {PUBLISHED}"
        )


def mirror(sample: Sample) -> Sample:
    """The mirror image, and what is in it."""
    pixels, target = sample
    flipped = {name: value.flip(-1) for name, value in target.items() if name in ("masks", "semantic")}
    if "boxes" in target:
        x1, y1, x2, y2 = target["boxes"].unbind(1)
        width = pixels.shape[-1]
        flipped["boxes"] = torch.stack([width - x2, y1, width - x1, y2], dim=1)
    return pixels.flip(-1), target | flipped


def _decoded(file: Path, mode: str, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """The pixels of an image file, of the (height, width) that its annotations say."""
    try:
        with Image.open(file) as image:
            pixels = np.array(image if image.mode == mode else image.convert(mode))
    except UNREADABLE as error:
        raise DataError(f"{file} is damaged ({error}); replace it by the original: {PUBLISHED}") from None
    if pixels.shape[:2] != size:
        (height, width), (rows, columns) = size, pixels.shape[:2]
        raise DataError(
            f"{file} is {columns} × {rows} pixels, its annotations say {width} × {height}; put the original there"
        )
    return pixels


class Told(Dataset[Sample | DataError]):
    """The samples, and in place of one that cannot be read the error: of a worker it would be raised with a traceback.

    Args:
        images: of which they are.
    """

    def __init__(self, images: CocoImages) -> None:
        self._images = images

    def __getitem__(self, view: View) -> Sample | DataError:
        try:
            return self._images[view]
        except DataError as error:
            return error


def in_batches(views: Sequence[View], batch: int) -> list[list[View]]:
    """``views`` in pieces; the last one may be shorter."""
    return [list(views[start : start + batch]) for start in range(0, len(views), batch)]


def batches(images: CocoImages, views: Sequence[list[View]], workers: int) -> Iterator[list[Sample]]:
    """The samples of each batch of views, read by ``workers`` processes beside this one.

    Raises:
        DataError: if a file is damaged, or not of the size that the annotations say.
    """
    own = torch.Generator()  # else the loader draws from the global one
    for told in DataLoader(Told(images), batch_sampler=views, num_workers=workers, collate_fn=list, generator=own):
        for sample in told:
            if isinstance(sample, DataError):
                raise sample
        yield told
