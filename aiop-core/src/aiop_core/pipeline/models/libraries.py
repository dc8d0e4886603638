"""Libraries that only some kinds of models need, each an extra of aiop-core."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

from aiop_core.errors import ModelError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "onnx": ("onnx",),
    "graphdef": ("tensorboard", "google"),
    "tensorflow": ("tensorflow", "keras", "tf_keras"),
}
"""The packages that each extra brings."""


@contextmanager
def needs(extra: str, model: str) -> Iterator[None]:
    """Say how to get a library that reading ``model`` lacks.

    Raises:
        ModelError: naming the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").split(".")[0]
        if library not in EXTRAS[extra]:
            raise
        raise ModelError(
            f"reading {model} needs {library}, which is not installed: pip install 'aiop-core[{extra}]'"
        ) from error


def prepare_for_tensorflow() -> None:
    """Before code runs that may import TensorFlow: keep it quiet, and load torch's LLVM first.

    The other way round, the two copies of LLVM end the process.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if find_spec("tensorflow") and find_spec("triton") and "tensorflow" not in sys.modules:
        importlib.import_module("triton")
