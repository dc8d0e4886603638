"""What a person sees: bars with an ETA on a terminal, plain lines in a log, all on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from aiop_core.capabilities import Finding

MAX_TITLE = 40
"""Longer titles, such as a large network's spec, are cut."""

LINE_EVERY_S = 10.0
"""How often a long stage writes a line where there is no terminal."""


class TerminalView:
    """Bars for the running stages; finished inner stages vanish."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def say(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(text, highlight=False, markup=False)

    def stage(self, title: str) -> Any:
        """A bar that appears with its first step and goes with its last."""
        shown = _short(title)

        def step(done: int, total: int, note: str = "") -> None:
            if title not in self._tasks:
                self._tasks[title] = self._progress.add_task(shown, total=total, note=note)
            self._progress.update(self._tasks[title], completed=done, total=total, note=note)
            if done >= total:
                self._progress.remove_task(self._tasks.pop(title))

        return step


class LineView:
    """Plain lines: each stage's start, end, and one in a while between."""

    def say(self, text: str) -> None:
        """One line."""
        click.echo(text, err=True)

    def stage(self, title: str) -> Any:
        """Lines ``title: 3/24, ETA 1:20 note``, at most one in ``LINE_EVERY_S`` but the last."""
        begun: list[tuple[float, int]] = []  # when the first report came, and what was behind it then
        last = time.monotonic()

        def step(done: int, total: int, note: str = "") -> None:
            nonlocal last
            now = time.monotonic()
            if not begun:
                begun.append((now, done))
            if done < total and now - last < LINE_EVERY_S:
                return
            last = now
            since, first = begun[0]
            eta = ""
            if first < done < total:
                left = (now - since) / (done - first) * (total - done)
                eta = f", ETA {int(left // 60)}:{int(left % 60):02d}"
            self.say(f"{_short(title)}: {done}/{total}{eta}{f'  {note}' if note else ''}")

        return step


def _short(title: str) -> str:
    return title if len(title) <= MAX_TITLE else f"{title[: MAX_TITLE - 1]}…"


@contextmanager
def open_view() -> Iterator[TerminalView | LineView]:
    """Bars if stderr is a terminal, else lines."""
    if not sys.stderr.isatty():
        yield LineView()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=600) as progress:
        yield TerminalView(progress)


def print_json(value: Any) -> None:
    """JSON on stdout, and nothing else there; ``null`` for numbers that are not finite."""
    from aiop_core.records.json_file import finite_json

    click.echo(json.dumps(finite_json(value), indent=2))


def print_findings(findings: Sequence[Finding], *, places: bool = False) -> None:
    """A line for each, on stdout, and one with its advice; with the place where something was found if so asked."""
    for finding in findings:
        mark = "ok     " if finding.found is not None else "MISSING" if finding.required else "absent "
        place = f" ({finding.path})" if places and finding.found is not None and finding.path.name else ""
        click.echo(f"{mark} {finding.name}{': ' if finding.found else ''}{finding.found or ''}{place}")
        if finding.advice:
            click.echo(f"        {finding.advice}")


def findings_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """For ``print_json``."""
    return [{**asdict(finding), "path": str(finding.path)} for finding in findings]


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> None:
    """A table on stdout; the first ``texts`` columns are text, the others numbers."""
    table = Table(title=title or None, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < texts else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 160
    Console(highlight=False, markup=False, width=width).print(table)
