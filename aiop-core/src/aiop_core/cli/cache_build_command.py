"""``aiop cache build``: many runs as one cache for each family, metric and suffix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App

if TYPE_CHECKING:
    from aiop_core.pipeline.cache_build import Built, Part
    from aiop_core.pipeline.correlate import Correlation, Measured
    from aiop_core.pipeline.view import View

_FILE = click.Path(path_type=Path)

_EXAMPLES = """\b
Examples:
  aiop cache build runs/one runs/two --out caches --suffix lsp_ind
  aiop cache build runs/one --out lsp.safetensors --classification accuracy.csv --classification-label top1
"""


@click.command("build", epilog=_EXAMPLES)
@click.argument("runs", nargs=-1, required=True, type=_FILE, metavar="RUN...")
@click.option(
    "--out",
    "-o",
    type=_FILE,
    required=True,
    metavar="FILE|FOLDER",
    help="One cache (.safetensors), or a folder for FAMILY_METRIC_SUFFIX.safetensors of each.",
)
@click.option("--metric", metavar="NAME", help="The only one that is wanted; all of the runs' metrics by default.")
@click.option("--suffix", metavar="TEXT", help="Ends the names in the folder, such as lsp_ind.")
@click.option(
    "--classification",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="A cache, run or table of the architectures' accuracy; says how it correlates with the labels. Repeatable.",
)
@click.option("--classification-label", metavar="COLUMN", help="With a table: the column of measured accuracies.")
@click.option(
    "--classification-spec", default="spec", show_default=True, metavar="COLUMN", help="With a table: the specs."
)
@click.option("--recount", is_flag=True, help="Count MACs and parameters on the graphs instead of keeping others'.")
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@flags.json_option
@click.pass_obj
def command(
    app: App,
    runs: tuple[Path, ...],
    out: Path,
    metric: str | None,
    suffix: str | None,
    classification: tuple[Path, ...],
    classification_label: str | None,
    classification_spec: str,
    recount: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Build one cache of many runs for each family and metric; every architecture stands in it once.

    RUN is a folder of aiop label or aiop run, a cache, or a cache's name: ofa_pn_val_PCK_lsp_ind is
    found as ofa_pn_val_PCK_lsp_ind.safetensors and as gpi_ofa_pn_val_PCK_lsp_ind_comp_graph_cache.pkl.
    """
    from aiop_core.cli.view import open_view, print_json
    from aiop_core.errors import CacheError
    from aiop_core.pipeline.cache_build import build, read_parts
    from aiop_core.pipeline.caches import check_free
    from aiop_core.pipeline.correlate import CanonicalSpecs, correlate

    specs = CanonicalSpecs(app.registry)
    with open_view() as view:
        others = [
            other
            for file in classification
            for other in _classification(app, file, classification_label, classification_spec, view)
        ]
        parts: list[Part] = []
        progress = view.stage("read")
        for i, run in enumerate(runs):
            progress(i, len(runs), str(run))
            parts += read_parts(app.registry, run, view, metric=metric, suffix=suffix)
        progress(len(runs), len(runs))
        built = build(parts, specs, recount=recount)
        one_file = bool(out.suffix) and not out.is_dir()
        if one_file and len(built) > 1:
            names = ", ".join(item.name.file for item in built)
            raise CacheError(f"{out} is one file, and these are {len(built)} caches ({names}); give a folder as --out")
        paths = [out] if one_file else [out / item.name.file for item in built]
        check_free(paths, force=force)
        agreement = [correlate(item.cache, others, specs) if others else None for item in built]
    if others and not any(found and found.count for found in agreement):
        names = ", ".join(map(str, classification))
        raise CacheError(f"none of the {len(others)} architectures of {names} is among those of the runs")
    for path, item in zip(paths, built, strict=True):
        _make_folder(path.parent)
        item.cache.save(path)
    if as_json:
        print_json({"caches": [_json(*told) for told in zip(paths, built, agreement, strict=True)]})
        return
    for path, item, found in zip(paths, built, agreement, strict=True):
        _tell(path, item, found, classification)


def _classification(app: App, file: Path, label: str | None, spec: str, view: View) -> list[Measured]:
    from aiop_core.pipeline.cache_build import read_parts
    from aiop_core.pipeline.correlate import Measured, measured_in_table

    if file.suffix in (".csv", ".tsv", ".parquet", ".pq"):
        if label is None:
            raise click.UsageError(f"{file} is a table; name its column of accuracies with --classification-label")
        return measured_in_table(file, label, spec)
    parts = read_parts(app.registry, file, view, unit="as published")  # only ranks count
    return [
        Measured(part.name.family, text, value)
        for part in parts
        for text, value in zip(part.cache.specs, part.cache.labels.tolist(), strict=True)
    ]


def _make_folder(folder: Path) -> None:
    from aiop_core.errors import CacheError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError(f"folder {folder} cannot be made: {error.strerror}; name another with --out") from None


def _json(path: Path, built: Built, found: Correlation | None) -> dict[str, Any]:
    name = built.name
    told = {
        "file": str(path),
        "family": name.family,
        "metric": name.metric,
        "suffix": name.suffix,
        "graphs": len(built.cache),
        "repeats_dropped": built.repeats,
        "scores_dropped": list(built.dropped_scores),
    }
    if found is None:
        return told
    return told | {
        "classification": {"architectures": found.count, "spearman": found.spearman, "kendall": found.kendall}
    }


def _tell(path: Path, built: Built, found: Correlation | None, files: Sequence[Path]) -> None:
    from aiop_core.pipeline.scores import score_text

    metric = built.cache.metric
    click.echo(f"{path}: {len(built.cache)} graphs of {built.name.family} with {metric.name}")
    if built.repeats:
        other = f"; {built.differing} of them had another label" if built.differing else ""
        click.echo(f"  {built.repeats} repeat an earlier architecture and were dropped{other}")
    if built.dropped_scores:
        click.echo(f"  scores that not all have from one source were dropped: {', '.join(built.dropped_scores)}")
    if found is not None:
        texts = [
            f"{name} {score_text(interval, key, metric)}"
            for name, key, interval in (("Spearman", "spearman", found.spearman), ("Kendall", "kendall", found.kendall))
        ]
        click.echo(
            f"  with the accuracy in {', '.join(map(str, files))}, {found.count} architectures: {', '.join(texts)}"
        )
