"""``aiop plugins``: what is installed, and what is broken."""

from __future__ import annotations

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.options import option_fields


@click.command("plugins")
@flags.json_option
@click.pass_obj
def command(app: App, as_json: bool) -> None:
    """List what is installed: families, tasks, predictors, profilers, executors, zoos, operations, requirements.

    A plugin that cannot be loaded is listed with its error. AIOP_LOAD_PLUGINS=a,b loads
    only those; AIOP_STRICT_PLUGINS=1 makes a broken one an error.
    """
    from aiop_core.cli.view import print_json, print_table

    plugins = app.registry.plugins()
    if as_json:
        print_json(
            [
                {
                    "kind": p.kind,
                    "name": p.name,
                    "distribution": p.source.distribution,
                    "version": p.source.version,
                    "summary": p.registration.summary if p.registration else "",
                    "options": [f.name for f in option_fields(p.registration.options)] if p.registration else [],
                    "error": p.error,
                }
                for p in plugins
            ]
        )
        return
    if not plugins:
        click.echo(
            "No plugins are installed; for a start: pip install aiop-family-ofa aiop-task-hpe aiop-predictor-gnn"
        )
        return
    rows = [
        [
            p.kind,
            p.name,
            p.source.distribution,
            p.source.version,
            f"broken: {p.error}" if p.error else p.registration.summary if p.registration else "",
        ]
        for p in plugins
    ]
    print_table("", ["kind", "name", "distribution", "version", "what it is"], rows, texts=5)
