"""``aiop data``: what of a task's data is there?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.plugin_options import PluginCommand, config_option, plugin_option, selection
from aiop_core.errors import ContractError

_PREPARE_EXAMPLES = """\b
Examples:
  aiop data prepare NAME --data-dir data
"""

_CHECK_EXAMPLES = """\b
Examples:
  aiop data check NAME --data-dir data
  aiop data check NAME --data-dir data --draw sheet.png
"""


class _TaskFirst(PluginCommand):
    """A command whose first argument may name the task, as ``--task`` does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write the name as a flag, then parse."""
        named = bool(args) and not args[0].startswith("-")
        return super().parse_args(ctx, ["--task", *args] if named else args)


@click.group("data")
def command() -> None:
    """See what of a task's data is there, and prepare it."""


@command.command("check", cls=_TaskFirst, kinds=("task",), options_metavar="TASK [OPTIONS]", epilog=_CHECK_EXAMPLES)
@plugin_option("task", "Whose data; the same as TASK.")
@click.option(
    "--draw",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write examples with their annotations as one image, such as sheet.png.",
)
@click.option(
    "--examples", type=click.IntRange(1, 100), default=8, show_default=True, metavar="N", help="How many --draw draws."
)
@config_option
@flags.json_option
@click.pass_context
def check(ctx: click.Context, /, draw: Path | None, examples: int, as_json: bool) -> None:
    """Say what of a task's data is found, what is missing, where it belongs and where it is published.

    Exits with 1 if something is missing that the options need.
    """
    from aiop_core.cli.view import findings_json, print_findings, print_json

    chosen = selection(ctx, "task")
    app: App = ctx.find_root().obj
    task: Any = app.registry.make(chosen)
    if not hasattr(task, "check_data"):
        raise ContractError(f"task '{chosen.name}' does not say what data it needs (no check_data); ask its authors")
    findings = list(task.check_data())
    missing = [finding for finding in findings if finding.required and finding.found is None]
    if as_json:
        print_json(
            {
                "task": chosen.name,
                "complete": not missing,
                "findings": findings_json(findings),
            }
        )
    else:
        print_findings(findings)
        needed = f"{len(missing)} are missing or damaged" if missing else "nothing is missing"
        click.echo(f"of what the options of task '{chosen.name}' need, {needed}")
        if not missing and any(finding.found is None for finding in findings):
            click.echo("what is absent belongs to other data than these options name")
    if draw:
        task.draw_data(draw, count=examples)
        click.echo(f"{draw} shows what is annotated", err=as_json)
    if missing:
        raise click.exceptions.Exit(1)


@command.command("prepare", cls=_TaskFirst, kinds=("task",), options_metavar="TASK [OPTIONS]", epilog=_PREPARE_EXAMPLES)
@plugin_option("task", "Whose data; the same as TASK.")
@config_option
@click.pass_context
def prepare(ctx: click.Context, /) -> None:
    """Make what a task makes of its data, and make sure that everything is there.

    Commands that train do so at their beginning. A killed preparation goes on where it stopped.
    """
    from aiop_core.cli.view import open_view
    from aiop_core.pipeline.prepare import prepare as prepare_data

    chosen = selection(ctx, "task")
    app: App = ctx.find_root().obj
    with open_view() as view:
        prepare_data(app.registry.make(chosen), view)
    click.echo(f"the data of task '{chosen.name}' are ready")
