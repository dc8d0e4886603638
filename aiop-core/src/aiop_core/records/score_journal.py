"""The journal of a scoring: what a killed one has computed so far."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiop_core.errors import CacheError


class ScoreJournal:
    """A file of JSON lines: what is computed, then the scores of one architecture after the other.

    Args:
        path: opened, or made.
        identity: what decides the scores; a journal of another one is refused.

    Raises:
        CacheError: if the file is of something else, or cannot be read or written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.found: dict[tuple[str, str], dict[str, float]] = {}
        if path.exists():
            self._read(json.loads(json.dumps(identity)))
        else:
            self._write(identity)

    def add(self, family: str, spec: str, scores: Mapping[str, float]) -> None:
        """Keep the scores of an architecture; they are on disk when this returns."""
        self._write([family, spec, dict(scores)])
        self.found[family, spec] = dict(scores)

    def _read(self, identity: Any) -> None:
        whole = self.path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]  # a last line without end was cut short by a kill
        try:
            first, *lines = [json.loads(line) for line in kept.splitlines()] or [identity]
            self.found = {(family, spec): dict(scores) for family, spec, scores in lines}
        except (ValueError, TypeError) as error:
            raise CacheError(f"{self.path} is damaged ({error}); delete it to compute the scores anew") from None
        if first != identity:
            raise CacheError(
                f"{self.path} was left by a scoring with other options or of another cache; "
                "give the same again to finish it, or delete it"
            )
        if len(kept) < len(whole):
            os.truncate(self.path, len(kept))
        if not kept:
            self._write(identity)

    def _write(self, entry: Any) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CacheError(f"{self.path} cannot be written: {error.strerror}; mend that and run it again") from error
