"""Files that ``torch.load`` reads, written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from aiop_core.records.whole_files import replacing


def write_checkpoint(path: Path, state: Any) -> None:
    """Write ``state``; what stood there before is left where that fails.

    Raises:
        OSError: if there is no room; torch's own writer would raise something that does not say so.
    """
    content = io.BytesIO()
    torch.save(state, content)
    with replacing(path) as part:
        part.write_bytes(content.getbuffer())
