"""The data sets in detectron2's catalogue: those of ours are put there, those of others are found there."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiop_coco.categories import Categories, read_categories
from aiop_coco.drawn import default_cache, drawn_set
from aiop_coco.mark import mark
from aiop_coco.panoptic import prepare_stuff
from aiop_coco.splits import CocoSplit, coco2017
from aiop_core.contracts import silent
from aiop_core.errors import DataError, OptionError
from aiop_core.options import suggest
from aiop_task_detectron2.config import boxes, input_size, semantic
from aiop_task_detectron2.evaluation import quiet
from aiop_task_detectron2.options import COCO, SYNTHETIC, Detectron2Options

if TYPE_CHECKING:
    from detectron2.data import Metadata

ROOT = "DETECTRON2_DATASETS"
"""Detectron2's environment variable for where data sets lie."""

IGNORED = 255
"""Semantic class of pixels that count nowhere, as detectron2 writes them."""


@dataclass(frozen=True)
class Part:
    """One side of a data set: what is trained on, or what measures.

    Attributes:
        name: in detectron2's catalogue.
        records: its images in detectron2's standard format.
        metadata: classes, and where the annotations lie.
        mark: changes with the images, their sizes and annotations.
    """

    name: str
    records: list[dict[str, Any]]
    metadata: Metadata
    mark: str


def open_data(options: Detectron2Options) -> tuple[Part, Part]:
    """The data to train on and those to measure on, with all that the options' parts need.

    Raises:
        DataError: naming what is missing, where it should lie and how to get it.
        OptionError: if the catalogue has no such data set.
    """
    for module in options.modules:
        _import(module)
    if options.data in {SYNTHETIC, COCO}:
        splits = splits_of(options)
        categories = read_categories(*splits)
        train, val = (_ours(split, categories, options) for split in splits)
    else:
        train, val = (_of_the_catalogue(name) for name in _names(options.data))
    for part in (train, val):
        _require_annotations(part, options)
    _require_same_classes(train, val, options)
    return train, val


def splits_of(options: Detectron2Options) -> tuple[CocoSplit, CocoSplit]:
    """Where the drawn images or COCO lie; draws the former.

    Raises:
        DataError: if the drawn images cannot be written.
        OptionError: if COCO is wanted and no folder given.
    """
    if options.data == SYNTHETIC:
        return drawn_set(
            options.cache_dir or default_cache(),
            train=options.train_images,
            val=options.val_images,
            size=input_size(options),
            seed=options.data_seed,
        )
    root = coco_root(options)
    if root is None:
        raise OptionError(f"data coco needs data_dir, the folder that holds coco/, or the variable {ROOT}; give one")
    return coco2017(root)


def coco_root(options: Detectron2Options) -> Path | None:
    """The folder that holds COCO, if the user named one."""
    named = os.environ.get(ROOT)
    return options.data_dir or (Path(named) if named else None)


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise OptionError(f"modules names {module}, which cannot be imported: {error}") from error


def _names(text: str) -> tuple[str, str]:
    from detectron2.data import DatasetCatalog

    names = [name.strip() for name in text.split(",")]
    if len(names) != 2:
        raise OptionError(
            f"data '{text}' is neither {SYNTHETIC} nor {COCO} nor two names of detectron2's catalogue with a comma "
            "between them: that to train on, that to measure on"
        )
    for name in names:
        if name not in DatasetCatalog.list():
            raise OptionError(f"detectron2's catalogue has no data set {name}; {suggest(name, DatasetCatalog.list())}")
    return names[0], names[1]


