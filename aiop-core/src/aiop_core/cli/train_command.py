"""``aiop train``: a predictor from labels that exist: a table, graph caches, or a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.label_source import label_source, read_sources, source_path
from aiop_core.cli.plugin_options import PluginCommand, config_option, plugin_option, selection

EXAMPLES = """\b
Examples:
  aiop train --table mine.csv --spec-columns model --label top1 --out runs/mine
  aiop train --table cells.csv --family FAMILY --spec-columns adjacency,ops --label LABEL --train 20,100
  aiop train --cache labels.safetensors --judge-only
"""


@click.command("train", cls=PluginCommand, kinds=("family", "predictor"), epilog=EXAMPLES)
@label_source(several=True)
@plugin_option("predictor", "What learns from the labels; the preferred or only installed one by default.")
@click.option(
    "--train",
    "sizes",
    type=flags.Shape(),
    metavar="N,…",
    help="Labels to learn from; 80 % by default. Tested on the rest.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Repeats with other splits.")
@click.option(
    "--test",
    type=click.Choice(["rest", "all"]),
    default="rest",
    show_default=True,
    help="Test on the labels that were not learnt from, or on all, as some published tables do.",
)
@click.option("--judge-only", is_flag=True, help="Do not fit on all labels, and save no predictor.")
@flags.restart_option
@flags.seed_option
@flags.device_option
@flags.out_option("Where results and predictor go; runs/train-NAME by default, after the labels' file or folder.")
@config_option
@flags.json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **arguments: Any) -> None:
    """Fit a predictor on labels that exist, judge it on the rest, and save it.

    The predictor and every baseline learn from N labels and are tested on all others, for
    each N of --train and each seed. The saved predictor then learns from all labels. The same
    command again goes on where a killed one stopped.
    """
    from aiop_core.cli.view import open_view, print_json, print_table
    from aiop_core.pipeline.device import resolve_device
    from aiop_core.pipeline.scores import SHOWN, spread_text
    from aiop_core.pipeline.table import table_metric
    from aiop_core.pipeline.table_rows import read_rows
    from aiop_core.pipeline.train import TrainPlan, check_plan, metric_of, train

    app: App = ctx.obj
    predictor = selection(ctx, "predictor")
    path = source_path(ctx, arguments, several=True)
    seed, out = arguments["seed"], arguments["out"] or Path("runs") / f"train-{path.stem}"
    plan = TrainPlan(
        out,
        predictor,
        arguments["sizes"],
        range(seed, seed + arguments["seeds"]),
        resolve_device(arguments["device"]),
        apart=arguments["isomorphic"] == "apart",
        test_all=arguments["test"] == "all",
        restart=arguments["restart"],
        save=not arguments["judge_only"],
    )
    if arguments["table"] and (label := arguments["label"]):  # graphs of a table's rows take long to make
        metric = table_metric(label, arguments["label_unit"], higher_is_better=not arguments["lower_is_better"])
        check_plan(app.registry, plan, metric, len(read_rows(arguments["table"], {})))
    with open_view() as view:
        sources = read_sources(ctx, arguments, view)
        result = train(app.registry, plan, sources, view)
    if as_json:
        print_json(result.to_json())
        return
    seeds = "1 seed" if arguments["seeds"] == 1 else f"{arguments['seeds']} seeds"
    metric, several = metric_of(sources), len(sources) > 1
    metrics = {source.name: source.cache.metric for source in sources}
    title = " + ".join(dict.fromkeys(found.name for found in metrics.values()))
    rows = [
        [
            str(size),
            *([source] if several else []),
            name,
            *(spread_text([r.scores[key][0] for r in rounds], key, metrics.get(source, metric)) for key in SHOWN),
        ]
        for (size, source, name), rounds in result.by_contender().items()
    ]
    print_table(
        f"{title} of {result.labels} architectures, {seeds}: mean ± deviation [range]",
        ["labels", *(["source"] if several else []), "predictor", *SHOWN.values()],
        rows,
        texts=3 if several else 2,
    )
    if result.coverage:
        click.echo(result.coverage.text(metric))
    if plan.save:
        click.echo(f"Predictor (learnt from all {result.labels} labels): {out / 'predictor'}")
    click.echo(f"Results: {out / 'results.json'}")
