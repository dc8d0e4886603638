"""Who may import whom, read from the sources."""

import ast
import re

import pytest

LAYERS = (
    {"errors"},
    {"graph", "options", "metrics"},
    {"records"},
    {"contracts", "hookspecs"},
    {"capabilities"},
    {"sharing"},
    {"plugins", "testing"},
    {"pipeline"},
    {"cli"},
)
"""The parts of core from the bottom up; a part imports parts below it and itself, not its neighbours."""

ONLY_IN = {
    "torch_geometric": {"aiop_predictor_gnn"},
    "sklearn": {"aiop_predictor_features"},
    "detectron2": {"aiop_task_detectron2"},
    "torchvision": {"aiop_task_detectron2", "aiop_task_torchvision", "aiop_zoo_torch"},
    "pycocotools": {"aiop_coco", "aiop_task_torchvision"},
    "panopticapi": set(),
    "timm": {"aiop_zoo_torch"},
    "thop": {"aiop_profiler_counters"},
    "fvcore": {"aiop_profiler_counters", "aiop_task_detectron2"},
    "ofa": set(),
    "pickle": {"aiop_core.records.legacy", "aiop_family_nasbench.labels.pickles"},
}
"""Libraries that few modules may import, and which."""


def imports(source):
    """Every module that a source imports when it runs, wherever in it, with the line."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def broken_layers(module, source):
    """Imports of core modules that are not below ``module``'s part."""
    rank = {part: i for i, parts in enumerate(LAYERS) for part in parts}
    part = module.split(".")[1] if "." in module else None
    for name, line in imports(source):
        pieces = name.split(".")
        if pieces[0] != "aiop_core" or len(pieces) < 2 or pieces[1] not in rank or pieces[1] == part:
            continue
        if part is None or rank[pieces[1]] >= rank[part]:
            yield f"{module}:{line} imports {name}"


def foreign_imports(package, source, libraries=frozenset()):
    """Imports of aiop distributions other than core, libraries and ``package`` itself."""
    for name, line in imports(source):
        top = name.split(".")[0]
        if top.startswith("aiop_") and top not in {"aiop_core", package, *libraries}:
            yield f"{package}:{line} imports {name}"


def reserved_imports(module, source):
    """Imports of libraries that other modules keep for themselves."""
    for name, line in imports(source):
        owners = ONLY_IN.get(name.split(".")[0])
        if owners is not None and not any(module == o or module.startswith(o + ".") for o in owners):
            yield f"{module}:{line} imports {name}"


def test_a_distribution_imports_core_libraries_and_itself_only(distribution, libraries):
    allowed = libraries if distribution.package not in libraries | {"aiop_core"} else frozenset()
    found = [
        f
        for path in distribution.sources
        for f in foreign_imports(distribution.package, path.read_text(encoding="utf-8"), allowed)
    ]
    assert not found


def test_core_imports_downwards_only(core):
    known = set().union(*LAYERS) | {"__init__", "py"}
    assert {path.relative_to(core.source).parts[0].split(".")[0] for path in core.sources} <= known
    found = [f for path in core.sources for f in broken_layers(core.module(path), path.read_text(encoding="utf-8"))]
    assert not found


def test_libraries_stay_where_they_belong(distribution):
    found = [
        f
        for path in distribution.sources
        for f in reserved_imports(distribution.module(path), path.read_text(encoding="utf-8"))
    ]
    assert not found


def names_of_plugins():
    """What our own distributions register, by asking them."""
    from aiop_core.plugins import PluginRegistry

    found = PluginRegistry().plugins()
    return {p.name for p in found if p.kind != "plugin" and p.source.distribution.startswith("aiop-")}


def named(source, names):
    """Identifiers and texts that hold one of ``names``; docstrings may give examples."""
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    pattern = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, sorted(names)))})(?![\w-])")
    for node in ast.walk(tree):
        texts = [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
        texts += [node.id] if isinstance(node, ast.Name) else []
        if id(node) not in docstrings:
            yield from (f"line {node.lineno}: {text}" for text in texts if pattern.search(text))


def test_core_names_no_plugin_of_ours(core):
    names = names_of_plugins()
    assert len(names) >= 6
    found = {path.name: list(named(path.read_text(encoding="utf-8"), names)) for path in core.sources}
    assert not {name: lines for name, lines in found.items() if lines}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("aiop_core.graph.model", "from aiop_core.records import store"),
        ("aiop_core.records.store", "def f():\n    import aiop_core.pipeline.run"),
        ("aiop_core.testing.checks", "from aiop_core import plugins"),
        ("aiop_core", "from aiop_core.errors import AiopError"),
    ],
)
def test_upward_imports_are_seen(module, source):
    assert list(broken_layers(module, source))


def test_imports_for_types_alone_are_free():
    source = "if TYPE_CHECKING:\n    from aiop_core.cli import main\n"
    assert not list(broken_layers("aiop_core.errors", source))


def test_foreign_and_reserved_imports_are_seen():
    assert list(foreign_imports("aiop_core", "import aiop_family_ofa.levels"))
    assert list(foreign_imports("aiop_task_hpe", "from aiop_family_ofa import levels"))
    assert not list(foreign_imports("aiop_task_hpe", "import aiop_coco", {"aiop_coco"}))
    assert not list(foreign_imports("aiop_task_hpe", "from aiop_core import graph\nimport aiop_task_hpe.pck"))
    assert list(reserved_imports("aiop_core.graph.trace", "def f():\n    from torch_geometric.data import Data"))
    assert not list(reserved_imports("aiop_predictor_gnn.encoder", "import torch_geometric"))


def test_names_in_code_are_seen_but_not_in_docstrings():
    assert list(named('if family == "toy_net": pass', {"toy_net"}))
    assert list(named('x = "use toy_net, say"', {"toy_net"}))
    assert not list(named('def f():\n    """As in toy_net."""', {"toy_net"}))
    assert not list(named('x = "toy_network"', {"toy_net"}))
