"""Pickles of plain data, read without running anything that they name."""

from __future__ import annotations

import bz2
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.errors import DataError

_NUMBER = re.compile(r"b1|[iu][1248]|f[248]")


class _Dtype:
    """A numpy type of plain numbers."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not _NUMBER.fullmatch(code):
            raise pickle.UnpicklingError("it holds a numpy array of other things than numbers")
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """The byte order; numbers are written as those of the machine that reads nearly always are."""
        if state[1] == ">":
            self.code = f">{self.code}"


def _scalar(dtype: Any, data: Any) -> Any:
    """A numpy number as Python's."""
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
        raise pickle.UnpicklingError("it holds a damaged number")
    return np.frombuffer(data, dtype.code)[0].item()


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}
"""Every name that a pickle may give, and what stands for it."""


class _Reader(pickle.Unpickler):
    """Makes plain data, dictionaries in order, and numbers."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands for an allowed name."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which is refused; allowed are plain data and numbers"
            ) from None


def read_bz2(path: Path) -> Any:
    """What a ``.pickle.pbz2`` file holds.

    Raises:
        DataError: if the file is missing or damaged, or holds anything but plain data.
    """
    try:
        with bz2.open(path) as file:
            return _Reader(file).load()
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; give NATS-Bench's folder or file") from None
    except Exception as error:  # what a damaged pickle raises depends on where it is damaged
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is not read: {reason:.200}; is it a .pickle.pbz2 file of NATS-Bench?") from error


def read_torch(path: Path) -> Any:
    """What a file of ``torch.save`` holds.

    Raises:
        DataError: if the file is missing or damaged, or holds anything but plain data.
    """
    import torch

    if not path.is_file():
        raise DataError(f"there is no file {path}; give a NAS-Bench-201-*.pth")
    numbers: list[Any] = [np.dtype, *(type(np.dtype(code)) for code in ("b1", "i4", "i8", "f4", "f8"))]
    numbers += [(np.float64().__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    try:
        with torch.serialization.safe_globals(numbers):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # likewise
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it asks for {named[1]}, which is refused" if named else "it is damaged, or no file of torch"
        raise DataError(f"{path} is not read: {reason}; is it a NAS-Bench-201-*.pth?") from error
