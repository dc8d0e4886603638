"""Latents: mean and deviation of each image's features over many bodies of a family, collected once.

Source: AIO-P, section on latent sampling, and its code, ``model_src/multitask/latent_sample``.
There every image meets a :class:`~aiop_core.capabilities.Population` of which one body is exchanged
before the next image, or here before the next ``hold`` images. The order is another one: each
body sees all images of its life at once and is gone, which makes batches of single images.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from aiop_core.capabilities import Bodies
from aiop_core.contracts import Level, Progress
from aiop_core.errors import ContractError, DataError
from aiop_core.sharing.bodies import CALIBRATION, FrozenBodies, require_several, shared_widths
from aiop_core.sharing.json_files import FORMAT, read_json, write_json
from aiop_core.sharing.moments import Moments
from aiop_core.sharing.origin import ELSEWHERE, Origin, bodies_origin, require
from aiop_task_hpe.augment import Change, cut, normalised
from aiop_task_hpe.heads import require_multiple
from aiop_task_hpe.joints import skeleton_of
from aiop_task_hpe.latent_files import (
    DONE,
    HEADER,
    SPLITS,
    Arrays,
    create,
    level_names,
    open_arrays,
    read_header,
)
from aiop_task_hpe.origin import data_origin
from aiop_task_hpe.patches import Patches, PatchStore
from aiop_task_hpe.sharing_options import SYNTHETIC_HOLD, LatentsOptions, population_size
from aiop_task_hpe.training import plain_images

if TYPE_CHECKING:
    from aiop_task_hpe.task import PoseTask

READ = 32
"""Images that are read at a time."""

FLUSH_SECONDS = 10.0
"""Between two notes of how far it is; what a kill may cost."""


def collect_latents(
    task: PoseTask, bodies: Bodies, out: Path, options: LatentsOptions, *, device: str, progress: Progress
) -> None:
    """Write the latents of all training and validation images into ``out``, from where it stopped.

    Which bodies speak of an image follows from its number alone, so that going on gives
    what one go would have given.

    Raises:
        DataError: if ``out`` holds latents of something else, is damaged, or has no room.
        OptionError: if one body alone would speak of an image, bodies vary in width, or their strides do not fit
            the image size.
    """
    widths = shared_widths(task.settings.head_widths, bodies)
    frozen = FrozenBodies(bodies, widths, device, calibration_images(task, device))
    require_multiple(task.settings.input_size, frozen.levels)
    size = bodies.strata * require_several(population_size(options.per_stratum, task.settings), bodies)
    header = _header(task, frozen, bodies, options, size)
    if not (out / HEADER).is_file():
        create(out, header)
    found = read_json(out / HEADER, error=DataError, advice=ELSEWHERE)
    require(found, header, what=f"latents in {out}", advice=ELSEWHERE, error=DataError)
    done = read_json(out / DONE, error=DataError, advice=ELSEWHERE).get("done", 0)
    total = header["train_images"] + header["val_images"]
    if done < total:
        _collect(task, frozen, open_arrays(out, header, mode="r+"), out, header, done, device, progress)
    progress(total, total, "images")


def calibration_images(task: PoseTask, device: str) -> Tensor:
    """The training images that bodies' batch-norm statistics are measured on."""
    store = task.stores[0]
    return next(plain_images(store, np.arange(min(CALIBRATION, len(store))), task.settings, device=device))


def _header(
    task: PoseTask, frozen: FrozenBodies, bodies: Bodies, options: LatentsOptions, population: int
) -> dict[str, Any]:
    hold = options.hold or (SYNTHETIC_HOLD if task.settings.data == "synthetic" else 1)
    keep_all = (options.levels or ("coarsest" if task.settings.head == "deconv" else "all")) == "all"
    kept = slice(None) if keep_all else slice(-1, None)
    return {
        "format": FORMAT,
        **data_origin(task),
        **bodies_origin(bodies),
        "joints": len(task.skeleton),
        "names": level_names(frozen.levels)[kept],
        "levels": [[level.channels, level.stride] for level in frozen.levels][kept],
        "widths": list(shared_widths(task.settings.head_widths, bodies))[kept],
        "population": population,
        "hold": hold,
        "ring": population * hold,
        "mirrored": options.mirrored,
        "dtype": options.dtype,
    }


