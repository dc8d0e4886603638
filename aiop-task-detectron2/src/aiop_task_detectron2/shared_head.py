"""Training of one head for a whole family, and bodies with it.

The head is everything but the body: pyramid, proposals, box and mask heads, semantic head.
It learns from features that are drawn, or of bodies that are swapped, while images are read:
what COCO's images say in all bodies would fill disks.

Source: AIO-P, sections on body swapping and latent sampling, and its code,
``model_src/multitask/adapt_sampling_head.py`` and ``tasks/detectron2/detectron2_manager.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from detectron2.solver import build_optimizer
from detectron2.structures import ImageList
from torch import Tensor, nn

from aiop_core.capabilities import Bodies
from aiop_core.contracts import Backbone, FitReport, Level, Progress
from aiop_core.errors import DataError, WeightsError
from aiop_core.sharing.bodies import CALIBRATION, FrozenBodies, shared_widths
from aiop_core.sharing.features import BodyFeatures, SampledBodies, SwappedBodies
from aiop_core.sharing.freezing import frozen
from aiop_core.sharing.head_files import CARD, read_card, read_weights, write_head
from aiop_core.sharing.head_files import Training as HeadTraining
from aiop_core.sharing.origin import ELSEWHERE, Origin, bodies_origin, plain, require
from aiop_task_detectron2.assembly import DetectionModel, redraw
from aiop_task_detectron2.body import COARSEST
from aiop_task_detectron2.loading import Record, batches, learnable
from aiop_task_detectron2.options import SYNTHETIC
from aiop_task_detectron2.sharing_options import (
    SAVE_EVERY,
    SYNTHETIC_SAVE_EVERY,
    HeadOptions,
    Schedule,
    SharedOptions,
    head_schedule,
    population_size,
    tuning_schedule,
)
from aiop_task_detectron2.training import Training, fit

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from aiop_task_detectron2.task import Detectron2Task

RECENT = 0.05
"""Weight of the last step in the loss that is told."""

DECIDING = ("DATALOADER", "INPUT", "MODEL", "SOLVER")
"""Sections of detectron2's config that decide a head's weights."""

RUNTIME = ("DATALOADER.NUM_WORKERS", "MODEL.DEVICE", "MODEL.WEIGHTS", "SOLVER.CHECKPOINT_PERIOD")
"""What of them cannot."""

FITTING = (
    *("INPUT.FORMAT", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD", "MODEL.ANCHOR_GENERATOR", "MODEL.PROPOSAL_GENERATOR"),
    *("MODEL.RPN", "MODEL.ROI_HEADS", "MODEL.ROI_BOX_HEAD", "MODEL.ROI_MASK_HEAD", "MODEL.SEM_SEG_HEAD"),
)
"""Sections that a head's weights mean something for, but for what only tests read."""


class StandIn(nn.Module):
    """Takes a body's place in a detector that trains a head.

    Attributes:
        levels: of the features.
        step: of the training; its features are given.
        features: where they come from.
    """

    def __init__(self, features: BodyFeatures) -> None:
        super().__init__()
        self.levels = features.levels
        self.step = 0
        self.features = features

    def forward(self, images: Tensor) -> list[Tensor]:
        """The levels, finest first."""
        return self.features.at(self.step, images)


