"""The label store: an append-only file of checksummed records that several processes share.

``records.jsonl`` has one line for each finished architecture, written in one piece, flushed
and synced, so that a killed run loses at most the architecture in flight. ``store.json``
says what the labels are labels of; other options are refused instead of mixed in.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from aiop_core.errors import StoreError
from aiop_core.records.json_file import write_json
from aiop_core.records.record import Record

VERSION = 1
RECORDS = "records.jsonl"
HEADER, LOCK = "store.json", "store.lock"


class LabelStore:
    """The records of one folder.

    Args:
        folder: made if it does not exist and ``identity`` is given.
        identity: what decides the labels (family, task, their options, seed) as JSON
            values; ``None`` opens an existing store whatever it holds.

    Raises:
        StoreError: if the folder holds no store, one of another identity, or a damaged one.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self._records: dict[str, Record] = {}
        self._read = 0
        if identity is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"run folder {folder} cannot be made: {error.strerror}; name another with --out"
                ) from None
        elif not (folder / HEADER).is_file():
            raise StoreError(
                f"{folder} holds no label store ({HEADER} is missing); 'aiop label' or 'aiop run' makes one"
            )
        self._lock = FileLock(folder / LOCK)
        with self._lock:
            self.identity = self._open(identity)
        self.refresh()

    def _open(self, identity: Mapping[str, Any] | None) -> dict[str, Any]:
        header = self.folder / HEADER
        if header.is_file():
            try:
                found = json.loads(header.read_text())
                version, known = found["version"], dict(found["identity"])
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(
                    f"{header} is damaged ({error}); take the folder's backup, or use another --out"
                ) from None
            if version != VERSION:
                raise StoreError(f"{header} has version {version}; this aiop reads version {VERSION}: update aiop")
            wanted = json.loads(json.dumps(identity)) if identity is not None else known
            if wanted != known and (self.folder / RECORDS).exists():
                raise StoreError(
                    f"{self.folder} holds labels made with other options ({difference(known, wanted)}); "
                    "give those options, or another folder with --out"
                )
            if wanted == known:
                return known
        elif found := [p.name for p in self.folder.iterdir() if p.is_file() and p.name != LOCK and p.suffix != ".part"]:
            raise StoreError(
                f"{self.folder} holds something else than labels ({', '.join(sorted(found)[:3])}); "
                "name an empty folder with --out"
            )
        write_json(header, {"format": "aiop-label-store", "version": VERSION, "identity": identity})
        return dict(json.loads(header.read_text())["identity"])

    def refresh(self) -> None:
        """Read what was appended since the last look, by this process or another.

        Raises:
            StoreError: if a complete line does not match its checksum.
        """
        path = self.folder / RECORDS
        if not path.is_file():
            return
        with path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # cut short by a kill, or being written right now
                if line.strip():
                    record = self._parse(line)
                    self._records[record.spec] = record
                self._read += len(line)

    def _parse(self, line: bytes) -> Record:
        number = f"the record at byte {self._read} of {self.folder / RECORDS}"
        mend = "delete that line to keep the others and label the architecture again"
        try:
            entry = json.loads(line)
            checksum, data = entry["checksum"], entry["record"]
        except (ValueError, KeyError, TypeError):
            raise StoreError(f"{number} is not readable; {mend}") from None
        if checksum != _checksum(data):
            raise StoreError(f"{number} does not match its checksum; {mend}")
        return Record.from_json(data)

    def append(self, record: Record) -> None:
        """Add a record for good: it is on disk when this returns.

        Raises:
            StoreError: if it cannot be written, such as on a full disk; nothing is lost then.
        """
        data = record.to_json()
        line = json.dumps({"checksum": _checksum(data), "record": data}, separators=(",", ":")) + "\n"
        path = self.folder / RECORDS
        with self._lock:
            try:
                with path.open("ab+") as file:
                    file.seek(0, os.SEEK_END)
                    end = _repaired_end(file)
                    try:
                        file.write(line.encode())
                        file.flush()
                        os.fsync(file.fileno())
                    except OSError:
                        file.truncate(end)
                        raise
            except OSError as error:
                raise StoreError(
                    f"{path} cannot be written ({error.strerror}); mend that and run the same command again: "
                    "every label that was finished before is kept"
                ) from error
        self.refresh()

    @contextmanager
    def claim(self, spec: str, *, wait: bool = False) -> Iterator[bool]:
        """Keep other processes from labelling ``spec`` meanwhile; ends with the process at the latest.

        Gives ``False`` if another process has it (never if ``wait``) or has finished it.
        """
        claims = self.folder / "claims"
        claims.mkdir(exist_ok=True)
        lock = FileLock(claims / f"{hashlib.sha256(spec.encode()).hexdigest()[:16]}.lock")
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
        try:
            self.refresh()
            yield spec not in self
        finally:
            lock.release()

    def __contains__(self, spec: object) -> bool:
        return spec in self._records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def get(self, spec: str) -> Record | None:
        """The record of an architecture, if it is labelled."""
        return self._records.get(spec)


def _checksum(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def _repaired_end(file: Any) -> int:
    """Cut off a last line that a kill left unfinished; gives the file's length."""
    end: int = file.tell()
    while end:
        file.seek(end - 1)
        if file.read(1) == b"\n":
            break
        start = max(end - 65536, 0)
        file.seek(start)
        cut = file.read(end - start).rfind(b"\n")
        end = start + cut + 1
    file.truncate(end)
    file.seek(end)
    return end


def difference(known: Any, wanted: Any, path: str = "") -> str:
    """The first few places where two JSON values differ, in words."""
    if isinstance(known, Mapping) and isinstance(wanted, Mapping):
        parts = [
            difference(known.get(key), wanted.get(key), f"{path}.{key}" if path else key)
            for key in dict.fromkeys([*known, *wanted])
            if known.get(key) != wanted.get(key)
        ]
        return ", ".join(parts[:4])
    return f"{path} is {json.dumps(known)} there and {json.dumps(wanted)} here"
