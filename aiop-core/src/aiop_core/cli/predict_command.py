"""``aiop predict``: what a saved predictor says of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.model_argument import (
    SPELLINGS,
    ModelSpelling,
    confidence_option,
    input_shape_option,
    predictor_option,
)
from aiop_core.cli.plugin_options import PluginCommand, config_option, optional_selection, plugin_option

EXAMPLES = """\b
Examples:
  aiop predict --predictor runs/mine/predictor net.onnx nets.py:make
  aiop predict --predictor runs/mine/predictor --from models.txt --json
  aiop predict --predictor runs/mine/predictor --sample 5
"""


@click.command("predict", cls=PluginCommand, kinds=("family",), epilog=f"{EXAMPLES}\n{SPELLINGS}")
@click.argument("models", nargs=-1, type=ModelSpelling())
@predictor_option(required=True)
@plugin_option("family", "Whose specs the models are, where not the predictor's own family.")
@click.option(
    "--from", "listed", type=click.File(), metavar="FILE", help="Also predict these: one model a line; - is stdin."
)
@click.option("--sample", "count", type=click.IntRange(min=1), help="Also predict that many sampled architectures.")
@confidence_option
@flags.seed_option
@input_shape_option
@config_option
@flags.json_option
@click.pass_context
def command(
    ctx: click.Context,
    models: tuple[str, ...],
    folder: Path,
    listed: Any,
    count: int | None,
    confidence: float,
    seed: int,
    input_shape: tuple[int, ...] | None,
    as_json: bool,
) -> None:
    """Predict the metric of models without training them, best first.

    Each prediction has an interval that holds the truth with the asked confidence, for
    networks like those that were learnt from; one that is unlike them is marked.
    If the predictor learnt a task's label, architectures of a family get the task's head first.
    """
    from aiop_core.cli.view import open_view, print_json, print_table
    from aiop_core.pipeline.predict import predict
    from aiop_core.pipeline.scores import interval_text, value_text

    app: App = ctx.obj
    lines = [line.strip() for line in listed] if listed else []
    with open_view() as view:
        result = predict(
            app.registry,
            folder,
            [*models, *filter(None, lines)],
            family=optional_selection(ctx, "family"),
            sample=count or 0,
            seed=seed,
            input_shape=input_shape,
            confidence=confidence,
            view=view,
        )
    if as_json:
        print_json(result.to_json())
        return
    metric = result.metric
    far = any(row.outside for row in result.rows)
    rows = [
        [
            row.model,
            interval_text(row.predicted, row.low, row.high, metric),
            f"{row.macs / 1e6:,.1f}",
            f"{row.params / 1e6:,.2f}",
            *([f"outside: {row.outside}" if row.outside else ""] if far else []),
        ]
        for row in result.rows
    ]
    heading = f"{metric.name} [low, high] at {100 * confidence:g} %" if result.card.trust else metric.name
    print_table("", ["model", heading, "MMACs", "M params", *(["training"] if far else [])], rows)
    for line in result.caveats:
        click.echo(line)
    mae, *_ = result.card.scores.get("mae") or (None,)
    error = ""
    if mae is not None and not result.card.ranks_only:
        error = f"Expect an error of about {value_text(mae, metric)} (MAE). "
    click.echo(f"{error}{result.card.evaluation}")
