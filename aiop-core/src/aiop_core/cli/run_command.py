"""``aiop run``: from architectures to a trained predictor and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.plugin_options import PluginCommand, config_option, options_of_use, plugin_option, selection

if TYPE_CHECKING:
    from aiop_core.pipeline.run import LabelPlan, RunResult
    from aiop_core.pipeline.shared_head import SharePlan

EXAMPLES = """\b
Examples:
  aiop run --task TASK --family FAMILY --count 40
  aiop run --task TASK --family FAMILY --labels shared    # one head for all, fine-tuned for short on each
"""


@click.command(
    "run", cls=PluginCommand, kinds=("family", "task", "predictor"), uses=("latents", "head", "shared"), epilog=EXAMPLES
)
@plugin_option("task", "What architectures are trained and measured on.", required=True)
@plugin_option("family", "The search space that they are drawn from.", required=True)
@plugin_option("predictor", "What learns from the labels; the preferred or only installed one by default.")
@flags.count_option
@flags.labels_option("--labels")
@flags.folder_option("--head", "A shared head that 'aiop head' made; by default one is trained in the run folder.")
@click.option("--metric", metavar="NAME", help="What to predict; the task's main metric by default.")
@click.option(
    "--folds", type=click.IntRange(min=2), default=5, show_default=True, help="Parts of the cross-validation."
)
@flags.seed_option
@flags.device_option
@flags.out_option("Run folder; runs/TASK-FAMILY by default. A run there is resumed.")
@flags.profiler_option
@flags.executor_option
@config_option
@flags.dry_run_option
@flags.json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    metric: str | None,
    folds: int,
    dry_run: bool,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Sample architectures, train and measure each, fit a predictor, and report.

    The same command again goes on where a killed one stopped: a finished architecture is
    never trained twice. The run folder then holds the options, versions and seed, the
    labels and graphs, the predictor, and report.html.
    """
    from aiop_core.cli.view import open_view, print_json
    from aiop_core.pipeline.run import RunPlan, run

    app: App = ctx.obj
    labels = label_plan(ctx, arguments)
    makes_head = arguments["mode"] == "shared" and arguments["head"] is None
    sharing = (share_plan(ctx, "latents", labels), share_plan(ctx, "head", labels)) if makes_head else None
    plan = RunPlan(labels, selection(ctx, "predictor"), metric, folds, sharing)
    if dry_run:
        for chosen in (labels.family, labels.task):
            app.registry.make(chosen)
        print_json(plan.config() | {"out": str(labels.out), "device": labels.device})
        return
    with open_view() as view:
        result = run(app.registry, plan, view)
    if as_json:
        print_json(result_json(result))
    else:
        print_result(result)


def label_plan(ctx: click.Context, arguments: dict[str, Any]) -> LabelPlan:
    """The labelling half of a command's flags."""
    from aiop_core.pipeline.device import resolve_device
    from aiop_core.pipeline.run import LabelPlan

    family, task = selection(ctx, "family"), selection(ctx, "task")
    shared, head = arguments["mode"] == "shared", arguments["head"]
    if head is not None and not shared:
        raise click.UsageError("--head is for shared labels; say so, or leave it out", ctx)
    out = arguments["out"] or Path("runs") / f"{task.name}-{family.name}{'-shared' if shared else ''}"
    return LabelPlan(
        out=out,
        family=family,
        task=task,
        count=arguments["count"],
        start=arguments.get("start", 0),
        seed=arguments["seed"],
        device=resolve_device(arguments["device"]),
        profilers=arguments["profilers"],
        executor=arguments["executor"],
        head=head or out / "head" if shared else None,
        shared=options_of_use(ctx, "shared") if shared else None,
    )


def share_plan(ctx: click.Context, use: str, plan: LabelPlan) -> SharePlan:
    """Latents or a head for the labels of ``plan``, in a folder of its own below the run's."""
    from aiop_core.pipeline.shared_head import SharePlan

    return SharePlan(plan.out / use, plan.family, plan.task, options_of_use(ctx, use), plan.seed, plan.device)


def result_json(result: RunResult) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "out": str(result.out),
        "metric": result.cache.metric.name,
        "labels": len(result.cache),
        "labelled": len(result.summary.labelled),
        "skipped": len(result.summary.skipped),
        "failed": result.summary.failed,
        "evaluation": result.evaluation,
        "scores": result.comparison.scores,
        "measured": {
            metric.name: dict(zip(("mean", "lowest", "highest"), values, strict=True))
            for metric, values in result.measured.items()
        },
    }


def print_result(result: RunResult) -> None:
    """The table of scores and where everything lies."""
    from aiop_core.cli.view import print_table
    from aiop_core.pipeline.scores import SHOWN, score_text, value_text

    metric = result.cache.metric
    for one, values in result.measured.items():
        mean, lowest, highest = (value_text(value, one) for value in values)
        click.echo(f"{one.name}: {mean} on average, {lowest} to {highest}")
    print_table(
        f"{metric.name} of {len(result.cache)} architectures",
        ["predictor", *SHOWN.values()],
        [
            [name, *(score_text(scores[key], key, metric) for key in SHOWN)]
            for name, scores in result.comparison.scores.items()
        ],
    )
    click.echo(result.evaluation)
    click.echo(f"Report: {result.out / 'report.html'}\nPredictor: {result.out / 'predictor'}")
    others = [one.name for one in result.measured if one != metric]
    if others:
        click.echo(f"The same labels tell {', '.join(others)}; repeat with --metric to predict one of them.")
