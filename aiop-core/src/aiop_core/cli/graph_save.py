"""``aiop graph save``: a graph in a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiop_core.cli.model_argument import model_argument, model_command

if TYPE_CHECKING:
    from aiop_core.pipeline.models import ModelReader


@model_command("save")
@model_argument()
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write it, as in net.safetensors.",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
def command(reader: ModelReader, model: str, out: Path, force: bool) -> None:
    """Save the graph of a model in one safetensors file, which stands for the model from then on."""
    from aiop_core.errors import GraphError
    from aiop_core.graph.files import save_graph
    from aiop_core.pipeline.provenance import provenance

    if out.suffix != ".safetensors":
        raise GraphError(f"{out} must end with .safetensors, by which the file is known as a graph")
    if out.exists() and not force:
        raise GraphError(f"{out} exists; --force replaces it")
    named = reader.read(model)
    save_graph(named.graph, out, name=named.name, provenance=provenance() | {"model": model})
    click.echo(f"{out}: {named.name}, {len(named.graph)} nodes")
