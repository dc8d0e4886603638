"""The data sets in detectron2's catalogue: those of ours are put there, those of others are found there."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiop_coco.annotations import read_annotations
from aiop_coco.categories import Categories, read_categories
from aiop_coco.drawn import default_cache, drawn_set
from aiop_coco.mark import mark
from aiop_coco.panoptic import with_stuff
from aiop_coco.splits import CocoSplit, coco2017
from aiop_core.contracts import Progress, silent
from aiop_core.errors import DataError, OptionError
from aiop_core.options import suggest
from aiop_task_detectron2.config import boxes, input_size, semantic
from aiop_task_detectron2.evaluation import quiet
from aiop_task_detectron2.loading import has_things
from aiop_task_detectron2.options import COCO, SYNTHETIC, Detectron2Options

if TYPE_CHECKING:
    from detectron2.data import Metadata

ROOT = "DETECTRON2_DATASETS"
"""Detectron2's environment variable for where data sets lie."""

IGNORED = 255
"""Semantic class of pixels that count nowhere, as detectron2 writes them."""

_METADATA = ("ignore_label", "panoptic_json", "panoptic_root")
"""What detectron2's evaluators of semantic classes read there beside the classes, the latter two of ``pan_seg``."""


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


def open_data(options: Detectron2Options, progress: Progress = silent) -> tuple[Part, Part]:
    """The data to train on and those to measure on, with all that the options' parts need.

    What can be made of others is made: drawn images, and semantic masks.

    Raises:
        DataError: naming what is missing, where it should lie and how to get it.
        OptionError: if the catalogue has no such data set.
    """
    for module in options.modules:
        _import(module)
    if options.data in {SYNTHETIC, COCO}:
        splits = splits_of(options, progress)
        categories = read_categories(*splits)
        train, val = (_ours(split, categories, options, progress) for split in splits)
    else:
        train, val = (_of_the_catalogue(name, options) for name in _names(options.data))
    for part in (train, val):
        _require_annotations(part, options)
    _require_same_classes(train, val, options)
    if "pan_seg" in options.parts:
        _require_same_images(val)
    return train, val


def data_marks(options: Detectron2Options) -> list[str]:
    """What the annotations of both sides are; makes nothing.

    Raises:
        DataError: if they cannot be read.
        OptionError: as ``open_data``.
    """
    if options.data in {SYNTHETIC, COCO}:
        return [mark(split) for split in splits_of(options)]
    return [part.mark for part in open_data(options)]


def splits_of(options: Detectron2Options, progress: Progress = silent) -> tuple[CocoSplit, CocoSplit]:
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
            progress=progress,
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
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise OptionError(
            f"modules names {module}, which cannot be imported ({reason}); mend it, or let PYTHONPATH name its folder"
        ) from error


def _names(text: str) -> tuple[str, str]:
    from detectron2.data import DatasetCatalog

    names = [name.strip() for name in text.split(",")]
    if len(names) != 2:
        raise OptionError(
            f"data '{text}' is neither {SYNTHETIC} nor {COCO} nor two names of detectron2's catalogue with a comma "
            f"between them, that to train on, that to measure on; {suggest(text, (SYNTHETIC, COCO))}"
        )
    for name in names:
        if name not in DatasetCatalog.list():
            raise OptionError(f"detectron2's catalogue has no data set {name}; {suggest(name, DatasetCatalog.list())}")
    return names[0], names[1]


def _ours(split: CocoSplit, categories: Categories, options: Detectron2Options, progress: Progress) -> Part:
    """Put a split into the catalogue, once, and read it."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    stuff = semantic(options.parts)
    if stuff:
        split = with_stuff(split, options.cache_dir or default_cache(), progress)
    identity = mark(split)
    name = f"aiop_{split.name}_{hashlib.sha256(f'{identity} {stuff} {split}'.encode()).hexdigest()[:12]}"
    if name not in DatasetCatalog.list():
        DatasetCatalog.register(name, lambda: _read(split, name, stuff=stuff))
        MetadataCatalog.get(name).set(**_metadata(split, categories, stuff=stuff))
    return Part(name, DatasetCatalog.get(name), MetadataCatalog.get(name), identity)


def _read(split: CocoSplit, name: str, *, stuff: bool) -> list[dict[str, Any]]:
    from detectron2.data.datasets import load_coco_json

    path, images = split.part("instances"), split.part("images")
    try:
        with quiet():
            records: list[dict[str, Any]] = load_coco_json(str(path), str(images), name)
    except (AssertionError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is not as detectron2 wants it ({reason}); replace it by the original") from error
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
            "stuff_dataset_id_to_contiguous_id": {-1: 0} | dict(categories.stuff_ids),  # a class may have the id 0
            "panoptic_root": str(split.panoptic_masks),
            "panoptic_json": str(split.panoptic),
            "sem_seg_root": str(split.stuff_masks),
        }
    return known


def _of_the_catalogue(name: str, options: Detectron2Options) -> Part:
    """A data set that detectron2, or a module that the user named, has registered."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    try:
        with quiet():
            records: list[dict[str, Any]] = DatasetCatalog.get(name)
    except Exception as error:  # of a function that may be anybody's
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(
            f"data set {name} of detectron2's catalogue cannot be read ({reason}); builtin ones lie where the variable "
            f"{ROOT} says, now {os.environ.get(ROOT, 'datasets')}"
        ) from error
    told = [[Path(r["file_name"]).name, r.get("height"), r.get("width"), _plain(r.get("annotations"))] for r in records]
    identity = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    metadata = MetadataCatalog.get(name)
    if boxes(options.parts) and metadata.get("json_file") is None:
        _write_json(name, options.cache_dir or default_cache())
    return Part(name, records, metadata, identity)


