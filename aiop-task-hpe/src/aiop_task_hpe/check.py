"""What of the data sets is there, what is missing, and where it is published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from aiop_core.capabilities import Finding
from aiop_core.errors import DataError
from aiop_task_hpe import lsp, mpii
from aiop_task_hpe.joints import LSP
from aiop_task_hpe.mpii_formats import Annotated, read_annotations
from aiop_task_hpe.options import DATA_SETS, Settings
from aiop_task_hpe.pckh import read_headed_truth
from aiop_task_hpe.persons import UNREADABLE, first_missing, read_image

_ENDS = {".jpg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}
"""The last bytes of a whole image, by its file's suffix."""


def find_data(settings: Settings) -> list[Finding]:
    """Everything that the task can read, found or not; what the options name is required.

    Raises:
        DataError: if the folder does not exist.
    """
    if settings.data_dir is not None and not settings.data_dir.is_dir():
        raise DataError(f"data_dir {settings.data_dir} does not exist; name the folder that holds the data sets")
    needed = {settings.data} | ({settings.extension} if settings.data == "lsp" else set())
    found = [Finding("synthetic", Path(), "drawn on the fly, nothing to download", required="synthetic" in needed)]
    for name in DATA_SETS[1:]:
        if settings.data_dir is None:
            where = mpii.IMAGES_WHERE if name == "mpii" else lsp.LAYOUTS[name].where
            found.append(
                Finding(name, Path(name), None, f"give data_dir, the folder that holds {name}/: {where}", False)
            )
        elif name == "mpii":
            found += _mpii(settings.data_dir, settings.annotations, name in needed)
        else:
            found += _leeds(name, settings.data_dir, name in needed)
    return found


def _leeds(name: str, data_dir: Path, required: bool) -> Iterator[Finding]:
    """One of the Leeds Sports Pose sets: its table, and its images."""
    layout, folder = lsp.LAYOUTS[name], lsp.folder_of(data_dir, name)
    if folder == data_dir and not required and not lsp.numbered_images(folder, name):
        folder = data_dir / name  # the table there is another set's
    path, count = folder / "joints.mat", layout.count
    try:
        table = lsp.read_joints(path, name)
    except DataError as error:
        yield Finding(f"{name}/joints.mat", path, None, str(error), required)
    else:
        count = len(table)
        joints = count * len(LSP) if name == "lsp" else int((table[:, :, 2] > 0.5).sum())
        advice = "" if count == layout.count else f"{layout.count:,} persons are published: {layout.where}"
        told = f"{count:,} persons, {joints:,} of {count * len(LSP):,} joints annotated"
        yield Finding(f"{name}/joints.mat", path, told, advice, required)
    images = lsp.numbered_images(folder, name)
    yield _images(f"{name}/images", folder / "images", list(images.values()), count, layout.where, required)


def _mpii(data_dir: Path, annotations: str, required: bool) -> Iterator[Finding]:
    """The annotations that are there, or else those that are asked for, and the images that they name."""
    folder = mpii.folder_of(data_dir)
    files = mpii.annotation_files(folder)
    begun = [kind for kind, paths in files.items() if any(path.is_file() for path in paths)]
    try:
        chosen = mpii.choose_format(folder, annotations)
    except DataError:
        chosen = (begun or ["json"])[0]
    names: set[str] = set()
    for kind, paths in files.items():
        if kind not in (chosen, *begun):
            continue
        for path in paths:
            name, needed = f"mpii/{path.relative_to(folder)}", required and kind == chosen
            try:
                people = read_annotations(kind, path)
            except DataError as error:
                yield Finding(name, path, None, str(error), needed)
            else:
                names |= set(people.images)
                yield Finding(name, path, _told(people), required=needed)
    truth = folder / "annot" / "gt_valid.mat"
    if truth.is_file():
        try:
            told, advice = f"{len(read_headed_truth(truth).joints):,} persons with head boxes", ""
        except DataError as error:
            told, advice = None, str(error)
        yield Finding("mpii/annot/gt_valid.mat", truth, told, advice, required and chosen != "mat")
    place = folder / "images"
    images = [place / name for name in sorted(names)]
    missing, first = first_missing(images)
    if missing:
        advice = f"{missing:,} of {len(images):,} annotated images are missing, the first {first}; "
        yield Finding("mpii/images", place, None, f"{advice}put them there: {mpii.IMAGES_WHERE}", required)
    else:
        yield _images("mpii/images", place, images, len(images), mpii.IMAGES_WHERE, required)


def _told(people: Annotated) -> str:
    joints = f"{int(people.annotated.sum()):,} of {people.annotated.size:,} joints annotated"
    return f"{len(people):,} persons in {len(set(people.images)):,} images, {joints}"


def _images(name: str, place: Path, files: Sequence[Path], count: int, where: str, required: bool) -> Finding:
    """How many of ``count`` images there are, and whether all of them are whole."""
    if not files:
        return Finding(name, place, None, f"no images in {place}; put them there: {where}", required)
    damaged = [file for file in files if not is_whole(file)]
    if damaged:
        advice = f"{len(damaged):,} of {len(files):,} images are damaged, the first {damaged[0]}; "
        return Finding(name, place, None, f"{advice}replace them by the originals: {where}", required)
    lacking = f"what is there is used; the others: {where}" if len(files) < count else ""
    return Finding(name, place, f"{len(files):,} of {max(count, len(files)):,} images", lacking, required)


def is_whole(file: Path) -> bool:
    """Whether an image can be read to its end; most are told by their first and last bytes alone."""
    try:
        with Image.open(file), file.open("rb") as raw:
            end = _ENDS.get(file.suffix.lower(), b"\0")
            raw.seek(-len(end), 2)
            if raw.read() == end:
                return True
        read_image(file)
    except (*UNREADABLE, DataError):
        return False
    return True
