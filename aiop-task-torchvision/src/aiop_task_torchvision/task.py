"""The task object: data, heads, training and measure of ``torchvision`` put together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from aiop_coco.categories import Categories, read_categories
from aiop_coco.drawn import default_cache, drawn_set
from aiop_coco.panoptic import locate_stuff, with_stuff
from aiop_coco.splits import CocoSplit, coco2017
from aiop_core.contracts import Backbone, Metric, Progress, silent
from aiop_core.errors import ContractError, DataError
from aiop_core.options import options_dict
from aiop_core.sharing.chance import own_randomness
from aiop_task_torchvision.data import CocoImages
from aiop_task_torchvision.evaluation import METRICS, measure
from aiop_task_torchvision.fixed_part import FixedPart
from aiop_task_torchvision.model import DIVISIBLE, Heads, Segmenter
from aiop_task_torchvision.options import Settings, TorchvisionOptions, resolve
from aiop_task_torchvision.training import fit

if TYPE_CHECKING:
    from aiop_core.capabilities import Finding, Piece
    from aiop_core.graph.model import Graph

_MEANINGS = {
    "obj_det": "COCO's AP of boxes: the mean over classes and overlaps from 0.5 to 0.95",
    "inst_seg": "COCO's AP of masks: the mean over classes and overlaps from 0.5 to 0.95",
    "sem_seg": "intersection over union, the mean over the classes that are present; all things are one class",
}

COCO_THINGS, COCO_STUFF = 80, 53
"""Classes of COCO 2017's panoptic annotations."""

DATA_VARIABLE = "DETECTRON2_DATASETS"
"""Names the folder of real data where no option does."""


