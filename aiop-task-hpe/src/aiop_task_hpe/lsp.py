"""Leeds Sports Pose and its two extended sets, read from their original layouts.

=============  =================  =====================  ==================================
folder         ``joints.mat``     third row              images
=============  =================  =====================  ==================================
lsp            (3, 14, 2000)      1 = occluded           ``images/im0001.jpg``
lsp_extended   (14, 3, 10000)     1 = annotated          ``images/im00001.jpg``
hr_lspet       (14, 3, 9428)      1 = annotated          ``im00001.png``, or in ``images/``
=============  =================  =====================  ==================================

x and y count from 1. An occluded joint of LSP has coordinates like any other; one that is
not annotated in the extended sets has none that mean anything. HR-LSPET leaves out some of
the 10,000 persons and keeps the numbers of the others in their names, so that its columns
follow the images in order.

Source: Johnson and Everingham, "Clustered Pose and Nonlinear Appearance Models for Human
Pose Estimation", BMVC 2010, and "Learning Effective Human Pose Estimation from Inaccurate
Annotation", CVPR 2011; Pishchulin et al., "DeepCut", CVPR 2016 (HR-LSPET).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from jaxtyping import Float

from aiop_core.errors import DataError
from aiop_task_hpe.joints import LSP
from aiop_task_hpe.matlab import DAMAGE
from aiop_task_hpe.persons import Persons, persons, split

MINIMUM_JOINTS = 2
"""Fewer annotated joints than this have no extent; such persons are left out."""

LSP_TRAIN = 1000
"""The first so many persons of LSP are for training, the others for testing (its authors' split)."""


@dataclass(frozen=True)
class Layout:
    """How a set lies on disk.

    Attributes:
        shape: of ``joints.mat`` without its last side, the persons.
        digits: in the name of a person's image, whose number counts from 1.
        suffix: of an image.
        count: how many persons were published.
        where: the place where it is published.
    """

    shape: tuple[int, int]
    digits: int
    suffix: str
    count: int
    where: str

    def image(self, number: int) -> str:
        """The name of a person's image."""
        return f"im{number:0{self.digits}d}{self.suffix}"


_SAM = "on Sam Johnson's site (sam.johnson.io/research/{})"

LAYOUTS = {
    "lsp": Layout(
        (3, 14),
        4,
        ".jpg",
        2000,
        f"it is published as 'Leeds Sports Pose Dataset' {_SAM.format('lsp.html')}",
    ),
    "lsp_extended": Layout(
        (14, 3),
        5,
        ".jpg",
        10000,
        f"it is published as 'Leeds Sports Pose Extended Training Dataset' {_SAM.format('lspet.html')}",
    ),
    "hr_lspet": Layout(
        (14, 3),
        5,
        ".png",
        9428,
        "it is published as 'hr-lspet' on the site of the MPI for Informatics (datasets.d2.mpi-inf.mpg.de/hr-lspet)",
    ),
}
"""By the option ``data``."""


def folder_of(data_dir: Path, name: str) -> Path:
    """``data_dir/name`` if that exists or ``data_dir`` has no ``joints.mat`` of its own, else ``data_dir``."""
    inner = data_dir / name
    return data_dir if not inner.is_dir() and (data_dir / "joints.mat").is_file() else inner


def read_lsp(data_dir: Path, *, size: int) -> tuple[Persons, Persons]:
    """LSP's first 1,000 persons, and its last 1,000.

    Args:
        data_dir: holds ``lsp/``, or is that folder.
        size: of a patch, pixels.

    Raises:
        DataError: if something is missing or not what it should be.
    """
    whole, numbers = _read("lsp", data_dir, size=size)
    train = [i for i, n in enumerate(numbers) if n <= LSP_TRAIN]
    val = [i for i, n in enumerate(numbers) if n > LSP_TRAIN]
    if not train or not val:
        raise DataError(
            f"{folder_of(data_dir, 'lsp') / 'images'} has {len(train)} of LSP's training images im0001.jpg … "
            f"im1000.jpg and {len(val)} of its test images im1001.jpg … im2000.jpg; put both there: "
            f"{LAYOUTS['lsp'].where}"
        )
    return whole.some(train), whole.some(val)


def read_extended(name: str, data_dir: Path, *, size: int, train_share: float) -> tuple[Persons, Persons]:
    """The first ``train_share`` of an extended set's persons whose images exist, and the rest.

    Args:
        name: ``lsp_extended`` or ``hr_lspet``.
        data_dir: holds the folder of that name, or is it.
        size: of a patch, pixels.
        train_share: with the first 1,000 images 0.8 makes 1–800 and 801–1000.

    Raises:
        DataError: if something is missing or not what it should be.
    """
    whole = read_whole(name, data_dir, size=size)
    return split(whole, train_share, str(folder_of(data_dir, name)))


def read_whole(name: str, data_dir: Path, *, size: int) -> Persons:
    """Every person of a set whose image exists; see :func:`read_extended`."""
    return _read(name, data_dir, size=size)[0]


def _read(name: str, data_dir: Path, *, size: int) -> tuple[Persons, list[int]]:
    """The persons, and the number of each from 1."""
    folder = folder_of(data_dir, name)
    table = read_joints(folder / "joints.mat", name)
    images = numbered_images(folder, name)
    if not images:
        layout = LAYOUTS[name]
        raise DataError(
            f"no image {layout.image(1)} … in {folder / 'images'}; put the images of the data set there: {layout.where}"
        )
    rows = rows_of(images, len(table), folder, name)
    annotated = table[rows, :, 2] > 0.5
    if name == "lsp":
        annotated[:] = True
    usable = np.flatnonzero(annotated.sum(axis=1) >= MINIMUM_JOINTS)
    files, numbers = list(images.values()), list(images)
    joints = table[rows, :, :2] - 1.0
    found = persons([files[i] for i in usable], joints[usable], annotated[usable], LSP, size=size)
    return found, [numbers[i] for i in usable]


def numbered_images(folder: Path, name: str) -> dict[int, Path]:
    """The images that exist, by their numbers, in order."""
    layout, images = LAYOUTS[name], folder / "images"
    place = images if images.is_dir() else folder
    files = sorted(place.glob(f"im{'[0-9]' * layout.digits}{layout.suffix}"))
    return {int(file.stem[2:]): file for file in files}


def rows_of(images: dict[int, Path], count: int, folder: Path, name: str) -> list[int]:
    """Which of the ``count`` rows of the table each image has.

    Raises:
        DataError: if that cannot be told.
    """
    if name == "hr_lspet" and len(images) == count:
        return list(range(count))
    if name != "hr_lspet" and max(images) <= count:
        return [n - 1 for n in images]
    all_of_them = "its columns follow the images in order, so that all must be there" if name == "hr_lspet" else ""
    raise DataError(
        f"{folder / 'joints.mat'} has {count} persons, and {len(images)} images up to "
        f"{LAYOUTS[name].image(max(images))} lie there; {all_of_them or 'take both from one place'}: "
        f"{LAYOUTS[name].where}"
    )


def read_joints(path: Path, name: str) -> Float[np.ndarray, "n 14 3"]:
    """The table of ``joints.mat``, persons first.

    Raises:
        DataError: if the file is missing, unreadable, or of another data set.
    """
    layout = LAYOUTS[name]
    if not path.is_file():
        raise DataError(f"there is no {path}; give as data_dir the folder that holds {name}/joints.mat: {layout.where}")
    try:
        table = scipy.io.loadmat(path)["joints"]
    except DAMAGE as error:
        raise DataError(
            f"{path} is not a MATLAB file with 'joints' ({error}); take the original: {layout.where}"
        ) from error
    if table.ndim == 3 and table.shape[:2] in ((3, 14), (14, 3)) and table.shape[:2] != layout.shape:
        other = "LSP" if table.shape[0] == 3 else "LSP Extended"
        raise DataError(
            f"{path} has the shape {table.shape}, which is {other}, not {name} {_shape(layout)}: its third row "
            f"means the opposite; take the joints.mat of {name}: {layout.where}"
        )
    if table.ndim != 3 or table.shape[:2] != layout.shape:
        raise DataError(
            f"{path} has the shape {table.shape}, expected {_shape(layout)}; take the original: {layout.where}"
        )
    if name == "lsp_extended" and table.shape[2] == LAYOUTS["hr_lspet"].count:
        raise DataError(
            f"{path} has {table.shape[2]:,} persons, as HR-LSPET's table, whose order is another one; take the "
            f"joints.mat of {name}: {layout.where}"
        )
    first: np.ndarray[Any, Any] = np.asarray(table, dtype=np.float64)
    return first.transpose(2, 1, 0) if name == "lsp" else first.transpose(2, 0, 1)


def _shape(layout: Layout) -> str:
    return f"({layout.shape[0]}, {layout.shape[1]}, n)"