def train_head(
    task: Detectron2Task,
    bodies: Bodies,
    out: Path,
    options: HeadOptions,
    *,
    seed: int,
    device: str,
    progress: Progress,
) -> FitReport:
    """Train a head into ``out``, from where it stopped; see :class:`~aiop_core.capabilities.Sharing`.

    Everything random follows from the seed and the number of a step, so that on the CPU a
    training that was killed gives what an uninterrupted one would have given.

    Raises:
        DataError: if ``out`` holds another head, or there is no room.
        LabelError: if the loss is not finite any more, or the GPU has too little memory.
        OptionError: if bodies vary in width, no body would learn, or one alone would speak of an image.
    """
    drawn, widths = task.options.data == SYNTHETIC, shared_widths(task.options.head_widths, bodies)
    cfg = scheduled(task.cfg, head_schedule(options, bodies.family, drawn=drawn), options.lr)
    records = learnable(task.data[0].records, cfg)
    ready = FrozenBodies(bodies, widths, device, calibration_images(records, cfg, seed, device))
    size = population_size(options, bodies.strata, drawn=drawn)
    fitting = _fitting(task, cfg, widths, ready.levels)
    origin = plain({**fitting, **_origin(task, bodies, options, size, cfg, seed)})
    if (out / CARD).is_file():
        card = read_card(out)
        require(card["origin"], origin, what=f"head in {out}", advice=ELSEWHERE, error=DataError)
        return FitReport(card["report"])
    stand_in = StandIn(_features(ready, options, size, cfg, seed=seed, device=device))
    model = task.model(stand_in, cfg=cfg, head_widths=())
    redraw(model, seed)
    learner = Training(model.detector.to(device).to(memory_format=torch.channels_last).train(), cfg)
    state = HeadTraining(head_of(model), learner.optimiser)
    state.resume(out, origin, device)
    learner.step = learner.scheduler.last_epoch = state.step
    every = options.save_every or (SYNTHETIC_SAVE_EVERY if drawn else SAVE_EVERY)
    _train(state, learner, stand_in, records, cfg, out, origin, every, seed, progress)
    report = {"loss": state.loss, "steps": float(state.step)}
    write_head(out, state.head, {"origin": origin, "report": report, **fitting})
    return FitReport(report)


