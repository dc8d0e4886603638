"""MPII Human Pose: persons of ``images/`` as one of its annotation formats says.

==========  ===========================================  =======================================
format      files, under ``mpii/``                       split
==========  ===========================================  =======================================
``json``    ``annot/train.json`` and ``valid.json``      Tompson's, 22,246 and 2,958 persons
``h5``      ``annot/train.h5`` and ``valid.h5``          the same
``mat``     ``mpii_human_pose_v1_u12_1.mat``             training images by ``train_share``
==========  ===========================================  =======================================

``val`` may stand for ``valid``, and ``trainval.json`` for ``train.json``: whoever is on an
image of the second file is taken out of the first. ``test.json`` has no joints and is not used. Where
``annot/gt_valid.mat`` lies, lengths of heads are its.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aiop_core.errors import DataError
from aiop_task_hpe.joints import MPII
from aiop_task_hpe.mpii_formats import WHERE, Annotated, read_annotations
from aiop_task_hpe.pckh import head_length, read_headed_truth
from aiop_task_hpe.persons import Persons, first_missing, persons, split

IMAGES_WHERE = "they are published on the data set's site (human-pose.mpi-inf.mpg.de)"

_MAT = "mpii_human_pose_v1_u12_1.mat"


def folder_of(data_dir: Path) -> Path:
    """``data_dir/mpii`` if that exists or ``data_dir`` has no ``annot`` or ``.mat`` of its own, else ``data_dir``."""
    inner = data_dir / "mpii"
    own = (data_dir / "annot").is_dir() or (data_dir / _MAT).is_file()
    return data_dir if not inner.is_dir() and own else inner


def annotation_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """For each format the files that it needs, where they lie or should lie."""

    def first(*names: str) -> Path:
        paths = [folder / name for name in names]
        return next((path for path in paths if path.is_file()), paths[0])

    return {
        "json": (first("annot/train.json", "annot/trainval.json"), first("annot/valid.json", "annot/val.json")),
        "h5": (first("annot/train.h5"), first("annot/valid.h5", "annot/val.h5")),
        "mat": (first(_MAT, f"annot/{_MAT}", f"mpii_human_pose_v1_u12_2/{_MAT}"),),
    }


def choose_format(folder: Path, annotations: str) -> str:
    """The format that was asked for, or the first one whose files are all there.

    Raises:
        DataError: if no format's are.
    """
    if annotations != "any":
        return annotations
    for name, files in annotation_files(folder).items():
        if all(file.is_file() for file in files):
            return name
    raise DataError(
        f"no annotations of MPII in {folder}; give as data_dir the folder that holds mpii/, with "
        f"annot/train.json and annot/valid.json: {WHERE['json']}; or {_MAT}: {WHERE['mat']}"
    )


def read_mpii(data_dir: Path, *, size: int, annotations: str, train_share: float) -> tuple[Persons, Persons]:
    """The persons to train on, and those to measure on.

    Args:
        data_dir: holds ``mpii/``, or is that folder.
        size: of a patch, pixels.
        annotations: ``json``, ``h5``, ``mat``, or ``any`` for the first of them that is there.
        train_share: of the persons of the ``.mat``, which has no split of its own.

    Raises:
        DataError: if something is missing or not what it should be.
    """
    folder = folder_of(data_dir)
    chosen = choose_format(folder, annotations)
    parts = [read_annotations(chosen, file) for file in annotation_files(folder)[chosen]]
    if chosen == "mat":
        return split(_persons(parts[0], folder, size), train_share, str(folder))
    train, val = parts
    truth = folder / "annot" / "gt_valid.mat"
    if truth.is_file():
        heads = head_length(read_headed_truth(truth).head_boxes).numpy()
        if len(heads) != len(val):
            raise DataError(
                f"{truth} has {len(heads)} persons, {annotation_files(folder)[chosen][1].name} has {len(val)}; "
                f"take both from one place: {WHERE['json']}"
            )
        val = replace(val, heads=heads)
    held = _persons(val, folder, size)
    taught = _without(_persons(train, folder, size), held)
    if not len(taught):
        names = [file.name for file in annotation_files(folder)[chosen]]
        raise DataError(f"all images of {names[0]} are in {names[1]} too; take both from one place: {WHERE[chosen]}")
    return taught, held


def _persons(found: Annotated, folder: Path, size: int) -> Persons:
    """The persons with their images.

    Raises:
        DataError: if an image is not there.
    """
    files = [folder / "images" / name for name in found.images]
    missing, first = first_missing(files)
    if missing:
        raise DataError(
            f"{missing} of MPII's {len(set(files))} annotated images are missing, the first {first}; "
            f"put them there: {IMAGES_WHERE}"
        )
    return persons(
        files,
        found.joints,
        found.annotated,
        MPII,
        size=size,
        centres=found.centres,
        sides=found.sides,
        heads=found.heads,
    )


def _without(train: Persons, held: Persons) -> Persons:
    """Those of ``train`` on images without anyone ``held``: nothing is measured on what was trained on."""
    known = set(held.files)
    return train.some([i for i, file in enumerate(train.files) if file not in known])
