"""``aiop doctor``: is everything there that the installed plugins need?"""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiop_core.cli import flags
from aiop_core.cli.group import App

if TYPE_CHECKING:
    from aiop_core.capabilities import Finding
    from aiop_core.plugins import Plugin, PluginRegistry


@click.command("doctor")
@flags.json_option
@click.pass_obj
def command(app: App, as_json: bool) -> None:
    """Say what is installed, what of it does not work, and how to mend that: Python, torch, plugins and their needs.

    Exits with 1 if something is missing or broken that an installed plugin needs.
    """
    from aiop_core.cli.view import findings_json, print_findings, print_json

    findings = [*_machine(), *_distributions(app.registry)]
    for plugin in app.registry.plugins():
        if plugin.kind == "requirement":
            findings += _needs(app.registry, plugin)
    missing = [finding for finding in findings if finding.required and finding.found is None]
    if as_json:
        print_json({"complete": not missing, "findings": findings_json(findings)})
    else:
        print_findings(findings, places=True)
        needed = f"missing or broken: {', '.join(f.name for f in missing)}" if missing else "nothing is missing"
        click.echo(f"of what the installed plugins need, {needed}")
    if missing:
        raise click.exceptions.Exit(1)


def _machine() -> Iterator[Finding]:
    """Python and torch."""
    from aiop_core.capabilities import Finding

    yield Finding("Python", Path(sys.executable), f"{platform.python_version()} on {platform.platform()}")
    try:
        import torch
    except ModuleNotFoundError:
        advice = "what trains or predicts needs it: pip install 'aiop-core[torch]'"
        yield Finding("torch", Path(), None, advice, required=False)
        return
    except (ImportError, OSError) as error:
        advice = f"it cannot be imported ({' '.join(str(error).split())}); pip install --force-reinstall torch"
        yield Finding("torch", Path(), None, advice)
        return
    with warnings.catch_warnings(record=True) as told:  # such as that the driver is too old
        warnings.simplefilter("always")
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        usable = torch.cuda.is_available()
    devices = ", ".join(names) if usable else "no CUDA device: everything runs on the CPU"
    reason = "" if usable else " ".join(" ".join(str(warning.message).split()) for warning in told)
    yield Finding("torch", Path(torch.__file__).parent, f"{torch.__version__}, {devices}", reason)


def _distributions(registry: PluginRegistry) -> Iterator[Finding]:
    """Core, and what brings plugins; each broken plugin."""
    from aiop_core.capabilities import Finding
    from aiop_core.plugins import installed_sources

    versions = {source.distribution: source.version for source in installed_sources()}
    for name, version in sorted({**versions, "aiop-core": metadata.version("aiop-core")}.items()):
        yield Finding(name, Path(), version)
    for plugin in registry.broken():
        yield Finding(f"plugin {plugin.source.label}", Path(), None, f"it cannot be used: {plugin.error}")


def _needs(registry: PluginRegistry, plugin: Plugin) -> Iterator[Finding]:
    """What the check of a requirement says, even if it fails."""
    from aiop_core.capabilities import Finding

    try:
        yield from registry.create(plugin.kind, plugin.name)()
    except Exception as error:  # noqa: BLE001 - a stranger's check may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        advice = f"its check by plugin {plugin.source.label} fails ({reason}); report it to the plugin's authors"
        yield Finding(plugin.name, Path(), None, advice)
