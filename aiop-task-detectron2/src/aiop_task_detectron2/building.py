"""How detectron2 is installed beside the torch at hand: it has no wheels, so it is compiled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import torch

SOURCE = "git+https://github.com/facebookresearch/detectron2.git"
"""Upstream's main branch; the last release is of 2021 and knows only the torch of that time."""

_TOOLS = "pip install setuptools ninja"
"""What the build uses: it must see the torch at hand, so that pip may make no isolated environment for it."""


def install_command() -> str:
    """What to run in a shell to install detectron2 and what it imports, for the torch at hand."""
    return _command(f"pip install --no-build-isolation '{SOURCE}'")


def rebuild_command() -> str:
    """What to run in a shell to compile an installed detectron2 anew."""
    return _command(f"pip install --no-build-isolation --force-reinstall --no-deps '{SOURCE}'")


def _command(pip: str) -> str:
    return f"{_beforehand()}{_TOOLS} && {_environment()}{pip}"


def _environment() -> str:
    """What the command begins with.

    The build asks whether torch sees a GPU, and then compiles CUDA code, which fails if the
    toolkit's major version is not torch's. Nothing that is used here needs that code: boxes
    are pooled and suppressed by torchvision.
    """
    if torch.version.cuda is None or not torch.cuda.is_available():
        return ""
    toolkit = _toolkit()
    if toolkit is None or toolkit.split(".")[0] == torch.version.cuda.split(".")[0]:
        return ""
    return "CUDA_VISIBLE_DEVICES= "


def _toolkit() -> str | None:
    """The version of the CUDA compiler that the build would take, such as ``13.0``."""
    from torch.utils.cpp_extension import CUDA_HOME

    if CUDA_HOME is None:
        return None
    try:
        compiler = Path(CUDA_HOME) / "bin" / "nvcc"
        told = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    found = re.search(r"release (\d+\.\d+)", told.stdout)
    return found[1] if found else None


def _beforehand() -> str:
    """What the system lacks for it, by the names of Debian's packages."""
    lacking = []
    if not shutil.which(os.environ.get("CXX", "c++")):
        lacking.append("g++")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        lacking.append("python3-dev")
    if not shutil.which("git"):
        lacking.append("git")
    return f"first let the system install {', '.join(lacking)}; then " if lacking else ""