def _write_json(name: str, cache: Path) -> None:
    """Write a data set in COCO's format, which detectron2's evaluator of boxes wants."""
    from detectron2.data import MetadataCatalog
    from detectron2.data.datasets import convert_to_coco_json

    path = cache / "catalogue" / f"{name.replace('/', '_')}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with quiet():
            convert_to_coco_json(name, str(path), allow_cached=False)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}); make room, or name another folder (--cache-dir)"
        ) from error
    MetadataCatalog.get(name).json_file = str(path)


def _plain(annotations: Any) -> Any:
    """Boxes and classes; their masks are many megabytes."""
    return [[a.get("bbox"), a.get("category_id")] for a in annotations or []]


def class_counts(part: Part, options: Detectron2Options) -> tuple[int, int]:
    """How many classes of things there are, and of pixels, where one stands for all things.

    Raises:
        DataError: if the data say nothing of classes that the parts need.
    """
    things, pixels = (len(part.metadata.get(key, ())) for key in ("thing_classes", "stuff_classes"))
    for known, wanted, what in ((things, boxes, "thing"), (pixels, semantic, "stuff")):
        if wanted(options.parts) and not known:
            raise DataError(f"data set {part.name} has no {what} classes; choose parts that do without (--parts)")
    return max(things, 1), max(pixels, 1)


def coco_class_counts(options: Detectron2Options) -> tuple[int, int]:
    """The same for COCO's layout before it is opened, so that graphs and costs need no annotations.

    Where files are missing, the classes are those of COCO.

    Raises:
        DataError: if a file that is there is damaged.
    """
    from detectron2.data import MetadataCatalog

    root, coco = coco_root(options), MetadataCatalog.get("coco_2017_val_panoptic_separated")
    found = read_categories(coco2017(root)[1]) if root else None
    things, stuff = (found.things, found.stuff) if found else ((), ())
    return len(things or coco.thing_classes), len(stuff) + 1 if stuff else len(coco.stuff_classes)


def _require_annotations(part: Part, options: Detectron2Options) -> None:
    if not part.records:
        raise DataError(f"data set {part.name} has no images; give one that has")
    if boxes(options.parts) and not any(map(has_things, part.records)):
        raise DataError(
            f"none of the {len(part.records)} images of {part.name} has an annotated thing; choose other images, or "
            "--parts sem_seg"
        )
    if semantic(options.parts) and not all("sem_seg_file_name" in record for record in part.records):
        raise DataError(f"data set {part.name} has no semantic masks; choose parts that do without (--parts obj_det)")
    for key in _METADATA if semantic(options.parts) else ():
        if part.metadata.get(key) is None and ("pan_seg" in options.parts or not key.startswith("panoptic")):
            raise DataError(
                f"the metadata of data set {part.name} have no {key}; let the module that registers it set that, or "
                "choose parts that do without (--parts)"
            )


def _require_same_classes(train: Part, val: Part, options: Detectron2Options) -> None:
    for key, wanted in (("thing_classes", boxes(options.parts)), ("stuff_classes", semantic(options.parts))):
        first, second = (list(part.metadata.get(key, ())) for part in (train, val))
        if wanted and first != second:
            odd = sorted(set(first) ^ set(second))[:3] or ["their order"]
            raise DataError(
                f"{train.name} and {val.name} differ in {key}: {', '.join(odd)}; train and measure on the same classes"
            )


def _require_same_images(val: Part) -> None:
    """Make sure that each image whose panoptic segments are to be found is shown; panopticapi wants that."""
    path = Path(val.metadata.panoptic_json)
    listed = {entry["image_id"] for entry in read_annotations(path, "panoptic")["annotations"]}
    lacking = listed - {record.get("image_id") for record in val.records}
    if lacking:
        raise DataError(
            f"{path} has segments of {len(lacking):,} images that data set {val.name} does not have, such as "
            f"{min(lacking, key=str)}; take files of the same images, or leave pan_seg out of the parts"
        )
