"""``aiop graph``: computation graphs, seen."""

from __future__ import annotations

from typing import Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.plugin_options import PluginCommand, config_option, optional_selection, plugin_option


@click.group("graph")
def command() -> None:
    """Look at computation graphs."""


@command.command("show", cls=PluginCommand, kinds=("family", "task"))
@click.argument("model")
@plugin_option("family", "Whose spec the model is, if it is written without 'family:'.")
@plugin_option("task", "Put this task's head on the architecture.")
@click.option(
    "--input-shape", type=flags.Shape(), metavar="C,H,W", help="For modules from a factory, without batch axis."
)
@click.option("--input-hw", type=flags.Shape(2), metavar="H,W", help="For a family's network; its own by default.")
@click.option("--nodes", is_flag=True, help="List every node.")
@config_option
@flags.json_option
@click.pass_context
def show(
    ctx: click.Context,
    model: str,
    input_shape: tuple[int, ...] | None,
    input_hw: tuple[int, int] | None,
    nodes: bool,
    as_json: bool,
) -> None:
    """Show the graph of a model: operations, depth, MACs, parameters, widths by stage.

    A model is family:spec, a spec with --family, or package.module:factory or
    file.py:factory for any torch module; a factory runs that code.
    """
    from aiop_core.cli.view import print_json, print_table
    from aiop_core.graph.summary import node_rows, summarise_graph
    from aiop_core.pipeline.models import ModelReader

    app: App = ctx.obj
    family, task = optional_selection(ctx, "family"), optional_selection(ctx, "task")
    reader = ModelReader(
        app.registry,
        app.registry.make(family) if family else None,
        family.name if family else None,
        app.registry.make(task) if task else None,
        input_hw=input_hw,
        input_shape=input_shape,
    )
    named = reader.read(model)
    summary = summarise_graph(named.graph)
    rows: list[dict[str, Any]] = node_rows(named.graph)
    if as_json:
        print_json({"model": named.name, **summary.to_json(), **({"node_list": rows} if nodes else {})})
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
    if nodes:
        print_table("", list(rows[0]), [[str(value) for value in row.values()] for row in rows])
