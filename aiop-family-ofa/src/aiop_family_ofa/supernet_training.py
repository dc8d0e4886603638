"""Training of shared weights: the sandwich rule and in-place distillation.

Each step trains the largest network on the lesson, then the smallest and some random ones on the
lesson and on the largest one's outputs. All of them are slices of one set of weights, so that a
sub-network is the same module as after the training, run on tensors that gradients flow through.

Source: Yu and Huang, "Universally Slimmable Networks", ICCV 2019 (sandwich rule, in-place
distillation); optimiser and regularisation as in the once-for-all library.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from aiop_core.capabilities import Lesson
from aiop_core.contracts import Architecture, FitReport, Progress
from aiop_core.errors import DataError, OptionError, WeightsError
from aiop_core.options import options_dict
from aiop_family_ofa import supernet_files as files
from aiop_family_ofa.channel_order import sort_channels
from aiop_family_ofa.shrinking import ALL, Phase, phase_at
from aiop_family_ofa.space import Space
from aiop_family_ofa.students import Students, seeded
from aiop_family_ofa.training_options import TrainingOptions, resolve

A = TypeVar("A", bound=Architecture)

ROUND = 50
"""Steps that share one stream of batches, whose seed follows from its number: a resumed training sees the same."""

PROBE_BATCHES = 2
PROBED = 3
"""Random sub-networks whose loss is told before and after."""

CALIBRATED = 64
"""Images that are kept beside the weights: enough for the features' correlations, and little work for each body."""

_CURVE = 200
"""About so many points of the loss curve are kept."""


@dataclass
class _Progress:
    """Where a training is.

    Attributes:
        step: how many are behind.
        curve: the losses of some steps, one a row: step, largest, smallest.
        before: the probed networks' losses at the start.
        seconds: that it took so far.
    """

    step: int
    curve: list[list[float]]
    before: dict[str, float]
    seconds: float = 0.0


def train(
    space: Space[A],
    lesson: Lesson | None,
    out: Path,
    options: TrainingOptions,
    *,
    seed: int,
    device: str,
    progress: Progress,
) -> FitReport:
    """Train shared weights into ``out / "supernet.pth"``; see :class:`~aiop_core.capabilities.WeightSharing`.

    A training on a task leaves the classifier as it was drawn; features come from trained weights.

    Raises:
        DataError: if there is nothing to learn from, or ``out`` holds another training or cannot be written.
        OptionError: if there are two things to learn from.
        WeightsError: if the loss is not finite any more.
    """
    options = resolve(options, task=lesson is not None)
    lr = options.lr
    assert lr is not None  # resolve() saw to it
    taught, identity = _lesson(space, lesson, options, seed)
    finished = files.load_report(out, identity)
    if finished:
        try:
            files.load_images(out)
        except WeightsError:  # missing or damaged, which cannot be seen in the weights
            files.save(_calibration_images(taught, seed, device), out / files.IMAGES)
        return FitReport(finished["values"])
    students = Students(space, lesson, seed, device)
    optimiser = _optimiser(students.parameters, options)
    at = _resume(students, optimiser, out, identity) or _Progress(0, [], _probe(students, taught, seed, device))
    saved = began = time.monotonic()
    phases = space.phases if options.shrinking == "progressive" else (Phase("all", 1, ALL),)
    for step, (images, target) in enumerate(_stream(taught, at.step, seed, device), at.step):
        if step >= options.steps:
            break
        phase = phase_at(phases, step / options.steps)
        earlier = phase_at(phases, max(step - 1, 0) / options.steps)
        if phase.elastic.ratios != earlier.elastic.ratios:
            sort_channels(students.supernet, space, earlier.elastic, partial(_moments, optimiser))
        for group in optimiser.param_groups:
            group["lr"] = lr * rate(step / options.steps, options.warmup)
        rng = np.random.default_rng([seed, step])
        networks = students.draw(phase.elastic, options.networks, rng)
        with seeded(int(rng.integers(2**63)), device):
            losses = _learn(students, taught, networks, images, target, options.distillation)
        if not all(map(math.isfinite, losses)):
            raise WeightsError(f"the loss became {losses[0]} in step {step + 1}; lower lr, now {lr:g}")
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        at.step = step + 1
        if step % max(1, options.steps // _CURVE) == 0:
            at.curve.append([step, losses[0], losses[min(1, len(losses) - 1)]])
        progress(
            at.step,
            options.steps,
            f"{phase.name}: loss {losses[0]:.4g}, smallest {losses[min(1, len(losses) - 1)]:.4g}",
        )
        if time.monotonic() - saved >= options.save_every:
            at.seconds, began = at.seconds + time.monotonic() - began, time.monotonic()
            _save(students, optimiser, at, out, identity)
            saved = time.monotonic()
    at.seconds += time.monotonic() - began
    after = _probe(students, taught, seed, device)
    values = {f"loss_{name}": value for name, value in after.items()} | {"seconds": round(at.seconds, 1)}
    curve = [dict(zip(("step", "largest", "smallest"), row, strict=True)) for row in at.curve]
    files.save(students.supernet.published(space), out / files.WEIGHTS)
    files.save(_calibration_images(taught, seed, device), out / files.IMAGES)
    report = {"identity": identity, "values": values, "before": at.before, "after": after, "curve": curve}
    files.save(report, out / files.REPORT)
    (out / files.CHECKPOINT).unlink(missing_ok=True)
    return FitReport(values)


def rate(share: float, warmup: float) -> float:
    """The learning rate relative to its highest, after ``share`` of all steps: a line up, half a cosine down."""
    if share < warmup:
        return max(share / warmup, 0.05)
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))


