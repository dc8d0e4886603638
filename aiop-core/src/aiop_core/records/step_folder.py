"""A folder that one long step fills, once: what it is of, whether it is complete, and who is at it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from aiop_core.errors import DataError, OptionError
from aiop_core.records.json_file import write_json
from aiop_core.records.store import difference

CARD, LOCK = "card.json", "lock"

FORMAT = 1
"""Of the card; raised when an older reader would misread it."""


@dataclass(frozen=True)
class Card:
    """What a folder says of itself.

    Attributes:
        kind: such as ``latents``.
        identity: what decides the content, as JSON values.
        finished: whether it is complete.
        report: what the step told when it ended.
    """

    kind: str
    identity: Mapping[str, Any]
    finished: bool
    report: Mapping[str, float]


@dataclass(frozen=True)
class StepFolder:
    """A folder for the result of a step.

    Attributes:
        path: the folder, made when the step begins.
        kind: what the step makes; also the command that makes it.
        identity: what decides the result; a folder of another one is refused.
        provenance: stands in the card.
    """

    path: Path
    kind: str
    identity: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @contextmanager
    def claimed(self, say: Callable[[str], None]) -> Iterator[bool]:
        """The folder, for this process alone; gives whether anything is left to do.

        A card is worth nothing as long as nothing lies beside it, so that a mistake that is
        noticed later does not take the folder.

        Raises:
            DataError: if the folder holds something else.
            OptionError: if it cannot be made.
        """
        make_folder(self.path)
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another process is at {self.path}: waiting for it")
            lock.acquire()
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error.strerror}; name another with --out") from None
        try:
            yield self._begin(say)
        finally:
            lock.release()

    def finish(self, report: Mapping[str, float]) -> None:
        """Say that the folder is complete."""
        self._write(finished=True, report=report)

    def _begin(self, say: Callable[[str], None]) -> bool:
        begun = any(p.name not in (CARD, LOCK) and p.suffix != ".part" for p in self.path.iterdir())
        card = read_card(self.path)
        if card is None and begun:
            raise DataError(f"{self.path} holds something else than {self.kind}; name an empty folder with --out")
        if card is None or not begun:
            self._write(finished=False, report={})
            return True
        wanted = json.loads(json.dumps(self.identity))
        if card.kind != self.kind:
            raise DataError(f"{self.path} holds {card.kind}, not {self.kind}; name another folder with --out")
        if card.identity != wanted:
            raise DataError(
                f"{self.path} was made with other options ({difference(card.identity, wanted)}); give those, "
                "or another folder with --out"
            )
        if card.finished:
            say(f"{self.kind}: finished before, in {self.path}")
        return not card.finished

    def _write(self, *, finished: bool, report: Mapping[str, float]) -> None:
        content = {"kind": self.kind, "identity": self.identity, "finished": finished, "report": dict(report)}
        write_json(self.path / CARD, {"format": FORMAT, **content, "provenance": self.provenance})


def make_folder(path: Path) -> None:
    """Make the folder that ``--out`` names, if it is not there.

    Raises:
        OptionError: if it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"--out {path} cannot be made: {error.strerror}; name another folder") from None


def read_card(folder: Path) -> Card | None:
    """What lies in a folder; ``None`` if no step filled it.

    Raises:
        DataError: if the card is damaged or of another version.
    """
    try:
        found = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise DataError(f"{folder / CARD} has format {found['format']}, this aiop reads {FORMAT}; make it again")
        return Card(found["kind"], found["identity"], found["finished"], found["report"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / CARD} is damaged ({error}); delete the folder and make it again") from None


def finished_card(folder: Path, kind: str) -> Card:
    """The card of a complete folder of a kind.

    Raises:
        DataError: if there is none, it is damaged, of something else, or the folder is not complete.
    """
    card = read_card(folder)
    if card is None:
        raise DataError(f"{folder} holds no {kind} ({CARD} is missing); 'aiop {kind}' makes a folder of them")
    if card.kind != kind:
        raise DataError(f"{folder} holds {card.kind}, not {kind}; name a folder that 'aiop {kind}' made")
    if not card.finished:
        raise DataError(f"the {kind} in {folder} is not finished; run the 'aiop {kind}' of that folder again first")
    return card
