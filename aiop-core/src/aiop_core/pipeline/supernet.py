"""``aiop supernet train``: a family's shared weights, learnt from a task or from what the family's options name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiop_core.capabilities import Lesson
from aiop_core.errors import DataError, OptionError
from aiop_core.options import options_dict
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.scores import write_json
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry, Selection
from aiop_core.records.store import difference

PLAN = "plan.json"
"""Says what a folder's weights are trained for; the rest of the folder is the family's."""


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
    family = registry.make(plan.family)
    lesson = _lesson(registry, plan.task) if plan.task else None
    _claim(plan)
    report = family.train_supernet(
        lesson, plan.out, plan.options, seed=plan.seed, device=plan.device, progress=view.stage("supernet")
    )
    return dict(report.values)


def _lesson(registry: PluginRegistry, selection: Selection) -> Lesson:
    task: Any = registry.make(selection)
    if not hasattr(task, "lesson"):
        raise OptionError(
            f"shared weights cannot be trained on the task '{selection.name}'; name another, "
            "or what the family's own options learn from"
        )
    task.prepare()
    lesson: Lesson = task.lesson()
    return lesson


def _claim(plan: SupernetPlan) -> None:
    """Make the folder, or make sure that it is of this training."""
    path, ours = plan.out / PLAN, json.loads(json.dumps(plan.identity))
    theirs = ours
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        begun = any(found != path for found in plan.out.iterdir())
        if not begun:
            write_json(path, {"identity": ours, "device": plan.device, "provenance": provenance()})
        elif path.exists():
            theirs = json.loads(path.read_text(encoding="utf-8"))["identity"]
        else:
            raise DataError(f"{plan.out} holds something else than a supernet; name an empty folder with --out")
    except OSError as error:
        raise DataError(f"{plan.out} cannot be written: {error.strerror}; name another folder with --out") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); delete the folder and train again") from None
    if theirs != ours:
        raise DataError(
            f"{plan.out} was trained with other options ({difference(theirs, ours)}); give those, "
            "or another folder with --out"
        )