def calibration_images(records: Sequence[Record], cfg: CfgNode, seed: int, device: str) -> Tensor:
    """The images that bodies' batch-norm statistics are measured on: those of the first steps, normalised."""
    steps = -(-min(CALIBRATION, len(records)) // cfg.SOLVER.IMS_PER_BATCH)
    mean, std = (torch.tensor(v, device=device).view(-1, 1, 1) for v in (cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD))
    images = [image["image"] for batch in batches(records, cfg, seed, 0, steps) for image in batch]
    together: Tensor = ImageList.from_tensors([(image.to(device) - mean) / std for image in images], COARSEST).tensor
    return together


def scheduled(cfg: CfgNode, schedule: Schedule, lr: float | None) -> CfgNode:
    """The config with another schedule."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS = schedule.iterations, schedule.steps
    cfg.SOLVER.IMS_PER_BATCH = schedule.batch or cfg.SOLVER.IMS_PER_BATCH
    cfg.SOLVER.BASE_LR = lr or cfg.SOLVER.BASE_LR
    if schedule.warmup is not None:
        cfg.SOLVER.WARMUP_ITERS = schedule.warmup
    return cfg


def head_of(model: DetectionModel) -> nn.ModuleDict:
    """All of a model but its body; the modules are its own."""
    parts = dict(model.detector.named_children())
    return nn.ModuleDict({"pyramid": parts.pop("backbone").get_submodule("pyramid"), **parts})


def _features(
    bodies: FrozenBodies, options: HeadOptions, size: int, cfg: CfgNode, *, seed: int, device: str
) -> BodyFeatures:
    if options.method == "swap":
        learning = partial(build_optimizer, cfg)
        return SwappedBodies(bodies, options.swap, options.freeze, learning, seed=seed, device=device)
    return SampledBodies(bodies, size, seed=seed, device=device)


def _train(
    state: HeadTraining,
    learner: Training,
    stand_in: StandIn,
    records: Sequence[Record],
    cfg: CfgNode,
    out: Path,
    origin: Origin,
    save_every: int,
    seed: int,
    progress: Progress,
) -> None:
    steps, saved = cfg.SOLVER.MAX_ITER, state.step
    for batch in batches(records, cfg, seed, state.step, steps):
        stand_in.step = state.step
        loss = learner.learn(batch, seed)
        stand_in.features.learn()
        state.loss += (loss - state.loss) * (RECENT if state.step else 1)
        state.step += 1
        if state.step - saved >= save_every and stand_in.features.resumable(state.step):
            state.save(out, origin)
            saved = state.step
        progress(state.step, steps, f"loss {loss:.4g}")


def _origin(
    task: Detectron2Task, bodies: Bodies, options: HeadOptions, size: int, cfg: CfgNode, seed: int
) -> Mapping[str, Any]:
    """What decides a head's weights, beside what it must fit."""
    swapping = {"swap": options.swap, "freeze": options.freeze}
    return {
        "method": options.method,
        **(swapping if options.method == "swap" else {"per_stratum": size}),
        **{key: value for key, value in leaves(cfg, DECIDING) if key not in RUNTIME},
        "channels": task.options.channels,
        "train": task.data[0].mark,
        **bodies_origin(bodies),
        "seed": seed,
    }


def _fitting(task: Detectron2Task, cfg: CfgNode, widths: Sequence[int], levels: Sequence[Level]) -> dict[str, Any]:
    """What a model and its task must have that take the head, so that nothing is measured on what it learnt from.

    However many drawn images there are to train on, none measures in the same world.
    """
    options, drawn = task.options, task.options.data == SYNTHETIC
    return {
        "data": options.data,
        "input_size": task.input_hw[0],
        **({"data_seed": options.data_seed} if drawn else {"train": task.data[0].mark, "val": task.data[1].mark}),
        "parts": list(task.parts),
        "widths": list(widths),
        "levels": [[level.channels, level.stride] for level in levels],
        **{key: value for key, value in leaves(cfg, FITTING) if not key.endswith("_TEST")},
    }


def leaves(cfg: CfgNode, sections: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Keys with dots, and their values, of some sections of a config, or of keys in them."""
    for section in sections:
        node: Any = cfg
        for name in section.split("."):
            node = node[name]
        if isinstance(node, Mapping):
            yield from leaves(cfg, [f"{section}.{name}" for name in node])
        else:
            yield section, node


def attach(task: Detectron2Task, backbone: Backbone, folder: Path) -> DetectionModel:
    """The backbone with the head of a folder; the weights of both stay as they are.

    The model's config has the schedule by which its family is fine-tuned.

    Raises:
        WeightsError: if the head is damaged, made for other bodies or other options of the task, or trained on
            other data, which may be those that the task measures on.
    """
    card = read_card(folder)
    widths = task.options.head_widths or tuple(card.get("widths", ()))
    needed = [max(pair) for pair in zip_longest(widths, (v.channels for v in backbone.levels), fillvalue=0)]
    levels = [Level(width, level.stride) for width, level in zip(needed, backbone.levels, strict=False)]
    cfg = task.cfg
    advice = "use the options that the head was trained with and a body of its family, or train another head"
    wanted = _fitting(task, cfg, widths, levels)
    require(card, wanted, what=f"head in {folder}", advice=advice, error=WeightsError)
    tuning = tuning_schedule(card["origin"]["family"], drawn=task.options.data == SYNTHETIC)
    model = task.model(backbone, cfg=scheduled(cfg, tuning, None), head_widths=widths)
    read_weights(folder, head_of(model))
    return model


def finetune(
    task: Detectron2Task, model: DetectionModel, options: SharedOptions, *, seed: int, device: str, progress: Progress
) -> None:
    """Train what ``attach`` made in place, without drawing the head anew.

    Raises:
        DataError: if an image cannot be read, or a checkpoint cannot be read or written.
        LabelError: if the loss is not finite any more, or the GPU has too little memory.
    """
    solver = model.cfg.SOLVER
    schedule = Schedule(solver.MAX_ITER, solver.STEPS, solver.IMS_PER_BATCH, solver.WARMUP_ITERS)
    schedule = schedule.changed(options.iterations, options.steps, options.batch, options.warmup)
    cfg = scheduled(model.cfg, schedule, options.lr)
    with frozen(model.detector.get_submodule("backbone.body"), really=options.freeze_body):
        fit(
            model.detector,
            learnable(task.data[0].records, cfg),
            cfg,
            seed=seed,
            device=device,
            gpus=task.options.gpus,
            progress=progress,
            checkpoint=task.checkpoint(model.detector, cfg, seed),
        )
