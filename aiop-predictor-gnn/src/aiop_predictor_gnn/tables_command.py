"""``aiop gnn paper-tables``: the transfer tables of the paper from its authors' caches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App

if TYPE_CHECKING:
    from aiop_predictor_gnn.tables import Row

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("paper-tables")
@click.option("--caches", type=_FOLDER, required=True, metavar="FOLDER", help="Where gpi_*_comp_graph_cache.pkl lie.")
@click.option("--out", "-o", type=_FOLDER, required=True, metavar="FOLDER", help="Predictors, rounds and results.")
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    default=("val_PCK_lsp_shared",),
    show_default=True,
    metavar="TASK",
    help="What an adapter of each family learns; repeatable.",
)
@click.option(
    "--tune",
    type=click.Choice(["heads", "adapters", "backbone", "all", "rescale"]),
    default="backbone",
    show_default=True,
    help="What fine-tuning frees.",
)
@click.option("--labels", type=click.IntRange(min=1), default=20, show_default=True, help="Of each target to learn.")
@click.option("--seeds", type=click.IntRange(1, 5), default=5, show_default=True, help="How many of the paper's seeds.")
@click.option("--epochs", type=click.IntRange(min=1), help="At most so many; 40, 100 and 100 otherwise.")
@flags.device_option
@flags.dry_run_option
@flags.json_option
@click.pass_context
def command(
    ctx: click.Context,
    caches: Path,
    out: Path,
    adapters: tuple[str, ...],
    tune: str,
    labels: int,
    seeds: int,
    epochs: int | None,
    device: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make the paper's transfer tables again: pretrained, adapted, zero-shot and fine-tuned.

    Tables need the authors' files; those that are missing are named, and what the others allow
    is made. The same command again goes on where a killed one stopped.
    """
    from aiop_core.cli.view import open_view, print_json, print_table
    from aiop_core.pipeline.device import resolve_device
    from aiop_predictor_gnn.tables import SEEDS, TablesPlan, make_tables

    app: App = ctx.obj
    plan = TablesPlan(caches, out, adapters, SEEDS[:seeds], labels, epochs, tune, resolve_device(device))
    if dry_run:
        print_json(
            {
                **plan.identity,
                "seeds": list(plan.seeds),
                "targets": [f"{family}_{task}_ind" for family, task in plan.targets],
                "missing": [str(path) for path in plan.missing],
            }
        )
        return
    with open_view() as view:
        rows = make_tables(app.registry, plan, view)
    if as_json:
        from dataclasses import asdict

        print_json([asdict(row) for row in rows])
        return
    print_table(
        f"{labels} labels of each target, {seeds} seeds: mean ± deviation [range]; the paper's in brackets behind",
        ["family", "task", "predictor", "MAE", "paper", "Spearman", "paper"],
        [cells for row in rows for cells in _cells(row)],
        texts=3,
    )
    click.echo(f"Results: {out / 'results.json'}")


def _cells(row: Row) -> Sequence[list[str]]:
    from aiop_core.pipeline.scores import spread_text
    from aiop_predictor_gnn.tables import TASKS

    cells = []
    for name in dict.fromkeys(item.name for item in row.rounds):
        mae, spearman = row.published(name)
        texts = [
            spread_text([item.scores[key][0] for item in row.of(name)], key, row.metric) for key in ("mae", "spearman")
        ]
        shown = ("" if mae is None else f"{mae:.2f} %", "" if spearman is None else f"{spearman:.3f}")
        cells.append([row.family, TASKS[row.task], name, texts[0], shown[0], texts[1], shown[1]])
    return cells
