"""Latents and shared heads: what a family's bodies say of images, and one head that serves them all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiop_core.capabilities import Sharing
from aiop_core.contracts import Family, FitReport
from aiop_core.errors import DataError, OptionError, WeightsError
from aiop_core.options import options_dict
from aiop_core.pipeline.bodies import DrawnBodies
from aiop_core.pipeline.provenance import provenance
from aiop_core.pipeline.scores import write_json
from aiop_core.pipeline.view import View
from aiop_core.plugins import PluginRegistry, Selection
from aiop_core.records.store import difference

CARD = "card.json"
"""Says what lies in a folder of latents or of a head, and whether it is complete."""

FORMAT = 1
"""Of the card; raised when an older reader would misread it."""


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

    def config(self) -> dict[str, Any]:
        """As a config file, the step's own options under ``options``."""
        chosen = {"family": self.family.to_json(), "task": self.task.to_json(), "seed": self.seed}
        return chosen | {"options": options_dict(self.options)}


def sharing_task(registry: PluginRegistry, selection: Selection) -> Sharing:
    """The task, if it can share a head.

    Raises:
        OptionError: if it cannot.
    """
    task: Any = registry.make(selection)
    if not hasattr(task, "train_head"):
        raise OptionError(f"the task '{selection.name}' cannot share a head over a family; give labels individual")
    sharing: Sharing = task
    return sharing


def collect_latents(registry: PluginRegistry, plan: SharePlan, view: View) -> None:
    """Collect a family's latents into ``plan.out``; what a killed collection left is gone on with.

    Raises:
        DataError: if the folder holds something else.
    """
    task = sharing_task(registry, plan.task)
    if not _begin(plan, "latents", plan.identity, view):
        return
    task.prepare()
    bodies = _bodies(registry, plan)
    task.collect_latents(bodies, plan.out, plan.options, device=plan.device, progress=view.stage("latents"))
    _finish(plan, "latents", plan.identity, {})


def train_head(registry: PluginRegistry, plan: SharePlan, latents: Path | None, view: View) -> dict[str, Any]:
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
    """
    task = sharing_task(registry, plan.task)
    identity = plan.identity
    if latents is not None:
        card = read_card(latents, "latents")
        _same_family(card, plan.family, f"latents in {latents}")
        identity |= {"latents": _digest(card["identity"])}
    if _begin(plan, "head", identity, view):
        task.prepare()
        report: FitReport = task.train_head(
            _bodies(registry, plan),
            latents,
            plan.out,
            plan.options,
            seed=plan.seed,
            device=plan.device,
            progress=view.stage("shared head"),
        )
        _finish(plan, "head", identity, report.values)
    return dict(read_card(plan.out, "head")["report"])


def train_head_with_latents(
    registry: PluginRegistry, latents: SharePlan, head: SharePlan, view: View
) -> dict[str, Any]:
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


def read_card(folder: Path, kind: str) -> dict[str, Any]:
    """The card of a complete folder of latents or of a head.

    Raises:
        DataError: if there is none, it is damaged, of something else, or the folder is not complete.
    """
    card = _card(folder)
    if card is None:
        raise DataError(f"{folder} holds no {kind} ({CARD} is missing); 'aiop {kind}' makes a folder of them")
    if card["kind"] != kind:
        raise DataError(f"{folder} holds {card['kind']}, not {kind}; name a folder that 'aiop {kind}' made")
    if not card["finished"]:
        raise DataError(f"the {kind} in {folder} is not finished; run the 'aiop {kind}' of that folder again first")
    return card


def head_identity(head: Path, family: Selection) -> str:
    """What tells a head from others, for labels made with it.

    Raises:
        DataError: if there is no complete head in the folder.
        WeightsError: if it was trained for another family.
    """
    card = read_card(head, "head")
    try:
        _same_family(card, family, f"the head in {head}")
    except DataError as error:
        raise WeightsError(str(error)) from None
    return _digest(card["identity"])


def _bodies(registry: PluginRegistry, plan: SharePlan) -> DrawnBodies:
    family: Family[Any] = registry.make(plan.family)
    return DrawnBodies(plan.family.name, family, seed=plan.seed)


def _begin(plan: SharePlan, kind: str, identity: Mapping[str, Any], view: View) -> bool:
    """Make or check the folder; whether anything is left to do."""
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--out {plan.out} cannot be made: {error.strerror}; name another folder") from None
    card = _card(plan.out)
    wanted = json.loads(json.dumps(identity))
    if card is None:
        if any(plan.out.iterdir()):
            raise DataError(f"{plan.out} holds something else than {kind}; name an empty folder with --out")
        _write(plan, kind, identity, finished=False, report={})
        return True
    if (card["kind"], card["identity"]) != (kind, wanted):
        said = difference(card["identity"], wanted) if card["kind"] == kind else f"it holds {card['kind']}"
        raise DataError(f"{plan.out} was made with other options ({said}); give those, or another folder with --out")
    if card["finished"]:
        view.say(f"{kind}: finished before, in {plan.out}")
    return not card["finished"]


def _finish(plan: SharePlan, kind: str, identity: Mapping[str, Any], report: Mapping[str, float]) -> None:
    _write(plan, kind, identity, finished=True, report=report)


def _write(
    plan: SharePlan, kind: str, identity: Mapping[str, Any], *, finished: bool, report: Mapping[str, float]
) -> None:
    card = {"format": FORMAT, "kind": kind, "identity": identity, "finished": finished, "report": dict(report)}
    try:
        write_json(plan.out / CARD, card | {"provenance": provenance(), "device": plan.device})
    except OSError as error:
        raise DataError(
            f"{plan.out / CARD} cannot be written: {error.strerror}; mend that and run the same command again"
        ) from None


def _card(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise DataError(f"{folder / CARD} has format {found['format']}, this aiop reads {FORMAT}; make it again")
        return {key: found[key] for key in ("kind", "identity", "finished", "report")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / CARD} is damaged ({error}); delete the folder and make it again") from None


def _same_family(card: Mapping[str, Any], family: Selection, what: str) -> None:
    theirs, ours = card["identity"]["family"], json.loads(json.dumps(family.to_json(runtime=False)))
    if theirs["name"] != ours["name"]:
        raise DataError(
            f"{what}: made for the family '{theirs['name']}', not for '{ours['name']}'; give one made for it"
        )
    if theirs != ours:
        raise DataError(f"{what}: made with other options of the family ({difference(theirs, ours)}); give the same")


def _digest(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
