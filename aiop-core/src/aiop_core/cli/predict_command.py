"""``aiop predict``: what a saved predictor says of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.model_argument import SPELLINGS, ModelSpelling, input_shape_option
from aiop_core.cli.plugin_options import PluginCommand, config_option, optional_selection, plugin_option


@click.command("predict", cls=PluginCommand, kinds=("family",), epilog=SPELLINGS)
@click.argument("models", nargs=-1, type=ModelSpelling())
@click.option(
    "--predictor",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A saved predictor: the folder 'predictor' of a run.",
)
@plugin_option("family", "Whose specs the models are, where not the predictor's own family.")
@click.option("--sample", "count", type=click.IntRange(min=1), help="Also predict that many sampled architectures.")
@flags.seed_option
@input_shape_option
@config_option
@flags.json_option
@click.pass_context
def command(
    ctx: click.Context,
    models: tuple[str, ...],
    folder: Path,
    count: int | None,
    seed: int,
    input_shape: tuple[int, ...] | None,
    as_json: bool,
) -> None:
    """Predict the metric of models without training them, best first.

    If the predictor learnt a task's label, architectures of a family get the task's head first.
    """
    from aiop_core.cli.view import print_json, print_table
    from aiop_core.pipeline.predict import predict

    app: App = ctx.obj
    result = predict(
        app.registry,
        folder,
        models,
        family=optional_selection(ctx, "family"),
        sample=count or 0,
        seed=seed,
        input_shape=input_shape,
    )
    if as_json:
        print_json(result.to_json())
        return
    metric = result.card.metric

    def text(value: float) -> str:
        return f"{100 * value:.2f} %" if metric.unit == "fraction" else f"{value:.4g} {metric.unit}"

    rows: list[list[Any]] = [
        [row.model, text(row.predicted), f"{row.macs / 1e6:,.1f}", f"{row.params / 1e6:,.2f}"] for row in result.rows
    ]
    print_table("", ["model", metric.name, "MMACs", "M params"], rows)
    mae = result.card.scores["mae"][0]
    click.echo(f"Expect an error of about {text(mae)} (MAE). {result.card.evaluation}")