def _learn(
    students: Students[A], lesson: Lesson, networks: Sequence[A], images: Tensor, target: Any, distillation: float
) -> list[float]:
    """Add up the gradients of ``networks``, the largest one first; gives their losses."""
    teacher: Tensor | None = None
    losses = []
    for architecture in networks:
        outputs = students.outputs(architecture, images)
        loss = lesson.loss(outputs, target)
        losses.append(float(loss.detach()))
        if teacher is None:
            teacher = outputs.detach()
        elif distillation:
            loss = (1 - distillation) * loss + distillation * lesson.distance(outputs, teacher)
        (loss / len(networks)).backward()
    return losses


@torch.no_grad()
def _probe(students: Students[A], lesson: Lesson, seed: int, device: str) -> dict[str, float]:
    """The mean loss of some sub-networks on the same few batches each time; nothing changes by it."""
    networks = students.draw(ALL, PROBED, np.random.default_rng(seed))
    names = ["largest", "smallest", *(f"random {i + 1}" for i in range(len(networks) - 2))]
    losses = dict.fromkeys(names, 0.0)
    with seeded(seed, device):
        for images, target in itertools.islice(lesson.batches(seed=_seed(seed, -1), device=device), PROBE_BATCHES):
            for name, architecture in zip(names, networks, strict=True):
                outputs = students.outputs(architecture, images, training=False)
                losses[name] += float(lesson.loss(outputs, target)) / PROBE_BATCHES
    return losses


def _lesson(
    space: Space[Any], lesson: Lesson | None, options: TrainingOptions, seed: int
) -> tuple[Lesson, dict[str, Any]]:
    """What is taught, and what tells this training from others."""
    identity = {"supernet": space.title, "seed": seed, **options_dict(options, runtime=False)}
    if lesson and options.images:
        raise OptionError(f"a task and images '{options.images}' were given; learn from one of them")
    if lesson:
        return lesson, identity | {"learns": type(lesson).__name__}
    if options.images is None:
        raise DataError(
            "there is nothing to learn from; give a task, or images, a folder with a sub-folder for each class"
        )
    from aiop_family_ofa.image_folder import ImageFolder

    taught = ImageFolder(options.images, options)
    return taught, identity | {"learns": str(taught)}


def _calibration_images(lesson: Lesson, seed: int, device: str) -> Tensor:
    """Images on which each sub-network's batch-norm statistics are measured when it is made."""
    found: list[Tensor] = []
    for images, _ in lesson.batches(seed=_seed(seed, -1), device=device):
        found += images.half().cpu()
        if len(found) >= CALIBRATED:
            break
    return torch.stack(found[:CALIBRATED])


def _stream(lesson: Lesson, start: int, seed: int, device: str) -> Iterator[tuple[Tensor, Any]]:
    """The batches of step ``start`` and all later ones."""
    for number in itertools.count(start // ROUND):
        batches = lesson.batches(seed=_seed(seed, number), device=device)
        yield from itertools.islice(batches, start % ROUND if number == start // ROUND else 0, ROUND)


def _seed(seed: int, number: int) -> int:
    """Of the batches of a round, or of the probe, which has the number -1."""
    return int(np.random.SeedSequence([seed, number + 1]).generate_state(1)[0])


def _optimiser(parameters: Sequence[Tensor], options: TrainingOptions) -> torch.optim.Optimizer:
    """Weight decay for matrices and kernels only."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if options.optimiser == "adam":
        return torch.optim.Adam(groups)
    return torch.optim.SGD(groups, momentum=options.momentum, nesterov=options.momentum > 0)


def _moments(optimiser: torch.optim.Optimizer, weight: Tensor) -> list[Tensor]:
    """What the optimiser remembers of each number of a weight."""
    found = optimiser.state.get(weight, {}).values()
    return [value for value in found if isinstance(value, Tensor) and value.shape == weight.shape]


def _save(students: Students[Any], optimiser: torch.optim.Optimizer, at: _Progress, out: Path, identity: Any) -> None:
    state = {"supernet": students.supernet.tensors, "head": students.head.state_dict()}
    learnt = {name: {key: tensor.detach() for key, tensor in part.items()} for name, part in state.items()}
    where = {"identity": identity, "at": vars(at), "optimiser": optimiser.state_dict()}
    files.save(learnt | where, out / files.CHECKPOINT)


def _resume(
    students: Students[Any], optimiser: torch.optim.Optimizer, out: Path, identity: dict[str, Any]
) -> _Progress | None:
    found = files.load_checkpoint(out, identity)
    if found is None:
        return None
    with torch.no_grad():
        for name, tensor in students.supernet.tensors.items():
            tensor.copy_(found["supernet"][name])
    students.head.load_state_dict(found["head"])
    optimiser.load_state_dict(found["optimiser"])
    return _Progress(**found["at"])
