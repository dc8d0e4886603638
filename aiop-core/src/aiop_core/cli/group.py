"""``build_cli``: the group of commands, each loaded when it is used."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

import click

from aiop_core.cli.lazy import LazyGroup
from aiop_core.plugins import PluginRegistry

COMMANDS = (
    "run",
    "label",
    "supernet",
    "latents",
    "head",
    "agreement",
    "profile",
    "train",
    "adapt",
    "evaluate",
    "predict",
    "explain",
    "graph",
    "cache",
    "data",
    "plugins",
    "doctor",
    "check",
)
"""Built-in commands, in the order of ``aiop --help``; each is a module of this package."""


@dataclass(frozen=True)
class App:
    """What every command gets as ``ctx.obj``."""

    registry: PluginRegistry


def build_cli(registry: PluginRegistry) -> click.Group:
    """The whole command line over a registry; plugins add their own commands."""

    @click.group(
        cls=LazyGroup,
        modules={name: f"aiop_core.cli.{name}_command" for name in COMMANDS},
        context_settings={"help_option_names": ["-h", "--help"], "obj": App(registry), "max_content_width": 100},
        epilog="Options of a plugin appear in a command's help once it is named: aiop run --task NAME --help",
    )
    @click.version_option(metadata.version("aiop-core"), prog_name="aiop")
    @click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
    def aiop(debug: bool) -> None:
        """Predict how well a neural network will do on a task, without training it."""

    registry.add_commands(aiop)
    return aiop
