"""``aiop cache``: graph caches, imported, seen, put together and taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from aiop_core.cli import flags
from aiop_core.cli.lazy import LazyGroup
from aiop_core.cli.plugin_options import PluginCommand, config_option, plugin_option, selection

_FILE = click.Path(path_type=Path)

_force = click.option("--force", is_flag=True, help="Overwrite files that exist.")
_recount = click.option(
    "--recount", is_flag=True, help="Count MACs and parameters on the graphs instead of keeping others' numbers."
)
_out = click.option("--out", "-o", type=_FILE, required=True, metavar="FILE", help="The cache to write (.safetensors).")

_SCORE_EXAMPLES = """\b
Examples:
  aiop cache score target.safetensors --profiler NAME
  aiop cache score target.safetensors --profiler NAME --out scored.safetensors
"""


@click.group("cache", cls=LazyGroup, modules={"build": "aiop_core.cli.cache_build_command"})
def command() -> None:
    """Build and import graph caches, look into them, merge, split and export them."""


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")
@_out
@click.option("--family", metavar="NAME", help="Of all graphs; by default as each graph's name says, or the file's.")
@click.option("--metric", metavar="NAME", help="Which metric of the files; their main one by default.")
@click.option(
    "--unit",
    default="fraction",
    show_default=True,
    metavar="UNIT",
    help="Of the labels: fraction, percent, or another.",
)
@_recount
@click.option("--keep-identity", is_flag=True, help="Keep nodes that compute nothing; traced graphs have none.")
@_force
@flags.json_option
def import_(
    files: tuple[Path, ...],
    out: Path,
    family: str | None,
    metric: str | None,
    unit: str,
    recount: bool,
    keep_identity: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Import the AIO-P authors' caches, gpi_*_comp_graph_cache.pkl or .pkl.gz.

    They are pickles, but nothing in them is run: only their graphs, plain data and numpy
    arrays are read, and anything else is refused.
    """
    from aiop_core.cli.view import open_view
    from aiop_core.pipeline.caches import check_free, import_caches
    from aiop_core.records.legacy.reading import LegacyImport

    check_free([out], force=force)
    how = LegacyImport(family, metric, unit, recount, keep_identity)
    with open_view() as view:
        merged = import_caches(files, how, view)
    merged.cache.save(out)
    _tell(out, merged.cache, merged.repeats, as_json)


@command.command("show")
@click.argument("cache", type=_FILE)
@flags.json_option
def show(cache: Path, as_json: bool) -> None:
    """Show what a cache holds: graphs, labels, families, cost, and how it was made."""
    from aiop_core.cli.view import print_json, print_table
    from aiop_core.pipeline.caches import describe, description_rows
    from aiop_core.records.cache import GraphCache

    found = describe(GraphCache.load(cache))
    if as_json:
        print_json({"file": str(cache), **found})
        return
    print_table(str(cache), ["", ""], description_rows(found), texts=2)


@command.command("export")
@click.argument("cache", type=_FILE)
@click.option(
    "--parquet", type=_FILE, required=True, metavar="FILE", help="One row a graph, for pandas, polars, DuckDB."
)
@_force
@flags.json_option
def export(cache: Path, parquet: Path, force: bool, as_json: bool) -> None:
    """Export a cache for other tools."""
    from aiop_core.pipeline.caches import check_free
    from aiop_core.records.cache import GraphCache
    from aiop_core.records.parquet import write_parquet

    check_free([parquet], force=force, suffix=".parquet")
    read = GraphCache.load(cache)
    write_parquet(read, parquet)
    _tell(parquet, read, 0, as_json)


@command.command("merge")
@click.argument("caches", nargs=-1, required=True, type=_FILE, metavar="CACHE...")
@_out
@_recount
@_force
@flags.json_option
def merge(caches: tuple[Path, ...], out: Path, recount: bool, force: bool, as_json: bool) -> None:
    """Merge caches of one metric and unit.

    Entries with the family, spec, graph and label of an earlier one are dropped.
    """
    from aiop_core.pipeline.caches import check_free, merge_files

    check_free([out], force=force)
    merged = merge_files(caches, recount=recount)
    merged.cache.save(out)
    if merged.mixed:
        click.echo(
            "Warning: these labels were made in different ways, or it is not known how; 'aiop cache build' joins "
            "only those of one way",
            err=True,
        )
    _tell(out, merged.cache, merged.repeats, as_json, merged.dropped_scores)


