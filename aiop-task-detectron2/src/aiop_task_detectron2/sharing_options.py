"""Every knob of shared heads and shared labels. ``None`` means *as the data and the family want it*."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aiop_core.errors import OptionError
from aiop_core.options import option

_README = "README of the paper's code"


@dataclass(frozen=True)
class HeadOptions:
    """Options of ``aiop head`` for ``detectron2``; what they leave open, but for the schedule, is the task's."""

    method: str = option(
        "sample",
        "sample: features drawn from mean and deviation of many bodies; swap: those of one body, then of the next",
        choices=("sample", "swap"),
        source="paper: latent sampling",
    )
    swap: int = option(10, "method swap: batches before the next body", minimum=1, source="paper's code")
    freeze: int | None = option(
        None,
        "method swap: train the bodies too, but for what the first so many levels need; none trains no body",
        minimum=0,
    )
    per_stratum: int | None = option(
        None,
        "method sample: bodies of each stratum that speak of one batch; real data 3, synthetic 1, of a family without "
        "strata 2",
        minimum=1,
        source=_README,
    )
    iterations: int | None = option(
        None, "steps of training; real data 250000, synthetic 200", minimum=1, source=_README
    )
    steps: tuple[int, ...] = option(
        (), "steps after which the learning rate falls; real data 166000,222000", minimum=1, source=_README
    )
    batch: int | None = option(None, "images per step; real data 8, of ofa_resnet 5", minimum=1, source=_README)
    lr: float | None = option(None, "highest learning rate; by default the task's", minimum=1e-9)
    save_every: int | None = option(
        None, "steps between two checkpoints of the training; real data 1000, synthetic 20", minimum=1, runtime=True
    )


@dataclass(frozen=True)
class SharedOptions:
    """Options of ``aiop label --mode shared`` for ``detectron2``: how a body is fine-tuned below the shared head."""

    iterations: int | None = option(
        None, "steps of training; real data 750, of ofa_resnet 1000, synthetic 30", minimum=1, source=_README
    )
    steps: tuple[int, ...] = option(
        (), "steps after which the learning rate falls; real data 465,635, of ofa_resnet 620,850", minimum=1
    )
    batch: int | None = option(
        None, "images per step; by default the task's, on real data of ofa_resnet 12", minimum=1, source=_README
    )
    lr: float | None = option(None, "highest learning rate; by default the task's", minimum=1e-9)
    warmup: int | None = option(
        None,
        "steps over which the learning rate rises; synthetic 5, real data detectron2's 1000, so that in the paper's "
        "750 steps it ends at a hundredth of the highest",
        minimum=0,
    )
    freeze_body: bool = option(False, "leave the body's weights as they are; its batch-norm statistics still follow")


@dataclass(frozen=True)
class Schedule:
    """How long something is trained.

    Attributes:
        iterations: steps in all.
        steps: after which the learning rate falls.
        batch: images a step; ``None``: as many as for an individual label.
        warmup: steps over which the learning rate rises; ``None``: as many as for an individual label.
    """

    iterations: int
    steps: tuple[int, ...] = ()
    batch: int | None = None
    warmup: int | None = None

    def changed(
        self, iterations: int | None, steps: tuple[int, ...], batch: int | None, warmup: int | None = None
    ) -> Schedule:
        """With what is given in place of its own; ``steps`` that are not given keep their shares of all iterations.

        Raises:
            OptionError: if a step lies behind the end.
        """
        whole = iterations or self.iterations
        if steps and max(steps) >= whole:
            raise OptionError(
                f"steps {', '.join(map(str, steps))} do not all come before the end of {whole} iterations; give "
                "earlier ones, or more iterations"
            )
        kept = {round(step / self.iterations * whole) for step in self.steps} - {0, whole}
        return Schedule(
            whole,
            tuple(sorted(set(steps) or kept)),
            batch or self.batch,
            self.warmup if warmup is None else warmup,
        )


PER_STRATUM = 3
"""Bodies of each stratum (``-sample_n`` in the README of the paper's code)."""

SYNTHETIC_PER_STRATUM = 1

HEAD = Schedule(250_000, (166_000, 222_000), 8)
HEADS: Mapping[str, Schedule] = {"ofa_resnet": replace(HEAD, batch=5)}
TUNING = Schedule(750, (465, 635))
TUNINGS: Mapping[str, Schedule] = {"ofa_resnet": Schedule(1000, (620, 850), 12)}
"""On real data: of head training and of fine-tuning, and of families that want it otherwise.

Source: tables in the README of the paper's code, "Training the shared head weights" and
"Training shared head architectures". They are for COCO, and hold for other data until they
are told otherwise.
"""

SYNTHETIC_HEAD = Schedule(200)
SYNTHETIC_TUNING = Schedule(30, warmup=5)
"""On drawn images, where the learning rate falls like a cosine."""

SAVE_EVERY, SYNTHETIC_SAVE_EVERY = 1000, 20
"""Steps; a checkpoint of a head on real data is some hundred megabytes."""


def head_schedule(options: HeadOptions, family: str, *, drawn: bool) -> Schedule:
    """How long a head is trained.

    Raises:
        OptionError: if a step lies behind the end.
    """
    default = SYNTHETIC_HEAD if drawn else HEADS.get(family, HEAD)
    return default.changed(options.iterations, options.steps, options.batch)


def tuning_schedule(family: str, *, drawn: bool) -> Schedule:
    """How long a body is fine-tuned."""
    return SYNTHETIC_TUNING if drawn else TUNINGS.get(family, TUNING)


def population_size(options: HeadOptions, strata: int, *, drawn: bool) -> int:
    """How many bodies of each stratum speak of a batch."""
    default = SYNTHETIC_PER_STRATUM if drawn else PER_STRATUM
    return options.per_stratum or max(default, 2 if strata == 1 else 1)
