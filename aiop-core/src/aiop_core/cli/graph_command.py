"""``aiop graph``: computation graphs, seen, compared and kept."""

from __future__ import annotations

import click

from aiop_core.cli.lazy import LazyGroup

COMMANDS = ("show", "draw", "diff", "save")
"""In the order of ``aiop graph --help``; each is a module of this package."""


@click.group("graph", cls=LazyGroup, modules={name: f"aiop_core.cli.graph_{name}" for name in COMMANDS})
def command() -> None:
    """Look at computation graphs."""
