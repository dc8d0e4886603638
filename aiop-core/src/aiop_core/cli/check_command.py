"""``aiop check``: does a plugin keep its contract?"""

from __future__ import annotations

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App
from aiop_core.cli.plugin_options import USES
from aiop_core.errors import AiopError, UnknownNameError
from aiop_core.options import suggest
from aiop_core.plugins import KINDS, Plugin


@click.command("check")
@click.argument("name")
@click.option("--kind", type=click.Choice(sorted(KINDS)), help="Where the name is used in several kinds.")
@click.option(
    "-o",
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Check it with this option, such as epochs=1 or tune.epochs=1; repeatable.",
)
@flags.json_option
@click.pass_obj
def command(app: App, name: str, kind: str | None, options: tuple[str, ...], as_json: bool) -> None:
    """Run the conformance checks on an installed plugin: family, task, predictor, zoo.

    Exits with 1 if one fails.
    """
    from aiop_core.cli.view import print_json
    from aiop_core.testing import run_checks

    plugin = _find(app, name, kind)
    assert plugin.registration is not None
    values: dict[str, dict[str, str]] = {"": {}, **{use: {} for use in USES}}
    for option in options:
        key, _, value = option.partition("=")
        use, _, rest = key.partition(".")
        values[use if use in values and rest else ""][rest if use in values and rest else key] = value
    results = run_checks(plugin.kind, plugin.registration, values.pop(""), uses=values)
    failed = [result for result in results if not result.passed]
    if as_json:
        print_json(
            {
                "kind": plugin.kind,
                "name": name,
                "checks": [{"name": r.name, "passed": r.passed, "message": r.message} for r in results],
            }
        )
    else:
        for result in results:
            mark, reason = "ok    " if result.passed else "FAILED", f": {result.message}" if result.message else ""
            click.echo(f"{mark} {result.name}{reason}")
        click.echo(f"{plugin.kind} '{name}': {len(results) - len(failed)} of {len(results)} checks pass")
    if failed:
        raise click.exceptions.Exit(1)


def _find(app: App, name: str, kind: str | None) -> Plugin:
    broken = [p for p in app.registry.broken() if p.name == name]
    if broken:
        raise AiopError(f"plugin {broken[0].source.label} is broken: {broken[0].error}")
    found = [p for p in app.registry.plugins() if p.name == name and kind in (None, p.kind)]
    if not found:
        names = sorted({p.name for p in app.registry.plugins() if kind in (None, p.kind)})
        raise UnknownNameError(f"nothing named '{name}' is installed; {suggest(name, names)}")
    if len(found) > 1:
        kinds = ", ".join(p.kind for p in found)
        raise UnknownNameError(f"'{name}' is the name of several plugins; say which with --kind: {kinds}")
    return found[0]
