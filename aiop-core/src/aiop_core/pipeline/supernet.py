"""``aiop supernet train``: a family's shared weights, learnt from a task or from what the family's options name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiop_core.capabilities import Lesson
from aiop_core.contracts import FitReport
from aiop_core.errors import OptionError
from aiop_core.options import options_dict
from aiop_core.pipeline.prepare import prepare
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.shared_head import fingerprints
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry, Selection
from aiop_core.records.step_folder import StepFolder


@dataclass(frozen=True)
class SupernetPlan:
    """What to train.

    Attributes:
        out: the folder.
        family: the search space, with its options.
        task: what it learns, with its options; ``None`` leaves that to ``options``.
        options: as the family's registration says.
        seed: of everything random.
        device: a torch device.
    """

    out: Path
    family: Selection
    task: Selection | None
    options: Any
    seed: int
    device: str

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the result."""
        return self.config(runtime=False)

    def config(self, *, runtime: bool = True) -> dict[str, Any]:
        """As a config file."""
        return {
            "family": self.family.to_json(runtime=runtime),
            "task": self.task.to_json(runtime=runtime) if self.task else None,
            "supernet": options_dict(self.options, runtime=runtime),
            "seed": self.seed,
        }


def train_supernet(registry: PluginRegistry, plan: SupernetPlan, view: View) -> Mapping[str, float]:
    """Train shared weights into ``plan.out``; a killed training is gone on with, a finished one is not repeated.

    Returns:
        What the training told, such as its losses.

    Raises:
        DataError: if there is nothing to learn from, or the folder holds something else.
        OptionError: if the task cannot teach.
    """
    family: Any = registry.make(plan.family)
    if not hasattr(family, "train_supernet"):
        raise OptionError(f"the family '{plan.family.name}' cannot train shared weights; name another")
    task = registry.make(plan.task) if plan.task else None
    lesson = _lesson(task, plan.task.name, view) if plan.task else None
    origin = provenance() | {"device": plan.device}
    folder = StepFolder(plan.out, "supernet", plan.identity | fingerprints(family, task), origin)
    with folder.claimed(view.say):  # a finished one, too: the family knows best what is left to do
        report: FitReport = family.train_supernet(
            lesson, plan.out, plan.options, seed=plan.seed, device=plan.device, progress=view.stage("supernet")
        )
        folder.finish(report.values)
    return dict(report.values)


def _lesson(task: Any, name: str, view: View) -> Lesson:
    if not hasattr(task, "lesson"):
        raise OptionError(
            f"shared weights cannot be trained on the task '{name}'; name another, "
            "or what the family's own options learn from"
        )
    prepare(task, view)
    lesson: Lesson = task.lesson()
    return lesson