def _collect(
    task: PoseTask,
    bodies: FrozenBodies,
    arrays: Arrays,
    out: Path,
    header: Origin,
    done: int,
    device: str,
    progress: Progress,
) -> None:
    """Images are in a ring while ``population`` bodies speak of them; with each body ``hold`` of them come and go."""
    train, total = header["train_images"], header["train_images"] + header["val_images"]
    population, hold = header["population"], header["hold"]
    views, kept, side, ring = (
        2 if header["mirrored"] else 1,
        len(header["levels"]),
        header["input_size"],
        header["ring"],
    )
    places = torch.zeros(ring, views, 3, side, side, device=device)
    moments = Moments(ring)
    coming = _images(task, done, total, views, device)
    noted = time.monotonic()
    for number in range(done // hold, -(-total // hold) + population - 1):
        for image in range(number * hold, min((number + 1) * hold, total)):
            places[image % ring], joints = next(coming)
            split, index = _place(image, train)
            arrays[split][0][index] = joints
            moments.forget(image % ring)
        with torch.no_grad():
            images = places.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            features = bodies.body(number)(images)[-kept:]
            moments.add([x.float().unflatten(0, (ring, views)) for x in features])
        oldest = (number - population + 1) * hold
        for image in range(max(oldest, done), min(oldest + hold, total)):
            _write(arrays, *_place(image, train), moments.read(slice(image % ring, image % ring + 1)))
            progress(image + 1, total, "images")
        finished = min(oldest + hold, total)
        if finished == total or (finished > done and time.monotonic() - noted > FLUSH_SECONDS):
            _note(arrays, out, finished)
            noted = time.monotonic()


def _place(image: int, train: int) -> tuple[str, int]:
    """The split of an image, and its number there."""
    return (SPLITS[0], image) if image < train else (SPLITS[1], image - train)


def _images(task: PoseTask, start: int, total: int, views: int, device: str) -> Iterator[tuple[Tensor, Any]]:
    """From image ``start`` on: (views, 3, h, w) as networks read them, and (views, joints, 3)."""
    train, val = task.stores
    parts: list[tuple[PatchStore, int, int]] = [
        (train, min(start, len(train)), len(train)),
        (val, max(start - len(train), 0), total - len(train)),
    ]
    for store, first, last in parts:
        for patches in store.batches(np.arange(first, last), READ) if first < last else ():
            seen = [views_of(patches, mirror, task.settings.input_size) for mirror in (False, True)[:views]]
            images = torch.stack([normalised(view.images, device) for view in seen], dim=1)
            joints = torch.stack([torch.cat([v.joints, v.annotated[..., None].float()], dim=-1) for v in seen], dim=1)
            yield from zip(images, joints.numpy(), strict=True)


def views_of(patches: Patches, mirror: bool, size: int) -> Patches:
    """The plain cuts, or their mirror images."""
    change = Change.none(len(patches))
    change.flip.fill_(mirror)
    return cut(patches, change, size)


def _write(arrays: Arrays, split: str, index: int, read: tuple[list[Tensor], list[Tensor]]) -> None:
    pairs = [each for pair in zip(*read, strict=True) for each in pair]
    for array, values in zip(arrays[split][1:], pairs, strict=True):
        if values[0].shape != array.shape[1:]:
            raise ContractError(
                f"a body's level has the shape {tuple(values[0].shape[1:])}, but its channels and stride announce "
                f"{array.shape[2:]}; a family must round sizes up"
            )
        with np.errstate(over="ignore"):
            array[index] = values[0].cpu().numpy()
        if not np.isfinite(array[index]).all():
            raise DataError(
                f"features of {split} image {index} are not finite as {array.dtype}; use dtype float32, or weights "
                "that give finite features"
            )


def _note(arrays: Arrays, out: Path, done: int) -> None:
    """First the data reach the disk, then the count of them."""
    for array in (*arrays["train"], *arrays["val"]):
        array.flush()
    try:
        write_json(out / DONE, {"format": FORMAT, "done": done})
    except OSError as error:
        raise DataError(f"{out / DONE} cannot be written ({error}); make room and repeat the command") from None


@dataclass(frozen=True)
class Latents:
    """A folder of latents, open for reading.

    Attributes:
        folder: where they lie.
        header: what they were made of.
        levels: those that are there.
        views: 2 where mirror images are there too.
    """

    folder: Path
    header: Origin
    levels: tuple[Level, ...]
    views: int
    _arrays: Arrays

    @classmethod
    def open(cls, folder: Path) -> Latents:
        """Read what ``collect_latents`` wrote.

        Raises:
            DataError: if they are not complete, or damaged.
        """
        again = "give a folder that 'aiop latents' wrote"
        header = read_header(folder, advice=again)
        done = read_json(folder / DONE, error=DataError, advice=again).get("done")
        total = header["train_images"] + header["val_images"]
        if done != total:
            raise DataError(
                f"latents in {folder} are of {done} of {total} images; repeat the command that collected them, it "
                "goes on where it stopped"
            )
        levels = tuple(Level(*level) for level in header["levels"])
        views = 2 if header["mirrored"] else 1
        return cls(folder, header, levels, views, open_arrays(folder, header, mode="r"))

    def require(self, task: PoseTask, bodies: Bodies) -> None:
        """Make sure that a head can learn from them.

        Raises:
            DataError: if they are of other data, another family or other weights, or lack
                levels or widths that the task's head needs.
        """
        settings, what = task.settings, f"latents in {self.folder}"
        advice = "collect latents with the options of this run, into another folder"
        wanted = {**bodies_origin(bodies), **data_origin(task)}
        if self.header.get("spec") != wanted["spec"]:  # other draws of the same family
            del wanted["spec"], wanted["answer"]
        wanted["widths"] = list(shared_widths(settings.head_widths, bodies))[-len(self.levels) :]
        require(self.header, wanted, what=what, advice=advice, error=DataError)
        count = 1 if settings.head == "deconv" else len(bodies.body(0).levels)
        if len(self.levels) < count:
            raise DataError(
                f"{what} have {len(self.levels)} of the {count} levels that head '{settings.head}' needs; collect "
                "latents with levels all, or use head deconv"
            )

    def read(self, split: str, indices: Any, view: Any, *, levels: int) -> tuple[list[tuple[Tensor, Tensor]], Patches]:
        """(mean, deviation) of the coarsest ``levels``, as they are in the files, and the joints; no images.

        Args:
            split: ``train`` or ``val``.
            indices: of images.
            view: 0 or 1 for each.
            levels: how many.
        """
        joints = self._arrays[split][0][indices, view]
        chosen = [torch.from_numpy(array[indices, view]) for array in self._arrays[split][-2 * levels :]]
        patches = Patches(
            torch.empty(len(joints), 3, 0, 0, dtype=torch.uint8),
            torch.from_numpy(joints[..., :2]),
            torch.from_numpy(joints[..., 2] > 0.5),
            torch.full((len(joints),), torch.nan),
            skeleton_of(self.header["data"]),
        )
        return list(zip(chosen[::2], chosen[1::2], strict=True)), patches