@command.command("split")
@click.argument("cache", type=_FILE)
@click.option(
    "--fractions",
    default="0.8,0.1,0.1",
    show_default=True,
    metavar="A,B,…",
    help="Of the graphs, for each part; sum 1.",
)
@flags.seed_option
@click.option(
    "--out",
    "-o",
    "prefix",
    required=True,
    metavar="PREFIX",
    help="Parts are PREFIX.train, .dev and .test.safetensors; more than three are numbered.",
)
@_force
@flags.json_option
def split(cache: Path, fractions: str, seed: int, prefix: str, force: bool, as_json: bool) -> None:
    """Split a cache; equal networks never land in different parts."""
    from aiop_core.cli.view import print_json
    from aiop_core.graph.fingerprints import fingerprints
    from aiop_core.pipeline.caches import check_free
    from aiop_core.records import combine
    from aiop_core.records.cache import GraphCache

    try:
        parts = [float(part) for part in fractions.split(",")]
    except ValueError:
        raise click.BadParameter(f"'{fractions}' is not numbers separated by commas, such as 0.8,0.1,0.1") from None
    words = {2: ("train", "test"), 3: ("train", "dev", "test")}.get(len(parts), range(1, len(parts) + 1))
    paths = [Path(f"{prefix}.{word}.safetensors") for word in words]
    check_free(paths, force=force)
    whole = GraphCache.load(cache)
    found = combine.split(whole, parts, seed=seed)
    repeated = len(whole) - len(set(fingerprints(whole.graphs)))
    for path, part in zip(paths, found, strict=True):
        part.save(path)
    if as_json:
        counts = [{"file": str(path), "graphs": len(part)} for path, part in zip(paths, found, strict=True)]
        print_json({"parts": counts, "repeated_networks": repeated})
        return
    for path, part in zip(paths, found, strict=True):
        click.echo(f"{path}: {len(part)} graphs, {len(part) / len(whole):.1%}")
    if repeated:
        click.echo(f"{repeated} graphs are networks that another graph is, too; they stay beside it")


@command.command("score", cls=PluginCommand, kinds=("profiler",), epilog=_SCORE_EXAMPLES)
@click.argument("cache", type=_FILE)
@plugin_option("profiler", "What scores each architecture.", required=True)
@click.option("--out", "-o", type=_FILE, metavar="FILE", help="The cache to write; CACHE itself by default.")
@click.option("--allow-code", is_flag=True, help="Run Python files and packages that the cache names as models.")
@flags.seed_option
@_force
@config_option
@flags.json_option
@click.pass_context
def score(
    ctx: click.Context, /, cache: Path, out: Path | None, allow_code: bool, seed: int, force: bool, as_json: bool
) -> None:
    """Score the architectures of a cache, and keep the scores in it as features.

    Each is made anew with random weights that follow from --seed. A killed run goes on where
    it stopped.
    """
    from aiop_core.cli.view import open_view, print_json
    from aiop_core.pipeline.caches import check_free
    from aiop_core.pipeline.scoring import score_cache
    from aiop_core.records.cache import GraphCache

    profiler = selection(ctx, "profiler")
    out = out or cache
    if out != cache:
        check_free([out], force=force)
    read, journal = GraphCache.load(cache), out.with_name(out.name + ".scoring")
    with open_view() as view:
        scored = score_cache(
            ctx.obj.registry, read, profiler, seed=seed, journal=journal, view=view, allow_code=allow_code
        )
    scored.cache.save(out)
    journal.unlink()
    failed = [{"family": family, "spec": spec, "why": why} for (family, spec), why in scored.failed.items()]
    if as_json:
        print_json({"file": str(out), "graphs": len(read), "scores": list(scored.names), "failed": failed})
        return
    click.echo(f"{out}: {len(read)} graphs with {', '.join(scored.names)}")
    if failed:
        click.echo(f"{len(failed)} architectures have no scores; the first, {failed[0]['spec']}: {failed[0]['why']}")


def _tell(path: Path, cache: Any, repeats: int, as_json: bool, dropped_scores: Sequence[str] = ()) -> None:
    """What was written."""
    from aiop_core.cli.view import print_json

    if as_json:
        told = {"file": str(path), "graphs": len(cache), "metric": cache.metric.name, "repeats_dropped": repeats}
        print_json(told | ({"scores_dropped": list(dropped_scores)} if dropped_scores else {}))
        return
    click.echo(f"{path}: {len(cache)} graphs with {cache.metric.name}, from {', '.join(sorted(set(cache.families)))}")
    if repeats:
        click.echo(f"{repeats} entries repeat an earlier one and were dropped")
    if dropped_scores:
        click.echo(f"scores that not all caches have from one source were dropped: {', '.join(dropped_scores)}")
