"""JSON files that say their version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiop_core.errors import AiopError
from aiop_core.records.whole_files import replacing

FORMAT = 2
"""Version of heads' and latents' files; raised when what they say has another meaning."""


def write_json(path: Path, values: Any) -> None:
    """All or nothing.

    Raises:
        OSError: if there is no room, which the caller can say better.
    """
    with replacing(path) as part:
        part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, *, error: type[AiopError], advice: str) -> dict[str, Any]:
    """What ``write_json`` wrote, with a key ``format``.

    Raises:
        AiopError: of the kind ``error``, if it cannot be read; closes with ``advice``.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path} does not exist; {advice}") from None
    except (OSError, ValueError) as reason:
        raise error(f"{path} cannot be read ({reason}); {advice}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        version = values.get("format") if isinstance(values, dict) else None
        raise error(f"{path} has format {version}, this version reads {FORMAT}; {advice}")
    return values