def _ours(split: CocoSplit, categories: Categories, options: Detectron2Options) -> Part:
    """Put a split into the catalogue, once, and read it."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    stuff = semantic(options.parts)
    if stuff:
        split = with_stuff(split, options.cache_dir or default_cache())
    identity = mark(split)
    name = f"aiop_{split.name}_{identity[:12]}{'_stuff' if stuff else ''}"
    if name not in DatasetCatalog.list():
        DatasetCatalog.register(name, lambda: _read(split, name, stuff=stuff))
        MetadataCatalog.get(name).set(**_metadata(split, categories, stuff=stuff))
    return Part(name, DatasetCatalog.get(name), MetadataCatalog.get(name), identity)


def with_stuff(split: CocoSplit, cache: Path) -> CocoSplit:
    """The split with semantic masks; where they are missing they are made of the panoptic ones, in ``cache``.

    Raises:
        DataError: if there are no panoptic files either, or there is no room.
    """
    if split.stuff_masks is not None and split.stuff_masks.is_dir():
        return split
    out = cache / f"panoptic_stuff_{split.name}_{mark(split)[:12]}"
    prepare_stuff(split, out, silent)
    return replace(split, stuff_masks=out)


def _read(split: CocoSplit, name: str, *, stuff: bool) -> list[dict[str, Any]]:
    from detectron2.data.datasets import load_coco_json

    with quiet():
        records: list[dict[str, Any]] = load_coco_json(str(split.part("instances")), str(split.part("images")), name)
    if stuff:
        masks = split.part("stuff_masks")
        for record in records:
            record["sem_seg_file_name"] = str(masks / f"{Path(record['file_name']).stem}.png")
    return records


def _metadata(split: CocoSplit, categories: Categories, *, stuff: bool) -> Mapping[str, Any]:
    """What detectron2's evaluators must know; classes of things it reads from the json itself."""
    known: dict[str, Any] = {
        "json_file": str(split.instances),
        "image_root": str(split.images),
        "ignore_label": IGNORED,
    }
    if stuff:
        known |= {
            "stuff_classes": ["things", *categories.stuff],
            "stuff_dataset_id_to_contiguous_id": {0: 0} | dict(categories.stuff_ids),
            "panoptic_root": str(split.panoptic_masks),
            "panoptic_json": str(split.panoptic),
            "sem_seg_root": str(split.stuff_masks),
        }
    return known


def _of_the_catalogue(name: str) -> Part:
    """A data set that detectron2, or a module that the user named, has registered."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    try:
        with quiet():
            records: list[dict[str, Any]] = DatasetCatalog.get(name)
    except (OSError, AssertionError, KeyError, ValueError) as error:
        raise DataError(
            f"data set {name} of detectron2's catalogue cannot be read: {' '.join(str(error).split())}; builtin ones "
            f"lie where the variable {ROOT} says, now {os.environ.get(ROOT, 'datasets')}"
        ) from error
    told = [[Path(r["file_name"]).name, r.get("height"), r.get("width"), _plain(r.get("annotations"))] for r in records]
    identity = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    return Part(name, records, MetadataCatalog.get(name), identity)


def _plain(annotations: Any) -> Any:
    """Boxes and classes; their masks are many megabytes."""
    return [[a.get("bbox"), a.get("category_id")] for a in annotations or []]


def class_counts(options: Detectron2Options, data: tuple[Part, Part] | None) -> tuple[int, int]:
    """How many classes of things there are, and of pixels.

    Of COCO detectron2 knows that without its files, so that graphs and costs need none.

    Raises:
        DataError: if the data say nothing of classes that the parts need.
    """
    from detectron2.data import MetadataCatalog

    if data is not None:
        metadata = data[0].metadata
    elif options.data == COCO and not _has_classes(options):
        metadata = MetadataCatalog.get("coco_2017_train_panoptic_separated")
    else:
        return class_counts(options, open_data(options))
    things, pixels = metadata.get("thing_classes", ()), metadata.get("stuff_classes", ())
    for wanted, known, what in (
        (boxes(options.parts), things, "thing"),
        (semantic(options.parts), pixels, "stuff"),
    ):
        if wanted and not known:
            raise DataError(f"data set {metadata.name} has no {what} classes; choose parts that do without (--parts)")
    return max(len(things), 1), max(len(pixels), 1)


def _has_classes(options: Detectron2Options) -> bool:
    root = coco_root(options)
    return root is not None and all(s.instances is not None and s.instances.exists() for s in coco2017(root))


def _require_annotations(part: Part, options: Detectron2Options) -> None:
    if not part.records:
        raise DataError(f"data set {part.name} has no images; give one that has")
    if boxes(options.parts) and not any(record.get("annotations") for record in part.records):
        raise DataError(
            f"none of the {len(part.records)} images of {part.name} has an annotated thing; choose other images, or "
            "--parts sem_seg"
        )
    if semantic(options.parts) and "sem_seg_file_name" not in part.records[0]:
        raise DataError(f"data set {part.name} has no semantic masks; choose parts that do without (--parts obj_det)")
    if "pan_seg" in options.parts and part.metadata.get("panoptic_json") is None:
        raise DataError(f"data set {part.name} has no panoptic annotations; choose parts that do without (--parts)")


def _require_same_classes(train: Part, val: Part, options: Detectron2Options) -> None:
    for key, wanted in (("thing_classes", boxes(options.parts)), ("stuff_classes", semantic(options.parts))):
        first, second = (list(part.metadata.get(key, ())) for part in (train, val))
        if wanted and first != second:
            odd = sorted(set(first) ^ set(second))[:3] or ["their order"]
            raise DataError(
                f"{train.name} and {val.name} differ in {key}: {', '.join(odd)}; train and measure on the same classes"
            )
