"""Imports detectron2, or says in one line why that cannot be done.

Nothing imports detectron2 before :func:`require` is called; after it, any module may.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from aiop_core.capabilities import Finding
from aiop_core.errors import PluginError

_USED = ("detectron2", "detectron2.modeling", "detectron2.data", "detectron2.evaluation", "detectron2.engine")

_COMPILED = "detectron2._C"
"""Rotated boxes, deformable convolutions and a faster COCO evaluation: nothing that the task cannot do without."""

_BESIDE = {
    "pycocotools": ("pycocotools.cocoeval", "pip install pycocotools"),
    # its metadata ask for NumPy 1, which it does not need
    "panopticapi": ("panopticapi.evaluation", "pip install --no-deps panopticapi-lite"),
}
"""What detectron2's evaluators import when they run: the module, and the command that installs it."""


def require() -> None:
    """Import detectron2, and what its evaluators need.

    Before that, Pillow and NumPy get back the names that release 0.6 uses and newer ones
    dropped: ``PIL.Image.LINEAR``, and ``int``, ``float`` and ``str`` of NumPy, each only where
    it is missing. Warnings of the import are not shown, nor what torch says later of two of its
    functions: nobody but detectron2's authors can mend that.

    Raises:
        PluginError: if something is not installed, or detectron2 does not work with the torch at hand.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("detectron2", *_BESIDE):
            _load(name)
    warnings.filterwarnings("ignore", r"torch\.meshgrid: in an upcoming release", UserWarning)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)  # of is_fx_tracing


def condition() -> Sequence[Finding]:
    """What of detectron2 there is, for ``aiop doctor``."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("detectron2", *_BESIDE):
            try:
                _load(name)
            except PluginError as error:
                found.append(Finding(name, _place(name), None, str(error)))
            else:
                found.append(Finding(name, _place(name), _version(name)))
    return found if found[0].found is None else [found[0], _compiled(), *found[1:]]


def _load(name: str) -> None:
    """Import detectron2, or something that its evaluators need.

    Raises:
        PluginError: if it cannot be imported.
    """
    if name == "detectron2":
        _load_detectron2()
        return
    module, install = _BESIDE[name]
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise PluginError(f"detectron2's evaluators need {name} ({error}); install it: {install}") from error


def _load_detectron2() -> None:
    if util.find_spec("detectron2") is None:
        from aiop_task_detectron2.building import install_command

        raise PluginError(f"detectron2 is not installed; install it for the torch at hand: {install_command()}")
    _restore_names()
    try:
        for name in _USED:
            importlib.import_module(name)
        if util.find_spec(_COMPILED):
            importlib.import_module(_COMPILED)
    except Exception as error:
        absent = (error.name or "") if isinstance(error, ModuleNotFoundError) else ""
        if absent and absent.split(".")[0] != "detectron2":
            raise PluginError(
                f"detectron2 needs {absent}, which is not installed; "
                "'pip install --upgrade aiop-task-detectron2' brings all that it needs"
            ) from error
        import torch

        from aiop_task_detectron2.building import rebuild_command

        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(
            f"detectron2 in {_place('detectron2')} does not work with torch {torch.__version__} ({reason}); "
            f"compile it anew: {rebuild_command()}"
        ) from error


def _restore_names() -> None:
    image: Any = PIL.Image
    if not hasattr(image, "LINEAR"):
        image.LINEAR = PIL.Image.Resampling.BILINEAR
    for kind in (int, float, str):
        if kind.__name__ not in vars(np):
            setattr(np, kind.__name__, kind)


def _compiled() -> Finding:
    """The compiled part; upstream runs without it, and so does release 0.6 beside an empty module."""
    name, place = f"{_COMPILED}, the compiled part", _place(_COMPILED)
    part: Any = importlib.import_module(_COMPILED) if util.find_spec(_COMPILED) else None
    if not hasattr(part, "get_compiler_version"):
        from aiop_task_detectron2.building import rebuild_command

        advice = f"the task runs without; for deformable convolutions and rotated boxes: {rebuild_command()}"
        return Finding(name, place, None, advice, required=False)
    with_cuda = getattr(part, "has_cuda", lambda: True)()
    target = f"CUDA {part.get_cuda_version()}" if with_cuda else "the CPU alone"
    return Finding(name, place, f"for {target}, by {part.get_compiler_version()}")


def _place(name: str) -> Path:
    """Where a package or module lies; an empty path if there is none."""
    spec = util.find_spec(name)
    if spec is None:
        return Path()
    return Path(spec.submodule_search_locations[0] if spec.submodule_search_locations else spec.origin or "")


def _version(library: str) -> str:
    """What it says of itself, or else the distribution that brought it."""
    told = getattr(importlib.import_module(library), "__version__", None)
    brought_by = sorted(set(metadata.packages_distributions().get(library, ())))
    return str(told or ", ".join(f"{name} {metadata.version(name)}" for name in brought_by) or "of unknown version")
