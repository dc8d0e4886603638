"""``aiop graph show``: a graph in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from aiop_core.cli import flags
from aiop_core.cli.model_argument import model_argument, model_command

if TYPE_CHECKING:
    from aiop_core.pipeline.models import ModelReader


@model_command("show")
@model_argument()
@click.option("--nodes", is_flag=True, help="List every node.")
@click.option(
    "--profiler", "profilers", multiple=True, metavar="NAME", help="Also print what this profiler counts; repeatable."
)
@flags.json_option
def command(reader: ModelReader, model: str, nodes: bool, profilers: tuple[str, ...], as_json: bool) -> None:
    """Show the graph of a model: operations, depth, MACs, parameters, widths by stage."""
    from aiop_core.cli.view import print_json, print_table
    from aiop_core.graph.cost import COST_SOURCE
    from aiop_core.graph.summary import node_rows, summarise_graph

    named = reader.read(model)
    summary = summarise_graph(named.graph)
    rows: list[dict[str, Any]] = node_rows(named.graph)
    counts = {name: _counts(reader, model, name) for name in profilers}
    if as_json:
        extra = {**({"node_list": rows} if nodes else {}), **({"profilers": counts} if counts else {})}
        print_json({"model": named.name, **summary.to_json(), **extra})
        return
    click.echo(named.name)
    click.echo(
        f"{summary.nodes} nodes, {summary.edges} edges, depth {summary.depth}, "
        f"{summary.macs / 1e6:,.1f} MMACs, {summary.params:,} parameters"
    )
    print_table(
        "",
        ["operation", "nodes", "MMACs", "parameters"],
        [[o.op, str(o.nodes), f"{o.macs / 1e6:,.1f}", f"{o.params:,}"] for o in summary.ops],
    )
    print_table(
        "",
        ["stage (H × W)", "nodes", "widths", "MMACs"],
        [
            [f"{s.height} × {s.width}", str(s.nodes), f"{s.narrowest}–{s.widest}", f"{s.macs / 1e6:,.1f}"]
            for s in summary.stages
        ],
    )
    if counts:
        ours = {"macs": summary.macs, "params": summary.params}
        listed: list[tuple[str, str, float]] = [(COST_SOURCE, name, value) for name, value in ours.items()]
        listed += [(source, name, value) for source, found in counts.items() for name, value in found.items()]
        print_table(
            "",
            ["counted by", "number", "value", "× ours"],
            [
                [source, name, f"{value:,.10g}", f"{value / ours[name]:.4f}" if ours.get(name) else ""]
                for source, name, value in listed
            ],
            texts=2,
        )
    if nodes:
        print_table("", list(rows[0]), [[str(value) for value in row.values()] for row in rows])


def _counts(reader: ModelReader, model: str, profiler: str) -> dict[str, float]:
    """What a profiler says of a model; a new module each time, since some leave traces in it."""
    from aiop_core.pipeline.initialisation import initialisation

    with initialisation(0):  # scores of random weights are the same each time
        found = reader.module(model)
    counts: Mapping[str, float] = reader.registry.create("profiler", profiler).profile(found.module, found.input_shape)
    return dict(counts)
