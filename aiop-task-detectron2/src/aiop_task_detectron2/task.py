"""The task object: data, model, training and measure of ``detectron2`` put together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from aiop_coco.drawn import default_cache
from aiop_core.capabilities import Bodies, Finding, Piece
from aiop_core.contracts import Backbone, FitReport, Metric, NoOptions, Progress, silent
from aiop_core.errors import ContractError, OptionError
from aiop_core.options import options_dict
from aiop_task_detectron2.assembly import DetectionModel, assemble, redraw
from aiop_task_detectron2.body import FREEZE
from aiop_task_detectron2.checkpoints import Checkpoint, checkpoint_of
from aiop_task_detectron2.config import SMALL_CHANNELS, deciding, input_size, settings_of
from aiop_task_detectron2.costs import pieces
from aiop_task_detectron2.data import Part, class_counts, coco_class_counts, data_marks, open_data
from aiop_task_detectron2.evaluation import METRICS, evaluate
from aiop_task_detectron2.fixed_part import graphs
from aiop_task_detectron2.loading import learnable
from aiop_task_detectron2.options import COCO, PARTS, SYNTHETIC, Detectron2Options
from aiop_task_detectron2.pyramid import CHANNELS
from aiop_task_detectron2.training import fit

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from aiop_core.graph.model import Graph
    from aiop_task_detectron2.sharing_options import HeadOptions, SharedOptions


class Detectron2Task:
    """Detection and segmentation on detectron2; see :class:`~aiop_core.contracts.Task`.

    Attributes:
        options: as given.
        parts: what is trained and measured, in the order of ``PARTS``.

    Raises:
        OptionError: if detectron2's config cannot be made of the options.
    """

    def __init__(self, options: Detectron2Options) -> None:
        self.options = options
        self.parts = tuple(part for part in PARTS if part in options.parts)
        self.metrics: tuple[Metric, ...] = tuple(METRICS[part] for part in self.parts)
        self.input_hw = (input_size(options), input_size(options))
        self._settings = settings_of(options)
        self._data: tuple[Part, Part] | None = None
        self._checkpoint: Checkpoint | None = None

    @property
    def data(self) -> tuple[Part, Part]:
        """What is trained on and what measures, opened once.

        Raises:
            DataError: if the data are missing or not what they should be.
        """
        return self._open(silent)

    def _open(self, progress: Progress) -> tuple[Part, Part]:
        if self._data is None:
            self._data = open_data(self.options, progress)
        return self._data

    @cached_property
    def _classes(self) -> tuple[int, int]:
        if self._data is None and self.options.data == COCO:
            return coco_class_counts(self.options)
        return class_counts(self.data[0], self.options)

    @property
    def cfg(self) -> CfgNode:
        """A copy of detectron2's config, with the data's numbers of classes.

        Raises:
            DataError: if they cannot be read.
        """
        cfg = self._settings.clone()
        cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = self._classes
        return cfg

    def fingerprint(self) -> str:
        """The config, the images and annotations; see :class:`~aiop_core.capabilities.Fingerprinted`.

        Detectron2's versions have configs of their own, and differ in a measure.

        Raises:
            DataError: if the data are missing or not what they should be.
        """
        marks = [] if self.options.data == SYNTHETIC else data_marks(self.options)
        return hashlib.sha256("\n".join([*marks, deciding(self._settings)]).encode()).hexdigest()[:16]

    def resolved(self) -> Mapping[str, Any]:
        """The options and detectron2's config, but for classes; see :class:`~aiop_core.capabilities.Resolving`."""
        import yaml

        cfg = self._settings
        came_to = {
            "input_size": self.input_hw[0],
            "iterations": cfg.SOLVER.MAX_ITER,
            "batch": cfg.SOLVER.IMS_PER_BATCH,
            "lr": cfg.SOLVER.BASE_LR,
            "freeze": self._freeze,
            "channels": self._channels,
            "box_proposals": self.options.box_proposals or cfg.MODEL.RPN.POST_NMS_TOPK_TEST,
            "mask_proposals": self.options.mask_proposals or cfg.TEST.DETECTIONS_PER_IMAGE,
        }
        return {**options_dict(self.options), **came_to, "config": yaml.safe_load(cfg.dump())}

    @property
    def _freeze(self) -> int:
        default = 0 if self.options.data == SYNTHETIC else FREEZE
        return default if self.options.freeze is None else self.options.freeze

    @property
    def _channels(self) -> int:
        return self.options.channels or (SMALL_CHANNELS if self.options.data == SYNTHETIC else CHANNELS)

    def prepare_data(self, *, progress: Progress) -> None:
        """Draw images, or make semantic masks, where they are missing; see :class:`~aiop_core.capabilities.Preparing`.

        Raises:
            DataError: if the data are missing or not what they should be.
        """
        self._open(progress)

    def prepare(self) -> None:
        """Draw, or find, everything that is needed, so that what is missing is told before anything is trained."""
        self._open(silent)

    def check_data(self) -> Sequence[Finding]:
        """What of COCO is there; see :class:`~aiop_core.capabilities.Checking`."""
        from aiop_task_detectron2.check import find_data

        return find_data(self.options)

    def draw_data(self, path: Path, *, count: int) -> None:
        """A contact sheet with what is annotated.

        Raises:
            DataError: if there is nothing to draw, or it cannot be written.
        """
        from aiop_task_detectron2.check import draw_data

        draw_data(self.options, path, count=count)

    def model(
        self, backbone: Backbone, *, cfg: CfgNode | None = None, head_widths: Sequence[int] | None = None
    ) -> DetectionModel:
        """The backbone with the feature pyramid and all heads.

        Args:
            backbone: any.
            cfg: in place of the task's.
            head_widths: in place of the option.

        Raises:
            ContractError: if the backbone is not a module.
            OptionError: if the pyramid cannot be built on its levels.
        """
        o = self.options
        return assemble(
            cfg or self.cfg,
            backbone,
            parts=self.parts,
            freeze=None if o.freeze is None and o.data != SYNTHETIC else self._freeze,  # bodies may have fewer levels
            channels=self._channels,
            widths=o.head_widths if head_widths is None else head_widths,
            box_proposals=o.box_proposals,
            mask_proposals=o.mask_proposals,
        )

    def train(self, model: nn.Module, *, seed: int, device: str, progress: Progress) -> None:
        """Draw the heads' weights from ``seed``, then train them and the backbone together.

        A long training that was killed goes on from its checkpoint.

        Raises:
            DataError: if an image cannot be read, or a checkpoint cannot be read or written.
            LabelError: if the loss is not finite any more, or the GPU has too little memory.
        """
        whole, cfg, train = detection_model(model), self.cfg, self.data[0]
        redraw(whole, seed)
        fit(
            whole.detector,
            learnable(train.records, cfg),
            cfg,
            seed=seed,
            device=device,
            gpus=self.options.gpus,
            progress=progress,
            checkpoint=self.checkpoint(whole.detector, cfg, seed),
        )

    def checkpoint(self, detector: nn.Module, cfg: CfgNode, seed: int) -> Checkpoint | None:
        """Where a training that begins is kept until the next ``evaluate``; nowhere if it is short."""
        folder = self.options.cache_dir or default_cache()
        self._checkpoint = checkpoint_of(folder, detector, cfg, seed, self.data[0].mark)
        return self._checkpoint

    def reads_latents(self, options: HeadOptions) -> bool:
        """Never: those of detection's large images would fill disks."""
        return False

    def collect_latents(
        self, bodies: Bodies, out: Path, options: NoOptions, *, device: str, progress: Progress
    ) -> None:
        """Nothing would read them.

        Raises:
            OptionError: always.
        """
        raise OptionError(
            "the task 'detectron2' has no use for latents, which would fill disks: 'aiop head' draws features while it "
            "trains; leave this step out"
        )

    def train_head(
        self,
        bodies: Bodies,
        latents: Path | None,
        out: Path,
        options: HeadOptions,
        *,
        seed: int,
        device: str,
        progress: Progress,
    ) -> FitReport:
        """See :func:`aiop_task_detectron2.shared_head.train_head`."""
        from aiop_task_detectron2.shared_head import train_head

        return train_head(self, bodies, out, options, seed=seed, device=device, progress=progress)

    def attach(self, backbone: Backbone, head: Path) -> nn.Module:
        """See :func:`aiop_task_detectron2.shared_head.attach`."""
        from aiop_task_detectron2.shared_head import attach

        return attach(self, backbone, head)

    def finetune(self, model: nn.Module, options: SharedOptions, *, seed: int, device: str, progress: Progress) -> None:
        """See :func:`aiop_task_detectron2.shared_head.finetune`."""
        from aiop_task_detectron2.shared_head import finetune

        finetune(self, detection_model(model), options, seed=seed, device=device, progress=progress)

    def evaluate(self, model: nn.Module, *, device: str) -> Mapping[str, float]:
        """The metric of each part, by detectron2's own evaluators.

        Raises:
            LabelError: if a metric is not defined on the images, or the GPU has too little memory.
        """
        return self.evaluate_in_detail(model, device=device)[0]

    def evaluate_in_detail(self, model: nn.Module, *, device: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """As ``evaluate``, and beside it all that the evaluators say, such as each class.

        Raises:
            LabelError: as ``evaluate``.
        """
        val = self.data[1]
        detector = detection_model(model).detector
        found = evaluate(detector, val.records, val.name, self.cfg, self.parts, device=device)
        if self._checkpoint:
            self._checkpoint.forget()
        return found

    def pieces(self, model: nn.Module) -> Mapping[str, Mapping[str, Piece]]:
        """What body, pyramid and each head cost, box and mask heads for one proposal."""
        whole = detection_model(model)
        return {METRICS[part].name: pieces(whole, part, self.input_hw) for part in self.parts}

    def graphs(self, model: nn.Module) -> Mapping[str, Graph]:
        """For each part the graph of body, pyramid and the heads that it needs, at ``input_hw``."""
        found = graphs(detection_model(model), self.input_hw)
        return {METRICS[part].name: found[part] for part in self.parts}


def detection_model(model: nn.Module) -> DetectionModel:
    """The model as what ``model()`` makes.

    Raises:
        ContractError: if it is something else.
    """
    if not isinstance(model, DetectionModel):
        raise ContractError(f"the model is a {type(model).__name__}; give what model() made")
    return model
