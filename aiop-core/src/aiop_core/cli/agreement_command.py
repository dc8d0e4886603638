"""``aiop agreement``: do labels of a shared head rank bodies as individual labels do?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.plugin_options import PluginCommand, config_option, options_of_use, plugin_option
from aiop_core.cli.run_command import label_plan
from aiop_core.errors import OptionError
from aiop_core.options import option_fields, options_dict, suggest

if TYPE_CHECKING:
    from aiop_core.pipeline.agreement import Agreement

EXAMPLES = """\b
Examples:
  aiop agreement --task TASK --family FAMILY --count 20 --out runs/agreement
"""


@click.command(
    "agreement",
    cls=PluginCommand,
    kinds=("family", "task"),
    uses=("latents", "head", "shared"),
    epilog=EXAMPLES,
)
@plugin_option("task", "What bodies are measured on.", required=True)
@plugin_option("family", "The search space that they are drawn from.", required=True)
@flags.count_option
@flags.start_option
@click.option("--methods", metavar="A,B", help="Ways to train the shared head; all that the task has by default.")
@click.option("--metric", metavar="NAME", help="What to compare; the task's main metric by default.")
@flags.seed_option
@flags.device_option
@flags.out_option("Where everything goes; runs/TASK-FAMILY-agreement by default.")
@flags.profiler_option
@flags.executor_option
@config_option
@flags.dry_run_option
@flags.json_option
@click.pass_context
def command(
    ctx: click.Context, /, methods: str | None, metric: str | None, dry_run: bool, as_json: bool, **arguments: Any
) -> None:
    """Label the same bodies individually and with shared heads, and compare.

    For each way to train a shared head: the mean label, and how its labels rank the bodies beside
    individual ones. The same command again goes on where a killed one stopped.
    """
    from aiop_core.cli.view import open_view, print_json
    from aiop_core.pipeline.agreement import agreement

    app: App = ctx.obj
    plan = label_plan(ctx, arguments | {"mode": "individual", "head": None})
    plan = replace(
        plan,
        out=arguments["out"] or Path("runs") / f"{plan.task.name}-{plan.family.name}-agreement",
        shared=options_of_use(ctx, "shared"),
    )
    latents, head = options_of_use(ctx, "latents"), options_of_use(ctx, "head")
    heads = _heads(head, methods)
    config = plan.config() | {
        "methods": ",".join(heads),
        **({"metric": metric} if metric else {}),
        **{use: options_dict(o) for use, o in (("latents", latents), ("head", head), ("shared", plan.shared))},
    }
    if dry_run:
        for chosen in (plan.family, plan.task):
            app.registry.make(chosen)
        print_json(config | {"out": str(plan.out), "device": plan.device})
        return
    with open_view() as view:
        result = agreement(app.registry, plan, latents, heads, metric, view, config)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result, plan.out)


def _heads(options: Any, methods: str | None) -> dict[str, Any]:
    """Options of training a head for each of the task's methods, or of those that are asked for."""
    choices = next((field.choices for field in option_fields(type(options)) if field.name == "method"), None)
    if not choices:
        return {"head": options}
    known = [str(choice) for choice in choices]
    names = methods.split(",") if methods else known
    for name in names:
        if name not in known:
            raise OptionError(f"--methods names '{name}'; {suggest(name, known)}")
    return {name: replace(options, method=name) for name in names}


def _print(result: Agreement, out: Path) -> None:
    from aiop_core.cli.view import print_table
    from aiop_core.pipeline.scores import score_text, value_text

    rows = [
        [
            way,
            value_text(float(labels.mean()), result.metric),
            *(
                score_text(result.scores[way][key], key, result.metric) if way in result.scores else ""
                for key in ("spearman", "kendall")
            ),
        ]
        for way, labels in result.labels.items()
    ]
    print_table(
        f"{result.metric.name} of {len(result.specs)} bodies",
        ["labels", "mean", "Spearman with individual", "Kendall"],
        rows,
    )
    for (first, other), gain in result.gains.items():
        if gain[0] > 0:
            click.echo(f"Spearman of {first} over {other}: {score_text(gain, 'spearman', result.metric)}")
    click.echo(f"Results: {out / 'results.json'}")
