"""Where a result comes from: versions, machine, command."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from aiop_core.hookspecs import ENTRY_POINT_GROUP


def versions() -> dict[str, str]:
    """Python and the distributions that decide a result: ours, plugins', torch and numpy."""
    names = {"aiop-core", "numpy", "torch", "torch-geometric", "scikit-learn"}
    names |= {entry.dist.name for entry in metadata.entry_points(group=ENTRY_POINT_GROUP) if entry.dist}
    found = {"python": platform.python_version()}
    for name in sorted(names):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def provenance() -> dict[str, Any]:
    """The command line, the time, the versions and the machine, as JSON values."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores",
    }
