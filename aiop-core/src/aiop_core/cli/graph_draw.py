"""``aiop graph draw``: a graph as a picture or a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiop_core.cli.model_argument import model_argument, model_command

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
@click.option("--expand", is_flag=True, help="Draw every node, not each kind of block once.")
@click.option(
    "--colour",
    "--color",
    type=click.Choice(list(_COLOURS)),
    default="kind",
    show_default=True,
    help="By kind of operation, or by cost: the more, the darker.",
)
def command(reader: ModelReader, model: str, path: Path, expand: bool, colour: str) -> None:
    """Draw the graph of a model, repeated blocks folded.

    An .html page opens in any browser without a network: blocks open and close, operations
    are found by name, shape or number, and cost shows as heat. A .png needs aiop-core[png].
    """
    from aiop_core.graph.draw import check_path, draw

    check_path(path)
    named = reader.read(model)
    draw(named.graph, path, title=named.name, expand=expand, colour=_COLOURS[colour])
    click.echo(f"{path}: {len(named.graph):,} nodes", err=True)
