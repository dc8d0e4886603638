"""The command line: ``aiop``. Importing it imports neither torch nor any plugin."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import click

from aiop_core.errors import AiopError


def main() -> None:
    """Entry point of the ``aiop`` script: one line for a user's mistake, exit 1."""
    from aiop_core.cli.group import build_cli
    from aiop_core.plugins import PluginRegistry

    debug = "--debug" in sys.argv[1:]
    warnings.showwarning = _show_warning
    try:
        arguments = [a for a in sys.argv[1:] if a != "--debug"]  # wherever it stands
        code = build_cli(PluginRegistry()).main(arguments, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(_interrupted(sys.argv[1:]), err=True)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        sys.stderr.close()
        sys.exit(141)
    except AiopError as error:
        if debug:
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        text = (str(error).strip().splitlines() or [""])[0]
        click.echo(
            f"Error: unexpected {type(error).__name__}: {text} (--debug shows where; please report it)", err=True
        )
        sys.exit(1)


def _interrupted(arguments: list[str]) -> str:
    """What to say after Ctrl-C: some commands resume."""
    command = next((a for a in arguments if not a.startswith("-")), "")
    resumes = command in ("run", "label", "latents", "head", "supernet", "agreement", "profile", "train", "evaluate")
    again = "; the same command again goes on where this one stopped" if resumes else ""
    return f"Interrupted{again}."


def _show_warning(message: Any, category: type[Warning], *args: Any, **kwargs: Any) -> None:  # noqa: ARG001
    """Our own warnings and users' as one line; other libraries' are not for our users."""
    if category.__module__.startswith("aiop_") or category is UserWarning:
        click.echo(f"Warning: {message}", err=True)
