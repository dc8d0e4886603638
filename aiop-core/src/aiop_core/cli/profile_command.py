"""``aiop profile``: MACs and parameters of body, head and whole of a run's architectures."""

from __future__ import annotations

from pathlib import Path

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App

_EXAMPLES = """\b
Examples:
  aiop profile runs/TASK-FAMILY
  aiop profile runs/TASK-FAMILY --profiler NAME --profiler NAME
"""


@click.command("profile", epilog=_EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@flags.profiler_option
@click.option("--reprofile", is_flag=True, help="Count everything anew, and replace what differs.")
@flags.json_option
@click.pass_obj
def command(app: App, run: Path, profilers: tuple[str, ...], reprofile: bool, as_json: bool) -> None:
    """Count body, head and whole of every architecture of a folder of aiop label or aiop run.

    The numbers go into the folder's records; what these have already stays as it is. A killed
    profiling goes on where it stopped, and several processes can share one folder.
    """
    from aiop_core.cli.view import open_view, print_json, print_table
    from aiop_core.pipeline.profile import profile_json, profile_rows, profile_run, run_profiler
    from aiop_core.records.store import LabelStore

    store = LabelStore(run)
    with open_view() as view:
        done = profile_run(run_profiler(app.registry, store, profilers), store, view, again=reprofile)
    if as_json:
        summary = {"profiled": done.profiled, "skipped": done.skipped, "failed": done.failed}
        print_json({"run": str(run), **summary, "records": profile_json(store)})
        return
    rows = [
        [name, *(f"{value:,.4g}" for value in (min(values), sum(values) / len(values), max(values))), str(len(values))]
        for name, values in profile_rows(store)
        if values
    ]
    print_table(f"{run}", ["", "least", "mean", "most", "architectures"], rows)
    click.echo(f"{len(done.profiled)} profiled, {len(done.skipped)} before, {len(done.failed)} failed")
