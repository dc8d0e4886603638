"""Flags that several commands share, each said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

MAX_SIZE = 2**31 - 1
"""The largest height, width or number of channels that a graph holds."""

seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Every random choice follows from it."
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, or another torch device."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Check the options, say what would be done, and stop.")
count_option = click.option(
    "--count", type=click.IntRange(min=1), default=16, show_default=True, help="How many architectures to sample."
)
profiler_option = click.option(
    "--profiler", "profilers", multiple=True, metavar="NAME", help="Also store what this profiler says; repeatable."
)
executor_option = click.option(
    "--executor", metavar="NAME", help="What decides when each architecture is trained; one after the other by default."
)

start_option = click.option(
    "--start", type=click.IntRange(min=0), default=0, show_default=True, help="Leave out the first ones of the sample."
)
restart_option = click.option("--restart", is_flag=True, help="Begin anew, though the folder has finished rounds.")


def labels_option(name: str) -> Callable[[F], F]:
    """The flag ``name``: individual labels, or those of a shared head."""
    return click.option(
        name,
        "mode",
        type=click.Choice(["individual", "shared"]),
        default="individual",
        show_default=True,
        help="Train each architecture by itself, or one head for all, which each is measured with.",
    )


def folder_option(name: str, help: str) -> Callable[[F], F]:
    """A flag that names a folder."""
    return click.option(name, type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help=help)


def out_option(help: str, *, required: bool = False) -> Callable[[F], F]:
    """The flag ``--out`` with what the folder is for."""
    kind = click.Path(file_okay=False, path_type=Path)
    return click.option("--out", type=kind, metavar="FOLDER", help=help, required=required)


class Shape(click.ParamType[tuple[int, ...]]):
    """Whole numbers separated by commas, such as 3,224,224.

    Args:
        length: how many; any number if ``None``.
        minimum: the smallest that is allowed.
    """

    name = "numbers"

    def __init__(self, length: int | None = None, minimum: int = 1) -> None:
        self.length, self.minimum = length, minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers, or a usage error."""
        parts = value if isinstance(value, list | tuple) else str(value).split(",")
        try:
            numbers = tuple(int(part) for part in parts)
        except ValueError:
            numbers = ()
        if numbers and max(numbers) > MAX_SIZE:
            self.fail(f"'{value}' holds {max(numbers)}; sizes are at most {MAX_SIZE}", param, ctx)
        if not numbers or min(numbers) < self.minimum or (self.length and len(numbers) != self.length):
            what = f"{self.length} whole numbers" if self.length else "whole numbers"
            self.fail(f"'{value}' is not {what} of at least {self.minimum} separated by commas", param, ctx)
        return numbers