class TorchvisionTask:
    """Detection and segmentation on torchvision's heads; see :class:`~aiop_core.contracts.Task`.

    Attributes:
        settings: the options with every default filled in, as they are used.
    """

    def __init__(self, options: TorchvisionOptions) -> None:
        self.settings: Settings = resolve(options)
        self.metrics = tuple(Metric(METRICS[part], description=_MEANINGS[part]) for part in self.settings.parts)
        side = -(-self.settings.min_size // DIVISIBLE) * DIVISIBLE
        self.input_hw = (side, side)
        self._splits: tuple[CocoSplit, CocoSplit] | None = None
        self._images: tuple[CocoImages, CocoImages] | None = None

    @property
    def root(self) -> Path | None:
        """The folder of real data, if one is named."""
        named = os.environ.get(DATA_VARIABLE)
        return self.settings.data_dir or (Path(named) if named else None)

    @property
    def cache(self) -> Path:
        """Where drawn images lie, and masks that were made."""
        return self.settings.cache_dir or default_cache()

    @property
    def splits(self) -> tuple[CocoSplit, CocoSplit]:
        """Training and validation files; synthetic ones are drawn once into the cache.

        Raises:
            DataError: if no folder is named, or the files cannot be drawn.
        """
        if self._splits is None:
            s = self.settings
            self._splits = coco2017(self._named_root()) if s.data == "coco" else self._drawn(silent)
        return self._splits

    def _drawn(self, progress: Progress) -> tuple[CocoSplit, CocoSplit]:
        s = self.settings
        sizes = {"train": s.train_images, "val": s.val_images, "size": s.image_size, "seed": s.data_seed}
        return drawn_set(self.cache, **sizes, progress=progress)

    def _named_root(self) -> Path:
        if self.root is None:
            raise DataError(
                f"data 'coco' needs the folder that holds coco/; give it by data_dir or the variable {DATA_VARIABLE}"
            )
        return self.root

    @property
    def categories(self) -> Categories:
        """The classes, read from the validation files, the smaller ones.

        Raises:
            DataError: if a file that the parts need is missing or damaged.
        """
        val = self.splits[1]
        val.part("instances")
        if self.settings.semantic:
            val.part("panoptic")
        return read_categories(val)

    @property
    def images(self) -> tuple[CocoImages, CocoImages]:
        """Training and validation images, opened once.

        Raises:
            DataError: if the data set is missing or not what it should be.
        """
        if self._images is None:
            s, splits = self.settings, self.splits
            if s.semantic:
                splits = with_stuff(splits[0], self.cache), with_stuff(splits[1], self.cache)
            train, val = splits
            classes = read_categories(train, val)
            self._images = (
                CocoImages(train, classes, s, keep_empty=s.empty == "keep"),
                CocoImages(val, classes, s, keep_empty=True),
            )
        return self._images

    def resolved(self) -> Mapping[str, Any]:
        """The settings; see :class:`~aiop_core.capabilities.Resolving`."""
        return options_dict(self.settings)

    def prepare_data(self, *, progress: Progress) -> None:
        """Draw the synthetic set, or make the real one's stuff masks; see :class:`~aiop_core.capabilities.Preparing`.

        Raises:
            DataError: if what they are made of is missing, or there is no room.
        """
        if self.settings.data == "synthetic":
            self._drawn(progress)
        elif self.settings.semantic:
            for split in self.splits:
                with_stuff(split, self.cache, progress)

    def prepare(self) -> None:
        """See that all files are there and of one kind; the synthetic ones are drawn if they are not."""
        _ = self.images

    def fingerprint(self) -> str:
        """Which images there are, with what annotations; see :class:`~aiop_core.capabilities.Fingerprinted`.

        Raises:
            DataError: if the data set is missing or not what it should be.
        """
        from aiop_coco.mark import mark

        return "" if self.settings.data == "synthetic" else "-".join(mark(split) for split in self.splits)

    def check_data(self) -> Sequence[Finding]:
        """What of the data set is there; see :class:`~aiop_core.capabilities.Checking`."""
        from aiop_coco.check import find_coco

        s = self.settings
        if s.data == "synthetic" and s.data_dir is None:
            return find_coco(self.splits[0].images.parent)
        real = s.data == "coco"
        return find_coco(self._named_root(), things=real, stuff=real and s.semantic)

    def draw_data(self, path: Path, *, count: int) -> None:
        """A contact sheet of training and validation images.

        Raises:
            DataError: if there are none, or it cannot be written.
        """
        from aiop_coco.sheet import draw

        draw([locate_stuff(split, self.cache) for split in self.splits], path, count)

    def model(self, backbone: Backbone) -> Segmenter:
        """The backbone with the heads of the chosen parts.

        Raises:
            ContractError: if the backbone is not a module, or its levels make no pyramid.
            DataError: if the files that list the classes are missing or damaged.
        """
        if not isinstance(backbone, nn.Module):
            raise ContractError(f"the backbone is a {type(backbone).__name__}; a task needs a torch.nn.Module")
        with own_randomness(0, "cpu"):
            return Segmenter(backbone, self._heads(backbone))

    def _heads(self, backbone: Backbone) -> Heads:
        if self.settings.data == "coco" and self.root is None:  # graphs need no images
            return Heads(backbone.levels, COCO_THINGS, 1 + COCO_STUFF, self.settings)
        classes = self.categories
        return Heads(backbone.levels, len(classes.things), 1 + len(classes.stuff), self.settings)

    def train(self, model: nn.Module, *, seed: int, device: str, progress: Progress) -> None:
        """Draw the heads' weights from ``seed``, then train them and the backbone together.

        Raises:
            LabelError: if the loss is not finite any more, or the device's memory does not suffice.
        """
        network = _own(model)
        with own_randomness(seed, "cpu"):
            network.heads.load_state_dict(self._heads(network.body).state_dict())
        fit(network, self.images[0], self.settings, seed=seed, device=device, progress=progress)

    def evaluate(self, model: nn.Module, *, device: str) -> Mapping[str, float]:
        """The metrics on the validation images.

        Raises:
            LabelError: if they hold nothing to measure by, or the device's memory does not suffice.
        """
        return self.evaluate_in_detail(model, device=device)[0]

    def evaluate_in_detail(self, model: nn.Module, *, device: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """As ``evaluate``, and beside it AP at overlaps of 0.5 and 0.75, by size and class, and each class's IoU.

        Raises:
            LabelError: as ``evaluate``.
        """
        return measure(_own(model), self.images[1], self.settings, device=device)

    def graphs(self, model: nn.Module) -> Mapping[str, Graph]:
        """For each metric body, pyramid and the heads that it needs, at ``input_hw``; see :mod:`.fixed_part`."""
        from aiop_core.graph.trace import trace

        s, network = self.settings, _own(model)
        return {
            METRICS[part]: trace(
                FixedPart(network, part, proposals=s.proposals, detections=s.detections),
                input_shape=(3, *self.input_hw),
            )
            for part in s.parts
        }

    def pieces(self, model: nn.Module) -> Mapping[str, Mapping[str, Piece]]:
        """What body, pyramid and each head cost; see :class:`~aiop_core.capabilities.Itemised`."""
        from aiop_task_torchvision.pieces import pieces

        network = _own(model)
        return {METRICS[part]: pieces(network, part, self.settings, self.input_hw) for part in self.settings.parts}


def _own(model: nn.Module) -> Segmenter:
    if not isinstance(model, Segmenter):
        raise ContractError(f"the task got a {type(model).__name__}; give it what model() made")
    return model
