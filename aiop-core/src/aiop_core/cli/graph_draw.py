"""``aiop graph draw``: a graph as a picture or a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiop_core.cli.model_argument import confidence_option, model_argument, model_command, predictor_option

if TYPE_CHECKING:
    from aiop_core.pipeline.models import ModelReader

_COLOURS = {"kind": "kind", "macs": "MACs", "params": "parameters"}


@model_command("draw")
@model_argument()
@click.option(
    "-o",
    "--out",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Ends in .svg, .png, .html or .dot; an existing file is replaced.",
)
@predictor_option(required=False)
@confidence_option
@click.option("--expand", is_flag=True, help="Draw every node, not each kind of block once.")
@click.option(
    "--colour",
    "--color",
    type=click.Choice(list(_COLOURS)),
    help="By kind of operation, the default without --predictor, or by cost: the more, the darker.",
)
def command(
    reader: ModelReader,
    model: str,
    path: Path,
    folder: Path | None,
    confidence: float,
    expand: bool,
    colour: str | None,
) -> None:
    """Draw the graph of a model, repeated blocks folded.

    An .html page opens in any browser without a network: blocks open and close, operations
    are found by name, shape or number, and cost shows as heat. A .png needs aiop-core[png].
    With --predictor the heat is what each node and block adds to the predicted metric, warm
    where it raises it and blue where it lowers it.
    """
    from aiop_core.graph.draw import check_path, draw

    check_path(path)
    if folder is None:
        named = reader.read(model)
        graph = named.graph
        draw(graph, path, title=named.name, expand=expand, colour=_COLOURS[colour or "kind"])
    else:
        from aiop_core.cli.view import open_view
        from aiop_core.pipeline.explain import explain_model

        with open_view() as view:
            found = explain_model(folder, reader, model, confidence=confidence, view=view)
        graph, (heat, whole) = found.explanation.graph, found.heat()
        draw(
            graph,
            path,
            title=found.name,
            expand=expand,
            heat=heat,
            whole=whole,
            colour=_COLOURS[colour] if colour else found.heat_name,
            note=found.words,
        )
    click.echo(f"{path}: {len(graph):,} nodes", err=True)
