"""Rounds: one predictor, learnt from some labels, judged on others; each is kept as soon as it is done."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiop_core.errors import StoreError
from aiop_core.metrics import Interval
from aiop_core.records.json_file import finite_json

ROUNDS = "rounds.jsonl"


@dataclass(frozen=True)
class Round:
    """One contender, trained on some labels, judged on others.

    Attributes:
        train: how many labels were asked for.
        learnt: how many it learnt from; isomorphic graphs stay together.
        seed: of split and fit.
        name: the contender's.
        test: how many labels it was judged on.
        scores: metric name to (value, low, high); nan where not defined.
        seconds: of fit and prediction.
        source: the number of the data set that the labels are of.
    """

    train: int
    learnt: int
    seed: int
    name: str
    test: int
    scores: Mapping[str, Interval]
    seconds: float
    source: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Round:
        """Read back what ``asdict`` and JSON made of it."""
        scores = {
            key: tuple(math.nan if value is None else float(value) for value in interval)
            for key, interval in data["scores"].items()
        }
        return cls(**{**data, "scores": scores})


Key = tuple[int, int, str]
"""What a fit is known by: labels asked for, seed, contender."""


class RoundLog:
    """The finished rounds of a command, one line a fit in ``rounds.jsonl``; a killed command goes on there.

    Args:
        path: the file; nothing is kept if ``None``.
        identity: what decides the rounds besides their keys: labels, options.
        restart: forget what is there.

    Raises:
        StoreError: if the file is of another identity, or damaged, or a folder.
    """

    def __init__(
        self, path: Path | None = None, identity: Mapping[str, Any] | None = None, *, restart: bool = False
    ) -> None:
        self._path = path
        self._done: dict[Key, list[Round]] = {}
        if path is None:
            return
        if path.is_dir():
            raise StoreError(f"{path} is a folder, and finished rounds are kept in a file of that name; remove it")
        begun = path.read_bytes().count(b"\n") if path.is_file() else 0
        if restart or begun < 2:  # nothing was finished that could be lost
            path.write_text(json.dumps({"identity": identity}) + "\n", encoding="utf-8")
            return
        whole, _, torn = path.read_bytes().rpartition(b"\n")
        if torn:  # cut short by a kill
            os.truncate(path, len(whole) + 1)
        try:
            header, *lines = [json.loads(line) for line in whole.splitlines()]
            known = header["identity"]
            for line in lines:
                rounds = [Round.from_json(item) for item in line]
                self._done[_key(rounds[0])] = rounds
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise StoreError(f"{path} is damaged ({error}); begin anew with --restart") from None
        wanted = json.loads(json.dumps(identity))
        if known != wanted:
            other = [key for key in dict.fromkeys([*known, *wanted]) if known.get(key) != wanted.get(key)]
            raise StoreError(
                f"{path} is of a command with other {', '.join(other)}; give the same again, "
                "name another folder with --out, or begin anew with --restart"
            )

    def __len__(self) -> int:
        return len(self._done)

    def get(self, train: int, seed: int, name: str) -> list[Round] | None:
        """The rounds of a fit that is done."""
        return self._done.get((train, seed, name))

    def append(self, rounds: Sequence[Round]) -> None:
        """Keep the rounds of one fit; they are on disk when this returns.

        Raises:
            StoreError: if they cannot be written.
        """
        self._done[_key(rounds[0])] = list(rounds)
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([finite_json(asdict(item)) for item in rounds]) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(
                f"{self._path} cannot be written ({error.strerror}); mend that and run the same command again"
            ) from error


def command_of(path: Path) -> str | None:
    """Which command the rounds in a file are of, where the file can tell."""
    try:
        with path.open(encoding="utf-8") as file:
            found: str | None = json.loads(file.readline())["identity"]["command"]
            return found
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _key(item: Round) -> Key:
    return item.train, item.seed, item.name
