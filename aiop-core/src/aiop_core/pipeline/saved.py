"""A fitted predictor on disk: its own files, and what aiop needs to use it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiop_core.contracts import Metric, Predictor
from aiop_core.errors import OptionError, WeightsError
from aiop_core.pipeline.rounds import ROUNDS, command_of
from aiop_core.pipeline.trust import Trust
from aiop_core.plugins import PluginRegistry
from aiop_core.records.json_file import write_json

CARD = "predictor.json"
LEARNT = "learnt.json"
VERSION = 1

Learnt = Mapping[str, Sequence[str]]
"""The fingerprints of the graphs that were learnt from, by the metric of their labels."""


@dataclass(frozen=True)
class PredictorCard:
    """What a saved predictor is.

    Attributes:
        predictor: its registered name.
        options: its options by name.
        metric: what it predicts.
        graphs: what the graphs it learnt from were made of: ``family`` and, for body and
            head, ``task``, each as a table with ``name`` and options; ``input_hw``.
        labels: how many labels it learnt from.
        scores: how it did on what it had not seen: metric to (value, low, high).
        evaluation: how these scores were made, in words.
        provenance: versions, command, seed.
        trust: how far its numbers may be believed; nothing where they are in no unit.
        sources: each data set that it was fitted on: name, metric, labels, graphs.
        adapters: each data set that it was adapted to since: name, metric, source, labels,
            options, scores.
        tuned: the target that it was brought to: name, labels, options; nothing if to none.
    """

    predictor: str
    options: Mapping[str, Any]
    metric: Metric
    graphs: Mapping[str, Any]
    labels: int
    scores: Mapping[str, Any]
    evaluation: str
    provenance: Mapping[str, Any]
    trust: Trust | None = None
    sources: Sequence[Mapping[str, Any]] = ()
    adapters: Sequence[Mapping[str, Any]] = ()
    tuned: Mapping[str, Any] | None = None

    @property
    def ranks_only(self) -> bool:
        """Whether its numbers order architectures, but are in no metric's unit."""
        return self.tuned is None and (len(self.sources) > 1 or bool(self.adapters))


def check_free(folder: Path, *, force: bool) -> None:
    """Make sure that saving into ``folder`` destroys no predictor that the user wants to keep.

    Raises:
        OptionError: if it holds one and ``force`` is not given.
    """
    if (folder / CARD).exists() and not force:
        raise OptionError(f"{folder} holds a predictor; name another folder with --out, or overwrite it with --force")


def check_replaceable(out: Path, *, command: str, given: Path | None = None) -> None:
    """Make sure that ``predictor`` in a folder for results is one that the same command saved there, or none.

    Rounds of two commands in one folder would hide whose predictor it is, so that this also
    goes for a command that saves none.

    Args:
        out: the folder.
        command: the name in the identity of its rounds.
        given: the folder of the predictor that the command begins with.

    Raises:
        OptionError: if it is another predictor.
    """
    folder = out / "predictor"
    if given is not None and folder.resolve() == given.resolve():
        raise OptionError(
            f"--out {out} holds the given predictor, which would be overwritten; name another folder with --out"
        )
    if (folder / CARD).exists() and command_of(out / ROUNDS) != command:
        raise OptionError(
            f"{folder} holds a predictor that 'aiop {command}' did not save; name another folder with --out"
        )


def save_predictor(folder: Path, predictor: Predictor, card: PredictorCard, learnt: Learnt | None = None) -> None:
    """Write the predictor's files, then the card: a folder without card is unfinished.

    Args:
        folder: made if it does not exist.
        predictor: fitted.
        card: what it is.
        learnt: what it learnt from, so that nobody tests on that; ``None`` if not known.

    Raises:
        OptionError: if the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{folder} cannot be made: {error.strerror}; name another folder") from None
    for name in (CARD, LEARNT):
        (folder / name).unlink(missing_ok=True)
    predictor.save(folder)
    if learnt is not None:
        write_json(folder / LEARNT, {metric: sorted(set(prints)) for metric, prints in learnt.items()})
    trust = card.trust.to_json() if card.trust else None
    write_json(folder / CARD, {"version": VERSION, **asdict(card), "trust": trust})


def read_card(folder: Path) -> PredictorCard:
    """What the predictor in ``folder`` is, without loading it.

    Raises:
        WeightsError: if the folder holds no predictor, or a damaged card.
    """
    path = folder / CARD
    if not path.is_file():
        inside = folder / "predictor"
        advice = f"did you mean {inside}?" if (inside / CARD).is_file() else "train, adapt, evaluate and run save one"
        raise WeightsError(f"{folder} holds no predictor ({CARD} is missing); {advice}")
    try:
        data = json.loads(path.read_text())
        version = data.pop("version")
        if version != VERSION:
            raise WeightsError(f"{path} has version {version}; this aiop reads {VERSION}: update aiop")
        trust = Trust.from_json(data["trust"]) if data.get("trust") else None
        return PredictorCard(**{**data, "metric": Metric(**data["metric"]), "trust": trust})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is damaged ({error}); train the predictor again") from error


def load_predictor(folder: Path, registry: PluginRegistry) -> tuple[Predictor, PredictorCard]:
    """A predictor ready to predict.

    Raises:
        WeightsError: if the folder holds no predictor, or a damaged one.
        UnknownNameError: if its kind of predictor is not installed.
    """
    card = read_card(folder)
    predictor: Predictor = registry.create("predictor", card.predictor, card.options)
    predictor.load(folder)
    return predictor, card


def read_learnt(folder: Path) -> dict[str, list[str]] | None:
    """The fingerprints of what the predictor in ``folder`` learnt from, by metric; ``None`` if not known.

    Raises:
        WeightsError: if the list is damaged.
    """
    path = folder / LEARNT
    try:
        return {metric: list(prints) for metric, prints in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise WeightsError(f"{path} is damaged ({error}); train the predictor again") from None
