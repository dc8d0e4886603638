"""What tasks promise that share a head, beside what every task does. Give small options."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiop_core.capabilities import Sharing
from aiop_core.contracts import Backbone, Level, silent
from aiop_core.testing.promise import require
from aiop_core.testing.randomness import global_seed
from aiop_core.testing.tasks import first_difference


@dataclass(frozen=True)
class ReferenceBodies:
    """The :class:`~aiop_core.capabilities.Bodies` of which all are equally wide."""

    family: str = "reference"
    strata: int = 1
    widest: tuple[Level, ...] | None = None

    def spec(self, number: int) -> str:
        """Of two depths and two kernels in turn, so that their features differ."""
        return f"d{1 + number % 2}-w8-k{3 + 2 * (number // 2 % 2)}"

    def body(self, number: int) -> Backbone:
        """The same weights for the same number."""
        import torch

        from aiop_core.testing.reference import ReferenceFamily

        family = ReferenceFamily()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            return family.backbone(family.parse(self.spec(number)))


@dataclass(frozen=True)
class MakeHead:
    """A task that shares heads, and the options of its steps."""

    task: Sharing
    latents_options: Any
    head_options: Any
    shared_options: Any
    bodies: ReferenceBodies = field(default_factory=ReferenceBodies)

    @contextmanager
    def head(self, seed: int = 7) -> Iterator[Path]:
        """A folder with a trained head."""
        with tempfile.TemporaryDirectory() as folder:
            latents, out = Path(folder, "latents"), Path(folder, "head")
            latents.mkdir()
            out.mkdir()
            self.task.prepare()
            reads = self.task.reads_latents(self.head_options)
            if reads:
                self.task.collect_latents(self.bodies, latents, self.latents_options, device="cpu", progress=silent)
            self.task.train_head(
                self.bodies,
                latents if reads else None,
                out,
                self.head_options,
                seed=seed,
                device="cpu",
                progress=silent,
            )
            yield out

    def attached(self, head: Path, number: int = 0) -> Any:
        """The model of a body with the head."""
        return self.task.attach(self.bodies.body(number), head)


def a_shared_head_can_be_measured_on_any_body(make: MakeHead) -> None:
    """Bodies with the head have the metrics and the graphs of the task."""
    names = sorted(metric.name for metric in make.task.metrics)
    with make.head() as head:
        for number in (0, 1):
            model = make.attached(head, number)
            found = sorted(make.task.evaluate(model, device="cpu")), sorted(make.task.graphs(model))
            require(found == (names, names), f"a body with the shared head gives {found}, the metrics are {names}")


def attaching_keeps_the_weights_of_body_and_head(make: MakeHead) -> None:
    """The model's body has its own weights still, and its head the same weights each time."""
    with make.head() as head:
        body = make.bodies.body(0)
        before = copy.deepcopy(cast(Any, body).state_dict())
        first = make.task.attach(body, head).state_dict()
        lost = first_difference(before, cast(Any, body).state_dict(), 0.0)
        require(not lost, f"attach changed the body's '{lost}'")
        differs = first_difference(first, make.attached(head).state_dict(), 0.0)
        require(not differs, f"attach gave other weights the second time: '{differs}'")


def training_a_head_is_seeded(make: MakeHead) -> None:
    """One seed trains a head to the same weights, whatever the global random state."""
    states = []
    for number in (1, 2):
        with global_seed(number), make.head() as head:
            states.append(make.attached(head).state_dict())
    differs = first_difference(states[0], states[1], 1e-5)
    require(not differs, f"two heads trained with one seed differ in '{differs}'; use a generator made from the seed")


def finetuning_changes_the_model_and_is_seeded(make: MakeHead) -> None:
    """``finetune`` trains what ``attach`` made, in the same way for the same seed."""
    with make.head() as head:
        start = make.attached(head).state_dict()
        states = []
        for number in (1, 2):
            model = make.attached(head)
            with global_seed(number):
                make.task.finetune(model, make.shared_options, seed=7, device="cpu", progress=silent)
            states.append(model.state_dict())
    require(bool(first_difference(start, states[0], 0.0)), "finetune left every weight as it was")
    differs = first_difference(states[0], states[1], 1e-5)
    require(not differs, f"two fine-tunings with one seed differ in '{differs}'; use a generator made from the seed")


SHARING_CHECKS: tuple[Callable[[MakeHead], None], ...] = (
    a_shared_head_can_be_measured_on_any_body,
    attaching_keeps_the_weights_of_body_and_head,
    training_a_head_is_seeded,
    finetuning_changes_the_model_and_is_seeded,
)
"""In the order in which an author meets them."""
