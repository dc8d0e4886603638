"""How a step tells what it does: a few words, and progress with a total."""

from __future__ import annotations

from typing import Protocol

from aiop_core.contracts import Progress, silent


class View(Protocol):
    """Where the steps of a pipeline speak; a terminal, a log, or nothing."""

    def say(self, text: str) -> None:
        """One line for the user."""
        ...

    def stage(self, title: str) -> Progress:
        """Progress under a title, until the total is reached."""
        ...


class Quiet:
    """A view that shows nothing."""

    def say(self, text: str) -> None:
        """Swallow a line."""

    def stage(self, title: str) -> Progress:
        """Progress that goes nowhere."""
        return silent
