"""``aiop nasbench``: the benchmarks' published labels."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("nasbench")
def nasbench() -> None:
    """Read the published labels of NAS benchmarks."""


@nasbench.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The table to write, .csv or .parquet.",
)
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
def import_(source: Path, out: Path, force: bool) -> None:
    """Turn a published file into a table that ``aiop train --table`` reads.

    SOURCE is NAS-Bench-101's .tfrecord, NATS-Bench's folder NATS-tss-*-simple or its file
    NATS-tss-*.pickle.pbz2, or NAS-Bench-201's .pth. TensorFlow is not needed, and nothing
    that a file names is run.
    """
    from aiop_core.cli.view import open_view
    from aiop_core.errors import DataError
    from aiop_family_nasbench.labels import nats_file, nb101_file

    if out.suffix not in (".csv", ".parquet"):
        raise DataError(f"{out} must end with .csv or .parquet, by which the file is known")
    if out.exists() and not force:
        raise DataError(f"{out} exists; name another file, or overwrite it with --force")
    read = nb101_file.read if source.suffix == ".tfrecord" else nats_file.read
    with open_view() as view:
        table = read(source, view.stage("read"))
    table.write(out)
    click.echo(f"{out}: {len(table.rows)} architectures of {table.family}")
    click.echo(f"Labels: {', '.join(table.label_columns)}")
    accuracy = next((name for name in table.label_columns if "_val_" in f"_{name}"), table.label_columns[0])
    unit = "" if table.unit == "percent" else f" --label-unit {table.unit}"
    click.echo(
        f"Next: aiop train --table {out} --family {table.family} "
        f"--spec-columns {','.join(table.spec_columns)} --label {accuracy}{unit}"
    )
