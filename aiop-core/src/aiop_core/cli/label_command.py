"""``aiop label``: train and measure architectures into a run folder."""

from __future__ import annotations

from typing import Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.plugin_options import PluginCommand, config_option, plugin_option
from aiop_core.cli.run_command import label_plan

EXAMPLES = """\b
Examples:
  aiop label --task TASK --family FAMILY --count 10 --start 10      # the second ten of a seeded sample
  aiop label --task TASK --family FAMILY --mode shared --head runs/head
"""


@click.command("label", cls=PluginCommand, kinds=("family", "task"), uses=("shared",), epilog=EXAMPLES)
@plugin_option("task", "What architectures are trained and measured on.", required=True)
@plugin_option("family", "The search space that they are drawn from.", required=True)
@flags.count_option
@flags.start_option
@flags.labels_option("--mode")
@flags.folder_option("--head", "The shared head, which 'aiop head' made.")
@flags.seed_option
@flags.device_option
@flags.out_option("Run folder; runs/TASK-FAMILY by default. Several processes may label into one.")
@flags.profiler_option
@flags.executor_option
@config_option
@flags.dry_run_option
@flags.json_option
@click.pass_context
def command(ctx: click.Context, /, dry_run: bool, as_json: bool, **arguments: Any) -> None:
    """Train and measure architectures; each finished one is kept for good.

    Slices of one seeded sample (--start, --count) can be labelled by several processes at
    once: none is trained twice. The same command again goes on where a killed one stopped.
    """
    from aiop_core.cli.view import open_view, print_json
    from aiop_core.pipeline.run import label, sample
    from aiop_core.pipeline.scores import value_text

    app: App = ctx.obj
    if arguments["mode"] == "shared" and arguments["head"] is None:
        raise click.UsageError(
            "shared labels need a head; train one with 'aiop head' and give its folder with --head", ctx
        )
    plan = label_plan(ctx, arguments)
    if dry_run:
        app.registry.make(plan.task)
        specs = [architecture.spec for architecture in sample(app.registry.make(plan.family), plan)]
        print_json(plan.config() | {"out": str(plan.out), "device": plan.device, "specs": specs})
        return
    with open_view() as view:
        done = label(app.registry, plan, view)
    if as_json:
        records = [{"spec": r.spec, "labels": dict(r.labels), "details": dict(r.details)} for r in done.store]
        summary = {"labelled": done.summary.labelled, "skipped": done.summary.skipped, "failed": done.summary.failed}
        print_json({"out": str(plan.out), **summary, "records": records})
    else:
        click.echo(f"{done.summary}; {len(done.store)} labels in {plan.out}")
        for metric in done.task.metrics:
            values = sorted(record.labels[metric.name] for record in done.store)
            if values:
                least, mean, most = (value_text(v, metric) for v in (values[0], sum(values) / len(values), values[-1]))
                click.echo(f"{metric.name}: {least} to {most}, mean {mean}")
