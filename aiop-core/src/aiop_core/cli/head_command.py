"""``aiop head``: one head that serves all bodies of a family."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.plugin_options import PluginCommand, config_option, options_of_use, plugin_option, selection

if TYPE_CHECKING:
    from aiop_core.pipeline.shared_head import SharePlan

EXAMPLES = """\b
Examples:
  aiop head --task TASK --family FAMILY --latents runs/latents --out runs/head
  aiop label --task TASK --family FAMILY --mode shared --head runs/head
"""


@click.command("head", cls=PluginCommand, kinds=("family", "task"), uses=("head",), epilog=EXAMPLES)
@plugin_option("task", "What the head is for.", required=True)
@plugin_option("family", "The search space whose bodies it serves.", required=True)
@flags.folder_option("--latents", "What 'aiop latents' collected; without it bodies are asked during training.")
@flags.seed_option
@flags.device_option
@flags.out_option("Where it goes; runs/TASK-FAMILY-head by default.")
@config_option
@flags.dry_run_option
@flags.json_option
@click.pass_context
def command(ctx: click.Context, /, latents: Path | None, dry_run: bool, as_json: bool, **arguments: Any) -> None:
    """Train a head that serves every body of a family.

    Bodies can then be measured after a short fine-tuning instead of a training each ('aiop label
    --mode shared'). The same command again goes on where a killed one stopped.
    """
    from aiop_core.cli.view import open_view, print_json
    from aiop_core.pipeline.shared_head import sharing_task, train_head

    app: App = ctx.obj
    plan = share_plan(ctx, "head", arguments)
    if dry_run:
        app.registry.make(plan.family)
        sharing_task(app.registry, plan.task)
        where = {"out": str(plan.out), "latents": str(latents) if latents else None, "device": plan.device}
        print_json(plan.config("head") | where)
        return
    with open_view() as view:
        report = train_head(app.registry, plan, latents, view)
    if as_json:
        print_json({"out": str(plan.out), "report": report})
    else:
        told = ", ".join(f"{name} {value:.4g}" for name, value in report.items())
        click.echo(f"Head: {plan.out}" + (f" ({told})" if told else ""))


def share_plan(ctx: click.Context, use: str, arguments: dict[str, Any]) -> SharePlan:
    """What a command's flags ask for."""
    from aiop_core.pipeline.device import resolve_device
    from aiop_core.pipeline.shared_head import SharePlan

    family, task = selection(ctx, "family"), selection(ctx, "task")
    return SharePlan(
        arguments["out"] or Path("runs") / f"{task.name}-{family.name}-{use}",
        family,
        task,
        options_of_use(ctx, use),
        arguments["seed"],
        resolve_device(arguments["device"]),
    )
