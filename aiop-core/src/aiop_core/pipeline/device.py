"""Which device to use."""

from __future__ import annotations

from aiop_core.errors import OptionError


def resolve_device(name: str) -> str:
    """``auto`` as ``cuda`` if there is one, else ``cpu``; any other name if torch can use it.

    Raises:
        OptionError: if torch does not know the device or has none of it.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(f"--device {name} cannot be used: {reason}; try --device auto or cpu") from None
    return name
