"""``aiop supernet``: weights that all architectures of a family share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.plugin_options import (
    PluginCommand,
    config_option,
    optional_selection,
    options_of_use,
    plugin_option,
    selection,
)

EXAMPLES = """\b
Examples:
  aiop supernet train --family FAMILY --task TASK --out runs/supernet
  aiop supernet train --family FAMILY --help     # what else the family can learn from
"""


@click.group("supernet")
def command() -> None:
    """Train weights that all architectures of a family share."""


@command.command("train", cls=PluginCommand, kinds=("family", "task"), uses=("supernet",), epilog=EXAMPLES)
@plugin_option("family", "The search space.", required=True)
@plugin_option("task", "What is learnt; else what the family's own options say.")
@flags.seed_option
@flags.device_option
@flags.out_option("Where the weights go; runs/FAMILY-supernet by default, or runs/TASK-FAMILY-supernet.")
@config_option
@flags.dry_run_option
@flags.json_option
@click.pass_context
def train(
    ctx: click.Context, /, seed: int, device: str, out: Path | None, dry_run: bool, as_json: bool, **_: Any
) -> None:
    """Train weights of which every architecture takes its slice.

    For where published ones cannot be had. The family's option 'weights' reads the folder. The
    same command again goes on where a killed one stopped.
    """
    from aiop_core.cli.view import open_view, print_json
    from aiop_core.pipeline.device import resolve_device
    from aiop_core.pipeline.supernet import SupernetPlan, train_supernet

    app: App = ctx.obj
    family, task = selection(ctx, "family"), optional_selection(ctx, "task")
    name = f"{task.name}-{family.name}" if task else family.name
    plan = SupernetPlan(
        out or Path("runs") / f"{name}-supernet",
        family,
        task,
        options_of_use(ctx, "supernet"),
        seed,
        resolve_device(device),
    )
    if dry_run:
        for chosen in (family, task) if task else (family,):
            app.registry.make(chosen)
        print_json(plan.config() | {"out": str(plan.out), "device": plan.device})
        return
    with open_view() as view:
        report = train_supernet(app.registry, plan, view)
    if as_json:
        print_json({"out": str(plan.out), "report": report})
    else:
        told = ", ".join(f"{name} {value:.4g}" for name, value in report.items())
        click.echo(f"Shared weights: {plan.out}" + (f" ({told})" if told else ""))
