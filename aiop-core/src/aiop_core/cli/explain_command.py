"""``aiop explain``: which operations and blocks move a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiop_core.cli import flags
from aiop_core.cli.model_argument import confidence_option, model_argument, model_command, predictor_option

if TYPE_CHECKING:
    from aiop_core.pipeline.models import ModelReader

EXAMPLES = """\b
Examples:
  aiop explain net.onnx --predictor runs/mine/predictor
  aiop explain nets.py:make --predictor runs/mine/predictor --top 3 --json
"""

LEGEND = (
    "Blocks with the same letter are built alike, and a run is several of them in a row; #n is node n of the graph, "
    "/2 a stride of 2, g4 four groups; MMACs are millions of multiply-adds."
)
"""How the tables are read."""


@model_command("explain")
@model_argument()
@predictor_option(required=True)
@click.option(
    "--top", type=click.IntRange(min=1), default=10, show_default=True, help="How many blocks and nodes to list."
)
@confidence_option
@flags.json_option
def command(reader: ModelReader, model: str, folder: Path, top: int, confidence: float, as_json: bool) -> None:
    """Say which blocks and operations move the prediction of a model, and how much.

    Each is taken out in turn, its inputs going straight to its readers, and the rest predicted
    again. A positive contribution raises the prediction. 'aiop graph draw --predictor' shows
    the same as heat.
    """
    from aiop_core.cli.view import open_view, print_json, print_table
    from aiop_core.pipeline.explain import explain_model
    from aiop_core.pipeline.scores import change_text, change_unit

    with open_view() as view:
        found = explain_model(folder, reader, model, confidence=confidence, view=view)
    if as_json:
        print_json(found.to_json())
        return
    metric = found.result.metric
    click.echo(f"{found.name}: {found.words}")
    for kind, rows in (("block", found.explanation.blocks()), ("operation", found.explanation.nodes())):
        shown = [
            [row.part, row.stage, f"{row.macs / 1e6:,.1f}", f"{row.params:,}", change_text(row.contribution, metric)]
            for row in rows[:top]
        ]
        headings = [kind, "output H×W×C", "MMACs", "parameters", f"contribution, {change_unit(metric)}"]
        print_table("", headings, shown, texts=2)
    click.echo(LEGEND)
    for row in found.result.rows:
        if row.outside:
            click.echo(f"outside: {row.outside}")
    for line in found.result.caveats:
        click.echo(line)


command.epilog = f"{EXAMPLES}\n{command.epilog}"
