"""Puts release 0.6 of detectron2 into this environment without a compiler, for tests and for users of ./dev.

It is the Python part of the release beside an empty module in place of the compiled part, and
the evaluation of panoptic segmentation that it imports. The project declares neither: the one
is on no package index under its own name, the other asks for a NumPy that it does not need.
"""

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

RELEASE = "pb1-detectron2==0.6"
SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"
PANOPTIC = "panopticapi-lite==0.2.0"

VERSION = "0.6+python"
"""Tells it from one that is compiled."""

PROJECT = f"""
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "detectron2"
version = "{VERSION}"
license-files = ["LICENSE"]

[tool.hatch.build.targets.wheel]
packages = ["detectron2"]
"""


def main() -> None:
    """Do it once."""
    if "detectron2" in {distribution.name for distribution in metadata.distributions()}:
        return
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{RELEASE} --hash=sha256:{SHA256}\n", encoding="utf-8")
        options = ["--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--require-hashes"]
        run("cannot load", "pip", "download", "--quiet", *options, "--requirement", wanted, "--dest", folder)
        [archive] = folder.glob("*.tar.gz")
        shutil.unpack_archive(archive, folder)
        project = folder / "project"
        project.mkdir()
        for part in ("detectron2", "LICENSE"):
            next(folder.glob(f"pb1*/{part}")).rename(project / part)
        (project / "detectron2" / "_C.py").touch()
        (project / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
        options = ["--no-deps", "--no-build-isolation", "--python", sys.executable]
        run("cannot install", "uv", "pip", "install", "--quiet", *options, project, PANOPTIC)
    sys.stderr.write(f"dev: installed detectron2 {VERSION}, its Python part alone\n")


def run(failure: str, module: str, *arguments: str | Path) -> None:
    """Run a Python program of this environment; its last line is the reason if it fails."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        sys.exit(f"dev: {failure} {RELEASE} ({reason.strip()}); mend that, then run ./dev again")


if __name__ == "__main__":
    main()
