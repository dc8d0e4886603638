"""``aiop latents``: what a family's bodies see in each image, on average and around it."""

from __future__ import annotations

from typing import Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.head_command import share_plan
from aiop_core.cli.plugin_options import PluginCommand, config_option, plugin_option

EXAMPLES = """\b
Examples:
  aiop latents --task TASK --family FAMILY --out runs/latents
  aiop head --task TASK --family FAMILY --latents runs/latents --out runs/head
"""


@click.command("latents", cls=PluginCommand, kinds=("family", "task"), uses=("latents",), epilog=EXAMPLES)
@plugin_option("task", "Whose images are looked at.", required=True)
@plugin_option("family", "The search space whose bodies look.", required=True)
@flags.seed_option
@flags.device_option
@flags.out_option("Where they go; runs/TASK-FAMILY-latents by default.")
@config_option
@flags.dry_run_option
@flags.json_option
@click.pass_context
def command(ctx: click.Context, /, dry_run: bool, as_json: bool, **arguments: Any) -> None:
    """Collect mean and deviation of a family's features for every image of a task.

    A rolling population of bodies looks at the images, one body making room for the next with
    each image. A shared head learns from them. The same command again goes on where a killed
    one stopped.
    """
    from aiop_core.cli.view import open_view, print_json
    from aiop_core.pipeline.shared_head import collect_latents, sharing_task

    app: App = ctx.obj
    plan = share_plan(ctx, "latents", arguments)
    if dry_run:
        app.registry.make(plan.family)
        sharing_task(app.registry, plan.task)
        print_json(plan.config("latents") | {"out": str(plan.out), "device": plan.device})
        return
    with open_view() as view:
        collect_latents(app.registry, plan, view)
    if as_json:
        print_json({"out": str(plan.out)})
    else:
        click.echo(f"Latents: {plan.out}")
