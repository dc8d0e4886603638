"""``aiop graph diff``: do two models have the same graph, and where do they part?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aiop_core.cli import flags
from aiop_core.cli.model_argument import model_argument, model_command
from aiop_core.errors import AiopError

if TYPE_CHECKING:
    from aiop_core.graph.diff import Difference
    from aiop_core.graph.model import Graph
    from aiop_core.pipeline.models import ModelReader


class Trouble(click.ClickException):
    """A model that cannot be read; exit 2, since 1 means that the graphs differ."""

    exit_code = 2


@model_command("diff")
@model_argument("a")
@model_argument("b")
@click.option("--exact", is_flag=True, help="Compare the graphs as they were read, without canonical form.")
@click.option("--limit", type=click.IntRange(0), default=40, show_default=True, help="Lines of each kind; 0 for all.")
@flags.json_option
@click.pass_context
def command(ctx: click.Context, reader: ModelReader, a: str, b: str, exact: bool, limit: int, as_json: bool) -> None:
    """Compare the graphs of two models, node by node. Exits with 1 if they differ, with 2 if one cannot be read.

    Both are first brought to canonical form, in which batch normalisation is folded into the
    convolution before it, padding into its window, and so on, so that the same network is
    equal however a framework writes it. A graph does not hold everything: dilation, resize modes, the
    order of operands and the values of weights are not compared (docs/graph.md).
    """
    from aiop_core.cli.view import print_json
    from aiop_core.graph.diff import compare
    from aiop_core.graph.passes import canonical

    try:
        named = [reader.read(model) for model in (a, b)]
    except AiopError as error:
        raise Trouble(str(error)) from error
    graphs = [n.graph if exact else canonical(n.graph) for n in named]
    difference = compare(*graphs)
    if as_json:
        models = [
            {"model": n.name, "nodes": len(g), "fingerprint": g.fingerprint} for n, g in zip(named, graphs, strict=True)
        ]
        print_json({"equal": not difference, "models": models, **difference.to_json()})
    else:
        for sign, n, g in zip("-+", named, graphs, strict=True):
            click.echo(f"{sign * 3} {n.name} ({len(g)} nodes)")
        _print(difference, *graphs, limit=limit)
    ctx.exit(1 if difference else 0)


def _print(difference: Difference, a: Graph, b: Graph, *, limit: int) -> None:
    from aiop_core.graph.summary import node_rows

    if not difference:
        click.echo("equal: the same nodes with the same attributes, and the same edges")
        return
    rows = node_rows(a), node_rows(b)

    def lines(found: list[str]) -> None:
        shown = found if not limit else found[:limit]
        for line in shown:
            click.echo(line)
        if len(found) > len(shown):
            click.echo(f"  … and {len(found) - len(shown)} more (--limit 0 shows all)")

    def whole(row: dict[str, object]) -> str:
        kernel = f" kernel {row['kernel']}" if row["kernel"] else ""
        return f"{row['op']} {row['in']} → {row['out']}{kernel}, {row['params']:,} parameters, reads {row['reads']}"

    lines(
        [
            f"~ {c.a} | {c.b} {c.op}: " + ", ".join(f"{name} {x} → {y}" for name, (x, y) in c.values.items())
            for c in difference.changed
        ]
    )
    lines([f"- {node} {whole(rows[0][node])}" for node, _ in difference.only_a])
    lines([f"+ {node} {whole(rows[1][node])}" for node, _ in difference.only_b])
    lines([f"- edge {s} → {t}" for s, t in difference.edges_a])
    lines([f"+ edge {s} → {t}" for s, t in difference.edges_b])
    click.echo(
        f"different: {len(difference.changed)} nodes changed, {len(difference.only_a)} only in the first, "
        f"{len(difference.only_b)} only in the second, "
        f"{len(difference.edges_a) + len(difference.edges_b)} edges between shared nodes"
    )
