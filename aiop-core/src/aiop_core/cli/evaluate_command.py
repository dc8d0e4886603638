"""``aiop evaluate``: how good a saved predictor is on a target, from none or few of its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.label_source import label_source, read_sources, source_path
from aiop_core.cli.model_argument import predictor_option
from aiop_core.cli.plugin_options import PluginCommand, config_option, options_of_use

EXAMPLES = """\b
Examples:
  aiop evaluate --predictor runs/two --cache target.safetensors --labels 0,20
  aiop evaluate --predictor runs/mine/predictor --table new.csv --spec-columns model --label top1
"""


@click.command("evaluate", cls=PluginCommand, kinds=("family",), uses=("tune",), epilog=EXAMPLES)
@predictor_option(required=True)
@label_source()
@click.option(
    "--labels",
    "sizes",
    type=flags.Shape(minimum=0),
    default="20",
    show_default=True,
    metavar="N,…",
    help="How many of the target's labels to learn from; all others are predicted. 0: none, rank all.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Repeats with other labels.")
@click.option(
    "--save",
    type=click.Choice(["first", "all", "none"]),
    default="first",
    show_default=True,
    help="Save the predictor tuned on the first seed's labels, on all labels, or none.",
)
@flags.restart_option
@flags.seed_option
@flags.device_option
@flags.out_option("Where results and the tuned predictor go; runs/evaluate-NAME by default, after the target.")
@config_option
@flags.json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **arguments: Any) -> None:
    """Judge a saved predictor on a target of which it knows few labels, or none.

    For each seed, N random labels are given to the predictor, to a new one of its kind and to
    every baseline; all predict the other architectures. The options of tuning appear here once
    --predictor names it. The same command again goes on where a killed one stopped.
    """
    from aiop_core.cli.view import open_view, print_json, print_table
    from aiop_core.pipeline.device import resolve_device
    from aiop_core.pipeline.evaluate import EvaluatePlan, evaluate
    from aiop_core.pipeline.saved import check_replaceable
    from aiop_core.pipeline.scores import SHOWN, bootstrap_text, spread_text

    app: App = ctx.obj
    path = source_path(ctx, arguments)
    seed, out = arguments["seed"], arguments["out"] or Path("runs") / f"evaluate-{path.stem}"
    plan = EvaluatePlan(
        arguments["folder"],
        out,
        options_of_use(ctx, "tune"),
        arguments["sizes"],
        range(seed, seed + arguments["seeds"]),
        resolve_device(arguments["device"]),
        apart=arguments["isomorphic"] == "apart",
        restart=arguments["restart"],
        save=arguments["save"],
    )
    check_replaceable(out, command="evaluate", given=plan.folder)  # graphs may take long to make
    with open_view() as view:
        [target] = read_sources(ctx, arguments, view)
        result = evaluate(app.registry, plan, target, view)
    if as_json:
        print_json(result.to_json())
        return
    seeds = "1 seed" if arguments["seeds"] == 1 else f"{arguments['seeds']} seeds"
    metric = target.cache.metric

    def cell(scores: list[Any], key: str) -> str:
        return f"{spread_text([s[key][0] for s in scores], key, metric)}\n{bootstrap_text(scores, key, metric)}".strip()

    rows = [
        [str(size), name, *(cell([r.scores for r in rounds], key) for key in SHOWN)]
        for (size, name), rounds in result.by_contender().items()
    ]
    print_table(
        f"{metric.name} of {len(result.target.cache)} architectures, {seeds}: "
        "mean ± deviation [range], below it the 95 % bootstrap interval",
        ["labels", "predictor", *SHOWN.values()],
        rows,
        texts=2,
    )
    if result.saved:
        click.echo(f"Predictor (tuned): {result.saved}")
    click.echo(f"Results: {out / 'results.json'}")
