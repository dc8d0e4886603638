"""detectron2 as it may be found: absent, of another torch, without its compiled part, whole."""

import re
import sys
from importlib import util

import numpy as np
import PIL.Image
import pytest
import torch

from aiop_core.errors import PluginError
from aiop_core.testing import conformance_tests
from aiop_task_detectron2 import building, installed
from aiop_task_detectron2.plugin import aiop_register_requirements

MODULES = ("modeling", "data", "evaluation", "engine")


@pytest.fixture
def found(tmp_path, monkeypatch):
    """``found(**sources)`` puts a package ``detectron2`` of these modules in place of the real one."""
    held = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "detectron2"}

    def put(**sources):
        folder = tmp_path / "detectron2"
        folder.mkdir()
        for name in ("__init__", *MODULES):
            (folder / f"{name}.py").write_text(sources.pop(name, "__version__ = '0.6'"))
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(source)
        return folder

    for name in held:
        del sys.modules[name]
    monkeypatch.syspath_prepend(tmp_path)
    yield put
    for name in [name for name in sys.modules if name.split(".")[0] == "detectron2"]:
        del sys.modules[name]
    sys.modules.update(held)


@pytest.fixture
def complete(monkeypatch):
    """A machine that can compile: nothing has to be installed first."""
    monkeypatch.setattr(building, "_beforehand", str)


def refusal():
    with pytest.raises(PluginError) as told:
        installed.require()
    assert "\n" not in str(told.value)
    return str(told.value)


def named(name):
    return next(finding for finding in installed.condition() if finding.name.startswith(name))


def test_absent(monkeypatch, complete):
    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *rest: None if name == "detectron2" else real(name, *rest))
    command = (
        "pip install setuptools ninja && "
        "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
    )
    assert refusal() == f"detectron2 is not installed; install it for the torch at hand: {command}"
    missing = named("detectron2")
    assert missing.found is None
    assert missing.required
    assert missing.advice == refusal()
    assert [f.name for f in installed.condition()] == ["detectron2", "pycocotools", "panopticapi"]


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        (
            {"_C": "raise ImportError('_C.so: undefined symbol: _ZN3c106detail14torchCheckFailE')"},
            r"ImportError: _C.so: undefined symbol: _ZN3c106detail14torchCheckFailE",
        ),
        ({"evaluation": "from detectron2 import _C"}, "ImportError: cannot import name '_C' from 'detectron2'"),
        ({"modeling": "import detectron2.nowhere"}, "ModuleNotFoundError: No module named 'detectron2.nowhere'"),
        (
            {"modeling": "raise RuntimeError('operator torchvision::nms\\n does not exist')"},
            "RuntimeError: operator torchvision::nms does not exist",
        ),
    ],
)
def test_of_another_torch(found, complete, sources, reason):
    folder = found(**sources)
    told = refusal()
    assert told.startswith(f"detectron2 in {folder} does not work with torch {torch.__version__} ({reason}")
    assert told.endswith(
        "compile it anew: pip install setuptools ninja && pip install --no-build-isolation --force-reinstall "
        "--no-deps 'git+https://github.com/facebookresearch/detectron2.git'"
    )
    assert named("detectron2").found is None


def test_a_dependency_of_detectron2_is_absent(found):
    found(data="import omegaconf_of_nowhere")
    assert refusal() == (
        "detectron2 needs omegaconf_of_nowhere, which is not installed; "
        "'pip install --upgrade aiop-task-detectron2' brings all that it needs"
    )


@pytest.mark.parametrize(
    ("name", "module", "command"),
    [
        ("pycocotools", "pycocotools.cocoeval", "pip install pycocotools"),
        ("panopticapi", "panopticapi.evaluation", "pip install --no-deps panopticapi-lite"),
    ],
)
def test_what_its_evaluators_need_is_absent(found, monkeypatch, name, module, command):
    found()
    monkeypatch.setitem(sys.modules, module, None)
    pattern = rf"detectron2's evaluators need {name} \(.*{module}.*\); install it: {command}"
    assert re.fullmatch(pattern, refusal())
    assert named("detectron2").found == "0.6"
    assert re.fullmatch(pattern, named(name).advice)


@pytest.mark.parametrize("sources", [{}, {"_C": ""}], ids=["absent", "empty"])
def test_without_its_compiled_part(found, complete, sources):
    found(**sources)
    installed.require()
    part = named("detectron2._C")
    assert part.found is None
    assert not part.required
    assert part.advice.startswith("the task runs without; for deformable convolutions and rotated boxes: pip install")


@pytest.mark.parametrize(("cuda", "target"), [(False, "the CPU alone"), (True, "CUDA 13.0")])
def test_with_its_compiled_part(found, cuda, target):
    found(
        _C=f"def has_cuda(): return {cuda}\ndef get_cuda_version(): return '13.0'\n"
        "def get_compiler_version(): return 'GCC 12.2'"
    )
    part = named("detectron2._C")
    assert (part.found, part.advice, part.path.name) == (f"for {target}, by GCC 12.2", "", "_C.py")


def test_restored_names_replace_none(monkeypatch):
    monkeypatch.setattr(np, "int", "kept", raising=False)
    monkeypatch.setattr(PIL.Image, "LINEAR", "kept", raising=False)
    installed._restore_names()
    assert (np.int, PIL.Image.LINEAR) == ("kept", "kept")


def test_the_real_one(detectron2):
    import detectron2.evaluation

    assert PIL.Image.LINEAR == PIL.Image.BILINEAR
    assert np.array([1.5], dtype=np.int).dtype == int
    assert detectron2.evaluation.COCOPanopticEvaluator
    assert all(finding.found for finding in installed.condition() if finding.required)


@conformance_tests("requirement", aiop_register_requirements()[0])
def test_requirement(check):
    check()


@pytest.mark.parametrize(
    ("cuda", "available", "toolkit", "begins"),
    [
        (None, False, "13.0", "pip"),
        ("13.2", False, "12.8", "pip"),
        ("13.2", True, None, "pip"),
        ("13.2", True, "13.0", "pip"),
        ("13.2", True, "12.8", "CUDA_VISIBLE_DEVICES= pip"),
    ],
)
def test_cuda_code_is_compiled_only_by_the_right_toolkit(monkeypatch, complete, cuda, available, toolkit, begins):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(building, "_toolkit", lambda: toolkit)
    for command in (building.install_command(), building.rebuild_command()):
        assert command.split(" && ")[1].startswith(f"{begins} install --no-build-isolation")


def test_the_toolkit_is_that_of_torch(monkeypatch, tmp_path):
    from torch.utils import cpp_extension

    monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
    assert building._toolkit() is None
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", str(tmp_path))
    assert building._toolkit() is None
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 12.8, V12.8.61'\n")
    nvcc.chmod(0o755)
    assert building._toolkit() == "12.8"


def test_what_the_system_lacks_is_said_first(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(building.sysconfig, "get_path", lambda name: str(tmp_path))
    first = "first let the system install g++, python3-dev, git; then pip install setuptools ninja && "
    assert building.install_command().startswith(first)
    assert building.rebuild_command().startswith(first)
