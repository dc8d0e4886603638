"""``aiop train``: a predictor from labels that exist: a table, a graph cache, or a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.plugin_options import PluginCommand, config_option, optional_selection, plugin_option, selection
from aiop_core.plugins import PluginRegistry, Selection

_FILE = click.Path(path_type=Path)


@click.command("train", cls=PluginCommand, kinds=("family", "predictor"))
@click.option("--table", type=_FILE, metavar="FILE", help="CSV or Parquet of labels, one architecture a row.")
@click.option("--cache", type=_FILE, metavar="FILE", help="A graph cache (graphs.safetensors).")
@click.option("--run", "run_folder", type=_FILE, metavar="FOLDER", help="A folder of aiop run or aiop label.")
@plugin_option("family", "With --table: whose architectures its rows describe.")
@plugin_option("predictor", "What learns from the labels; the installed one if there is just one.")
@click.option("--label", metavar="COLUMN", help="With --table: the column of measured values.")
@click.option(
    "--label-unit", default="percent", show_default=True, metavar="UNIT", help="percent, fraction, or another unit."
)
@click.option(
    "--spec-columns",
    default="spec",
    show_default=True,
    metavar="A,B,…",
    help="With --table: the column of architectures; several become one JSON object by their names.",
)
@click.option(
    "--input-hw", type=flags.Shape(2), metavar="H,W", help="With --table: the networks' input; the family's by default."
)
@click.option("--metric", metavar="NAME", help="With --run: which of the task's metrics; the only one by default.")
@click.option(
    "--train",
    "sizes",
    type=flags.Shape(),
    metavar="N,…",
    help="Labels to learn from; 80 % by default. Tested on the rest.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Repeats with other splits.")
@flags.seed_option
@flags.device_option
@flags.out_option("Where results and predictor go; runs/train-NAME by default, after the labels' file or folder.")
@config_option
@flags.json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **arguments: Any) -> None:
    """Fit a predictor on labels that exist, judge it on the rest, and save it.

    The predictor and every baseline learn from N labels and are tested on all others, for
    each N of --train and each seed. The saved predictor then learns from all labels.
    """
    from aiop_core.cli.view import open_view, print_json, print_table
    from aiop_core.pipeline.device import resolve_device
    from aiop_core.pipeline.scores import SHOWN, spread_text
    from aiop_core.pipeline.train import TrainPlan, train

    app: App = ctx.obj
    predictor = selection(ctx, "predictor")
    source = _source(ctx, arguments)
    seed, out = arguments["seed"], arguments["out"] or Path("runs") / f"train-{source.stem}"
    with open_view() as view:
        cache, graphs = _labels(app.registry, optional_selection(ctx, "family"), arguments, view)
        plan = TrainPlan(
            out,
            predictor,
            arguments["sizes"],
            range(seed, seed + arguments["seeds"]),
            resolve_device(arguments["device"]),
        )
        result = train(app.registry, plan, cache, graphs, view)
    if as_json:
        print_json(result.to_json())
        return
    rows = [
        [str(size), name, *(spread_text([r.scores[key][0] for r in rounds], key, cache.metric) for key in SHOWN)]
        for (size, name), rounds in result.by_contender().items()
    ]
    print_table(
        f"{cache.metric.name} of {len(cache)} architectures, {arguments['seeds']} seeds: mean ± deviation [range]",
        ["labels", "predictor", *SHOWN.values()],
        rows,
        texts=2,
    )
    click.echo(f"Predictor (learnt from all {len(cache)} labels): {out / 'predictor'}\nResults: {out / 'results.json'}")


_ONLY_WITH = {
    "label": "table",
    "label_unit": "table",
    "spec_columns": "table",
    "input_hw": "table",
    "metric": "run_folder",
}
"""Flags that mean something for one source of labels only."""


def _source(ctx: click.Context, arguments: dict[str, Any]) -> Path:
    """The one file or folder that labels come from; flags for another source are refused."""
    given = [name for name in ("table", "cache", "run_folder") if arguments[name]]
    if len(given) != 1:
        raise click.UsageError("give labels with one of --table FILE, --cache FILE or --run FOLDER")
    for name, source in _ONLY_WITH.items():
        if source != given[0] and ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            flag, wanted = name.replace("_", "-"), source.removesuffix("_folder")
            raise click.UsageError(
                f"--{flag} goes with --{wanted}; the labels come from --{given[0].removesuffix('_folder')}"
            )
    return Path(arguments[given[0]])


def _labels(
    registry: PluginRegistry, family: Selection | None, arguments: dict[str, Any], view: Any
) -> tuple[Any, Any]:
    """The labelled graphs that the flags name, and what the graphs are made of."""
    if arguments["cache"]:
        from aiop_core.records.cache import GraphCache

        cache = GraphCache.load(arguments["cache"])
        return cache, cache.provenance.get("graphs", {})
    if arguments["run_folder"]:
        from aiop_core.pipeline.train import run_labels

        return run_labels(arguments["run_folder"], arguments["metric"])
    if family is None or not arguments["label"]:
        raise click.UsageError("--table needs --family NAME and --label COLUMN")
    from aiop_core.pipeline.train import table_labels

    columns = [c.strip() for c in arguments["spec_columns"].split(",")]
    return table_labels(
        registry,
        family,
        arguments["table"],
        label=arguments["label"],
        unit=arguments["label_unit"],
        spec_columns=columns,
        input_hw=arguments["input_hw"],
        view=view,
    )
