"""The flags that say where labels come from: a table, graph caches, or a run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.plugin_options import optional_selection, plugin_option

if TYPE_CHECKING:
    from aiop_core.pipeline.sources import Source
    from aiop_core.pipeline.view import View

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path)

_ONLY_WITH = {
    "label": "table",
    "label_unit": "table",
    "lower_is_better": "table",
    "spec_columns": "table",
    "score_columns": "table",
    "input_hw": "table",
    "input_shape": "table",
    "metric": "run_folder",
}
"""Flags that mean something for one source of labels only."""

ISOMORPHIC = ("merge", "together", "apart")


def label_source(*, several: bool = False) -> Callable[[F], F]:
    """The flags of a command that reads labels; of ``several`` graph caches if it can."""
    more = " Repeatable: labels of several metrics or families, learnt together." if several else ""
    options = (
        click.option("--table", type=_FILE, metavar="FILE", help="CSV or Parquet of labels, one architecture a row."),
        click.option(
            "--cache",
            "caches",
            type=_FILE,
            metavar="FILE",
            multiple=True,
            help=f"A graph cache (graphs.safetensors).{more}",
        ),
        click.option("--run", "run_folder", type=_FILE, metavar="FOLDER", help="A folder of aiop run or aiop label."),
        plugin_option("family", "With --table: whose architectures its rows describe; without it they spell models."),
        click.option("--label", metavar="COLUMN", help="With --table: the column of measured values."),
        click.option(
            "--label-unit",
            default="percent",
            show_default=True,
            metavar="UNIT",
            help="percent, fraction, or another unit.",
        ),
        click.option(
            "--lower-is-better", is_flag=True, help="With --table: of its labels, as of an error or a latency."
        ),
        click.option(
            "--spec-columns",
            default="spec",
            show_default=True,
            metavar="A,B,…",
            help="With --table: the column of architectures; several become one JSON object by their names.",
        ),
        click.option(
            "--score-columns",
            metavar="A,B,…",
            help="With --table: columns of numbers that stand beside the graphs, such as zero-cost scores.",
        ),
        click.option(
            "--input-hw",
            type=flags.Shape(2),
            metavar="H,W",
            help="With --family: the networks' input; the family's by default.",
        ),
        click.option(
            "--input-shape",
            type=flags.Shape(),
            metavar="C,H,W",
            help="With --table of models: their input, where they leave it open.",
        ),
        click.option(
            "--metric", metavar="NAME", help="With --run: which of the task's metrics; the only one by default."
        ),
        click.option(
            "--isomorphic",
            type=click.Choice(ISOMORPHIC),
            default="merge",
            show_default=True,
            help="Labels of one network under several specs: averaged, kept on one side of every split, or on both.",
        ),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def source_path(ctx: click.Context, arguments: dict[str, Any], *, several: bool = False) -> Path:
    """The first file or folder that labels come from; flags for another kind of source are refused."""
    given = [name for name in ("table", "caches", "run_folder") if arguments[name]]
    if len(given) != 1:
        raise click.UsageError("give labels with one of --table FILE, --cache FILE or --run FOLDER")
    for name, source in _ONLY_WITH.items():
        if source != given[0] and ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} goes with {_FLAGS[source]}; the labels come from {_FLAGS[given[0]]}"
            )
    if given == ["caches"] and len(arguments["caches"]) > 1 and not several:
        raise click.UsageError("give one --cache FILE; 'aiop cache merge' joins several of one metric")
    if len(set(arguments["caches"])) < len(arguments["caches"]):
        raise click.UsageError("one --cache is given twice")
    found = arguments[given[0]]
    return Path(found[0] if given == ["caches"] else found)


_FLAGS = {"table": "--table", "caches": "--cache", "run_folder": "--run"}


def read_sources(ctx: click.Context, arguments: dict[str, Any], view: View) -> list[Source]:
    """The labelled graphs that the flags name."""
    from aiop_core.pipeline.sources import cache_source, merged, run_source

    if arguments["caches"]:
        sources = [cache_source(path, view) for path in arguments["caches"]]
    elif arguments["run_folder"]:
        sources = [run_source(arguments["run_folder"], arguments["metric"])]
    else:
        sources = [_table(ctx, arguments, view)]
    return [merged(source, view) for source in sources] if arguments["isomorphic"] == "merge" else sources


def _table(ctx: click.Context, arguments: dict[str, Any], view: View) -> Source:
    from aiop_core.pipeline.sources import Columns, models_source, table_source

    app: App = ctx.obj
    if not arguments["label"]:
        raise click.UsageError("--table needs --label COLUMN, and --family NAME if its rows are specs of a family")
    names, family = arguments["score_columns"], optional_selection(ctx, "family")
    columns = Columns(
        arguments["label"],
        arguments["label_unit"],
        [name.strip() for name in arguments["spec_columns"].split(",")],
        [name.strip() for name in names.split(",")] if names else [],
        higher_is_better=not arguments["lower_is_better"],
    )
    if family is None:
        if arguments["input_hw"]:
            raise click.UsageError("--input-hw goes with --family; models take --input-shape C,H,W")
        return models_source(app.registry, arguments["table"], columns, arguments["input_shape"], view)
    if arguments["input_shape"]:
        raise click.UsageError("--input-shape goes with models; a family takes --input-hw H,W")
    return table_source(app.registry, family, arguments["table"], columns, arguments["input_hw"], view)
