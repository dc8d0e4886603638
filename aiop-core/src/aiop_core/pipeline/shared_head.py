"""Latents and shared heads: what a family's bodies say of images, and one head that serves them all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiop_core.capabilities import Sharing
from aiop_core.contracts import FitReport
from aiop_core.errors import DataError, OptionError, WeightsError
from aiop_core.options import options_dict
from aiop_core.pipeline.bodies import DrawnBodies
from aiop_core.pipeline.prepare import prepare
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry, Selection
from aiop_core.records.json_file import write_json
from aiop_core.records.step_folder import Card, StepFolder, finished_card
from aiop_core.records.store import difference

SHARING = ("reads_latents", "collect_latents", "train_head", "attach", "finetune")
"""What a task must have to share a head."""


@dataclass(frozen=True)
class SharePlan:
    """What latents or a head are made of.

    Attributes:
        out: the folder.
        family: the search space, with its options.
        task: with its options.
        options: of the step, as the task's registration says.
        seed: of everything random.
        device: a torch device.
    """

    out: Path
    family: Selection
    task: Selection
    options: Any
    seed: int
    device: str

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the result."""
        return {
            "family": self.family.to_json(runtime=False),
            "task": self.task.to_json(runtime=False),
            "options": options_dict(self.options, runtime=False),
            "seed": self.seed,
        }

    def config(self, step: str) -> dict[str, Any]:
        """As a config file of ``step``, ``latents`` or ``head``."""
        chosen = {"family": self.family.to_json(), "task": self.task.to_json(), "seed": self.seed}
        return chosen | {step: options_dict(self.options)}


def sharing_task(registry: PluginRegistry, selection: Selection) -> Sharing:
    """The task, if it can share a head.

    Raises:
        OptionError: if it cannot.
    """
    task: Any = registry.make(selection)
    missing = [name for name in SHARING if not hasattr(task, name)]
    if missing:
        raise OptionError(
            f"the task '{selection.name}' cannot share a head over a family (it has no {', '.join(missing)}); "
            "give labels individual"
        )
    sharing: Sharing = task
    return sharing


def collect_latents(registry: PluginRegistry, plan: SharePlan, view: View) -> None:
    """Collect a family's latents into ``plan.out``; what a killed collection left is gone on with.

    Raises:
        DataError: if the folder holds something else.
    """
    task, family = sharing_task(registry, plan.task), registry.make(plan.family)
    identity = plan.identity | {"task": decided(plan.task, task)} | fingerprints(family, task)
    folder = StepFolder(plan.out, "latents", identity, _origin(plan))
    with folder.claimed(view.say) as unfinished:
        if unfinished:
            prepare(task, view)
            bodies = DrawnBodies(plan.family.name, family, seed=plan.seed)
            task.collect_latents(bodies, plan.out, plan.options, device=plan.device, progress=view.stage("latents"))
            write_json(plan.out / "options.json", plan.config("latents"))
            folder.finish({})


def train_head(registry: PluginRegistry, plan: SharePlan, latents: Path | None, view: View) -> dict[str, float]:
    """Train a shared head into ``plan.out``; a killed training is gone on with.

    Args:
        registry: of what is installed.
        plan: what is to be done.
        latents: a folder of ``collect_latents``.
        view: told how far it is.

    Returns:
        What the training told, such as its loss.

    Raises:
        DataError: if the latents are incomplete or of another family, or the folder holds something else.
        OptionError: if there are latents and nothing would read them.
    """
    task, family = sharing_task(registry, plan.task), registry.make(plan.family)
    prints = fingerprints(family, task)
    identity = plan.identity | {"task": decided(plan.task, task)} | prints
    if latents is not None:
        if not task.reads_latents(plan.options):
            raise OptionError("a head of these options reads no latents; leave out --latents, or choose another method")
        card = finished_card(latents, "latents")
        _same_family(card, plan.family, prints, f"latents in {latents}")
        identity |= {"latents": _digest(card.identity)}
    folder = StepFolder(plan.out, "head", identity, _origin(plan))
    with folder.claimed(view.say) as unfinished:
        if unfinished:
            prepare(task, view)
            report: FitReport = task.train_head(
                DrawnBodies(plan.family.name, family, seed=plan.seed),
                latents,
                plan.out,
                plan.options,
                seed=plan.seed,
                device=plan.device,
                progress=view.stage("shared head"),
            )
            given = {"latents": str(latents)} if latents else {}
            write_json(plan.out / "options.json", plan.config("head") | given)
            folder.finish(report.values)
    return dict(finished_card(plan.out, "head").report)


def fingerprints(family: Any, task: Any) -> dict[str, str]:
    """What decides labels beside a family's and a task's options: :class:`~aiop_core.capabilities.Fingerprinted`."""
    found = {
        name: plugin.fingerprint()
        for name, plugin in (("weights", family), ("data", task))
        if hasattr(plugin, "fingerprint")
    }
    return {name: text for name, text in found.items() if text}


def decided(selection: Selection, task: Any) -> dict[str, Any]:
    """A task's options as JSON values, those left open with what they came to, if the task says it.

    So that labels made before a default changed are never mixed with those made after.
    """
    told = task.resolved() if hasattr(task, "resolved") else {}
    options = selection.to_json(runtime=False)
    return {name: told.get(name) if value is None else value for name, value in options.items()}


def train_head_with_latents(
    registry: PluginRegistry, latents: SharePlan, head: SharePlan, view: View
) -> dict[str, float]:
    """Train a shared head; if it learns from latents, they are collected first. What is finished is not made again.

    Returns:
        What the training told.

    Raises:
        DataError: if a folder holds something else.
    """
    wanted = sharing_task(registry, head.task).reads_latents(head.options)
    if wanted:
        collect_latents(registry, latents, view)
    return train_head(registry, head, latents.out if wanted else None, view)


def head_identity(head: Path, family: Selection, prints: Mapping[str, str]) -> str:
    """What tells a head from others, for labels made with it.

    Args:
        head: its folder.
        family: whose bodies are labelled.
        prints: ``fingerprints`` of them and of the task.

    Raises:
        DataError: if there is no complete head in the folder.
        WeightsError: if it was trained for another family, or bodies of other weights.
    """
    card = finished_card(head, "head")
    try:
        _same_family(card, family, prints, f"the head in {head}")
    except DataError as error:
        raise WeightsError(str(error)) from None
    return _digest(card.identity)


def _origin(plan: SharePlan) -> dict[str, Any]:
    return provenance() | {"device": plan.device}


def _same_family(card: Card, family: Selection, prints: Mapping[str, str], what: str) -> None:
    theirs, ours = card.identity["family"], json.loads(json.dumps(family.to_json(runtime=False)))
    if theirs["name"] != ours["name"]:
        raise DataError(
            f"{what}: made for the family '{theirs['name']}', not for '{ours['name']}'; give one made for it"
        )
    if theirs != ours:
        raise DataError(f"{what}: made with other options of the family ({difference(theirs, ours)}); give the same")
    if card.identity.get("weights") != prints.get("weights"):
        raise DataError(f"{what}: made when the family's weights were others; make it again, in another folder")


def _digest(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
