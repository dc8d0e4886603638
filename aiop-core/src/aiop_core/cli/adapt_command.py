"""``aiop adapt``: a saved predictor learns a further data set."""

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
  aiop adapt --predictor runs/mine/predictor --cache scene.safetensors --as scene --out runs/two
  aiop adapt --predictor runs/two --table other.csv --spec-columns model --label top1 --as other \\
      --out runs/three
"""


@click.command("adapt", cls=PluginCommand, kinds=("family",), uses=("adapt",), epilog=EXAMPLES)
@predictor_option(required=True)
@label_source()
@click.option("--as", "name", required=True, metavar="NAME", help="How to refer to what is learnt here.")
@flags.out_option("Where the adapted predictor goes.", required=True)
@click.option("--force", is_flag=True, help="Overwrite a predictor that is there, such as the given one.")
@flags.seed_option
@flags.device_option
@config_option
@flags.json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **arguments: Any) -> None:
    """Let a saved predictor learn a further data set, and keep what it knew.

    First it learns from 80 % of the labels and ranks the others; the saved predictor then
    learns from all. Its own options appear here once --predictor names it.
    """
    from aiop_core.cli.view import open_view, print_json, print_table
    from aiop_core.pipeline.adapt import AdaptPlan, adapt
    from aiop_core.pipeline.device import resolve_device
    from aiop_core.pipeline.saved import check_free
    from aiop_core.pipeline.scores import RANKS, SHOWN, score_text

    app: App = ctx.obj
    source_path(ctx, arguments)
    out: Path = arguments["out"]
    plan = AdaptPlan(
        arguments["folder"],
        arguments["name"],
        out,
        options_of_use(ctx, "adapt"),
        arguments["seed"],
        resolve_device(arguments["device"]),
        apart=arguments["isomorphic"] == "apart",
        force=arguments["force"],
    )
    check_free(out, force=plan.force)  # graphs may take long to make
    with open_view() as view:
        [source] = read_sources(ctx, arguments, view)
        result = adapt(app.registry, plan, source, view)
    if as_json:
        print_json(result.to_json())
        return
    if result.tested:
        rows = [
            [when, *(score_text(scores[key], key, result.metric) for key in RANKS)]
            for when, scores in (("before", result.before), ("after", result.after))
        ]
        title = f"How '{plan.name}' ranks {result.tested} held-out labels, learnt from {result.learnt}"
        print_table(title, ["", *(SHOWN[key] for key in RANKS)], rows)
    names = ", ".join(adapter["name"] for adapter in result.card.adapters)
    click.echo(f"Predictor (with {names}; learnt from all {len(source.cache)} labels): {out}")
