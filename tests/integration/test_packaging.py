"""Each distribution builds a wheel that installs and imports with its own dependencies and nothing else.

The wheel is installed into an empty folder, beside which only the declared dependencies
of the running environment are linked. Nothing is downloaded.
"""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.parent.name for path in ROOT.glob("aiop-*/pyproject.toml"))

ON_NO_INDEX = {"aiop-task-detectron2": {"detectron2"}}
"""What a distribution imports and cannot require, as it is compiled for the torch at hand."""

IMPORT_ALL = """
import importlib, pkgutil, sys
site, package = sys.argv[1:]
sys.path.insert(0, site)
root = importlib.import_module(package)
assert root.__file__.startswith(site), root.__file__
missing = set()
for module in pkgutil.walk_packages(root.__path__, package + "."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing.add(error.name)
print(*sorted(missing))
"""


def package(name):
    return name.replace("-", "_")


def requirements(name, extras=()):
    """The direct dependencies of a member of the workspace, as its ``pyproject.toml`` declares them."""
    project = tomllib.loads((ROOT / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for e in extras for line in project["optional-dependencies"][e])]
    return [Requirement(line) for line in lines]


def all_extras(name):
    """Every extra that a member of the workspace offers."""
    project = tomllib.loads((ROOT / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return tuple(project.get("optional-dependencies", {}))


def closure(direct):
    """The names of all distributions that some requirements bring, themselves included."""
    found, queue = {}, list(direct)
    while queue:
        requirement = queue.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in found and requirement.extras <= found[name]:
            continue
        found[name] = found.get(name, set()) | requirement.extras
        for line in metadata.requires(name) or ():
            inner = Requirement(line)
            if any(inner.marker is None or inner.marker.evaluate({"extra": e}) for e in ("", *found[name])):
                queue.append(inner)
    return set(found)


def link(name, site):
    """Show one installed distribution in ``site``."""
    dist = metadata.distribution(name)
    for top in {file.parts[0] for file in dist.files or () if file.parts[0] not in {"..", "__pycache__"}}:
        source, target = Path(str(dist.locate_file(top))), site / top
        if source.exists() and not target.exists():
            target.symlink_to(source)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Every distribution's wheel, by its name."""
    out = tmp_path_factory.mktemp("wheels")
    built = {}
    for name in NAMES:
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT / name],
            check=True,
            capture_output=True,
        )
        built[name] = next(out.glob(f"{package(name)}-*.whl"))
    return built


def install(wheel, site):
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--target", site, wheel],
        check=True,
    )


def import_alone(name, extras, wheels, site):
    """The modules that a distribution's modules miss when only declared ones are there."""
    install(wheels[name], site)
    needed = closure(requirements(name, extras)) - {name}
    for dependency in needed & set(NAMES):
        install(wheels[dependency], site)
    for dependency in needed - set(NAMES):
        link(dependency, site)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORT_ALL, site, package(name)], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("name", NAMES)
def test_wheel_holds_the_package_and_nothing_else(name, wheels):
    with zipfile.ZipFile(wheels[name]) as wheel:
        files = wheel.namelist()
    tops = {re.sub(r"-[\d.]+\.dist-info", ".dist-info", file.split("/")[0]) for file in files}
    assert tops == {package(name), f"{package(name)}.dist-info"}
    sources = {str(p.relative_to(ROOT / name / "src")) for p in (ROOT / name / "src" / package(name)).rglob("*.*")}
    sources = {s for s in sources if "__pycache__" not in s and (ROOT / name / "src" / s).is_file()}
    assert sources == {file for file in files if file.startswith(package(name) + "/")}


@pytest.mark.parametrize("name", NAMES)
def test_wheel_imports_with_its_own_dependencies_only(name, wheels, tmp_path):
    assert import_alone(name, all_extras(name), wheels, tmp_path) == ON_NO_INDEX.get(name, set())


def test_core_without_extras_misses_only_what_they_bring(wheels, tmp_path):
    assert import_alone("aiop-core", (), wheels, tmp_path) <= {"torch", "onnx"}


def test_command_line_of_core_alone_runs(wheels, tmp_path):
    import_alone("aiop-core", (), wheels, tmp_path)
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from aiop_core.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, tmp_path, "plugins", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ofa" not in done.stdout


def undeclared(sources, declared, own):
    """Top-level modules that sources import, in functions too, and that no direct requirement provides."""
    providers = metadata.packages_distributions()
    allowed = {re.sub(r"[-_.]+", "-", requirement.name).lower() for requirement in declared}
    for source in sources:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                node.body = []
        for node in ast.walk(tree):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for top in {str(module).split(".")[0] for module in modules} - set(sys.stdlib_module_names) - {own}:
                if not allowed & {re.sub(r"[-_.]+", "-", p).lower() for p in providers.get(top, [top])}:
                    yield top


@pytest.mark.parametrize("name", NAMES)
def test_every_import_is_declared(name):
    project = tomllib.loads((ROOT / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sources = [p.read_text(encoding="utf-8") for p in (ROOT / name / "src").rglob("*.py")]
    declared = requirements(name, project.get("optional-dependencies", {}))
    assert set(undeclared(sources, declared, package(name))) == ON_NO_INDEX.get(name, set())


def test_undeclared_imports_are_seen(wheels, tmp_path):
    source = "import json, numpy\ndef f():\n    import networkx.classes"
    assert set(undeclared([source], [Requirement("numpy")], "mine")) == {"networkx"}
    install(wheels["aiop-core"], tmp_path)
    (tmp_path / "aiop_core" / "stray.py").write_text("import networkx")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORT_ALL, tmp_path, "aiop_core"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "networkx" in done.stdout
