"""One spelling for models."""

import json
import sys
from pathlib import Path

import click
import pytest
import torch

from aiop_core.cli.group import App, build_cli
from aiop_core.cli.model_argument import ModelSpelling
from aiop_core.contracts import Registration
from aiop_core.errors import ModelError, SpecError
from aiop_core.graph.cost import cost
from aiop_core.graph.ops import Op
from aiop_core.graph.recorder import UnknownOperationWarning
from aiop_core.hookspecs import hookimpl
from aiop_core.pipeline.models import ModelReader
from aiop_core.pipeline.models.libraries import needs
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_core.testing import reference

REGISTRY = PluginRegistry([PluginSource("reference", "aiop-core", "0", lambda: reference)])


def test_family_and_spec_with_and_without_prefix() -> None:
    family = reference.ReferenceFamily()
    with_prefix = ModelReader(REGISTRY).read("reference:d2-w8-k3")
    without = ModelReader(REGISTRY, family=family).read("d2-w8-k3")
    assert with_prefix == without
    assert with_prefix.graph == family.graph(family.parse("d2-w8-k3"), family.input_hw)
    wide = ModelReader(REGISTRY, family=family, input_hw=(128, 128)).read("d2-w8-k3")
    assert cost(wide.graph).macs > cost(with_prefix.graph).macs


def test_either_flag_sizes_a_family() -> None:
    by_shape = ModelReader(REGISTRY, input_shape=(3, 96, 128))
    graph = by_shape.read("reference:d2-w8-k3").graph
    assert graph == ModelReader(REGISTRY, input_hw=(96, 128)).read("reference:d2-w8-k3").graph
    assert graph.resolution[0].tolist() == [96, 96, 128, 128, 3, 3]
    assert by_shape.module("reference:d2-w8-k3").input_shape == (3, 96, 128)
    for shape, said in (((1, 96, 128), "1,96,128"), ((96, 128), "96,128")):
        with pytest.raises(ModelError, match=rf"take images, --input-shape 3,H,W, not {said}$"):
            ModelReader(REGISTRY, input_shape=shape).read("reference:d2-w8-k3")


@pytest.mark.parametrize("model", ["reference_zoo:wren", "torch.nn:Identity"])
def test_input_hw_is_for_families(model: str) -> None:
    message = f"--input-hw is for architectures of a family; for '{model}' write --input-shape 3,64,32$"
    for make in (ModelReader.read, ModelReader.module):
        with pytest.raises(ModelError, match=message):
            make(ModelReader(REGISTRY, input_hw=(64, 32)), model)


def test_a_task_puts_its_head_on() -> None:
    task = reference.ReferenceTask(reference.TaskOptions())
    named = ModelReader(REGISTRY, reference.ReferenceFamily(), task=task).read("d1-w4-k3")
    assert named.graph.resolution[-1, 5] == 4


@pytest.mark.filterwarnings("ignore::aiop_core.pipeline.models.code.RunsCodeWarning")
def test_a_file_and_a_package(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom torch import nn\nimport beside\n"
        "@dataclass\nclass Plan:\n    width: int = beside.WIDTH\n"
        "def net():\n    return nn.Conv2d(3, Plan().width, 3)\nready = net()\n"
    )
    (tmp_path / "beside.py").write_text("WIDTH = 5")
    reader = ModelReader(REGISTRY, input_shape=(3, 8, 8))
    for name in ("net", "ready"):
        assert cost(reader.read(f"{file}:{name}").graph).params == 140
    assert len(reader.read("torch.nn:Identity").graph) == 2


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("nothing", ModelError, r"'nothing' names no model; write family:spec \(families: reference\)"),
        ("reference:d9", SpecError, "'d9' is no chain"),
        ("no.such.package:net", ModelError, "package 'no.such.package' cannot be imported"),
        ("torch.nn:Nonsense", ModelError, "torch.nn has no 'Nonsense'; name a function"),
        ("torch.nn:Conv2d", ModelError, "torch.nn:Conv2d fails: TypeError: .* it is called without arguments"),
        ("missing.py:net", ModelError, "there is no file missing.py; write file.py:function"),
        ("referense:d1-w4-k3", ModelError, r"'referense:d1-w4-k3' names no model; did you mean 'reference:…'\? write"),
        (
            "nothing:",
            ModelError,
            r"zoo:name \(zoos: reference_zoo\), package.module:factory, file.py:factory, or a .onnx",
        ),
        ("reference_zoo:rabin", ModelError, r"has no 'rabin'; did you mean reference_zoo:robin\?"),
        ("reference_zoo:", ModelError, "it has 3 models, such as reference_zoo:wren, reference_zoo:robin"),
    ],
)
def test_bad_spellings_are_one_clear_line(model: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ModelReader(REGISTRY, input_shape=(3, 8, 8)).read(model)


@pytest.mark.filterwarnings("ignore::aiop_core.pipeline.models.code.RunsCodeWarning")
def test_factories_need_a_shape_and_must_make_a_module(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs --input-shape"):
        ModelReader(REGISTRY).read("torch.nn:Identity")
    file = tmp_path / "odd.py"
    file.write_text("def net():\n    return 5\n")
    with pytest.raises(ModelError, match=r"makes a int, expected a torch\.nn\.Module or keras"):
        ModelReader(REGISTRY, input_shape=(3, 8, 8)).read(f"{file}:net")
    file.write_text("1 / 0")
    with pytest.raises(ModelError, match=r"odd.py cannot be run: ZeroDivisionError"):
        ModelReader(REGISTRY, input_shape=(3, 8, 8)).read(f"{file}:net")


@pytest.mark.filterwarnings("ignore::aiop_core.pipeline.models.code.RunsCodeWarning")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys\nsys.exit('bye\\nnow')", r"mine.py cannot be run: SystemExit: bye$"),
        ("raise ValueError('one\\ntwo')", r"mine.py cannot be run: ValueError: one$"),
        ("def net():\n    raise SystemExit(3)", r"mine.py:net fails: SystemExit: 3; it is called without arguments$"),
        ("def net():\n    raise ValueError('\\n one\\n two')", r"mine.py:net fails: ValueError: one; it is called"),
        ("def net():\n    raise ValueError", r"mine.py:net fails: ValueError: ; it is called"),
    ],
)
def test_what_ends_a_users_code_is_one_line(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(ModelError, match=message):
        ModelReader(REGISTRY, input_shape=(3, 8, 8)).read(f"{tmp_path / 'mine.py'}:net")


def test_what_a_factory_prints_is_no_result(aiop, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\nprint('loading')\ndef net():\n    print('making')\n    return nn.Identity()\n"
    )
    shown = aiop("graph", "show", f"{tmp_path / 'mine.py'}:net", "--input-shape", "3,8,8", "--json")
    assert json.loads(shown.out)["nodes"] == 2
    assert "loading\nmaking\n" in shown.err


@pytest.mark.parametrize("shape", [f"3,{2**31},8", f"{10**30},8,8"])
def test_sizes_that_no_graph_holds_are_a_usage_error(aiop, shape: str) -> None:
    refused = aiop("graph", "show", "reference_zoo:wren", "--input-shape", shape)
    assert refused.code == 2
    assert "sizes are at most 2147483647" in refused.err


def test_a_familys_name_in_front_keeps_the_options_that_were_chosen() -> None:
    class Wide(reference.ReferenceFamily):
        input_hw = (128, 128)

    chosen = ModelReader(REGISTRY, Wide(), "reference")
    assert chosen.read("reference:d1-w4-k3") == chosen.read("d1-w4-k3")
    assert chosen.read("d1-w4-k3") != ModelReader(REGISTRY).read("reference:d1-w4-k3")


def test_a_model_of_a_zoo() -> None:
    named = ModelReader(REGISTRY).read("reference_zoo:wren")
    assert named.name == "reference_zoo:wren"
    assert cost(named.graph) == cost(ModelReader(REGISTRY).read("reference:d1-w4-k3").graph)
    small = ModelReader(REGISTRY, input_shape=(3, 32, 32)).read("reference_zoo:wren")
    assert small.graph.resolution[0].tolist() == [32, 32, 32, 32, 3, 3]


def test_a_zoo_whose_constructors_need_real_tensors_is_read_all_the_same() -> None:
    made = []

    class Looks(reference.ReferenceZoo):
        def module(self, name):
            made.append(torch.zeros(()).item())  # fails on the meta device
            return super().module(name)

    assert len(ModelReader(registry_with("looks", Looks())).read("looks:wren").graph) == 19
    assert made == [0.0]


def test_a_zoo_that_fails_says_why() -> None:
    class Fails(reference.ReferenceZoo):
        def module(self, name):
            raise OSError("no\ndisk")

    with pytest.raises(ModelError, match=r"fails:wren cannot be made: OSError: no$"):
        ModelReader(registry_with("fails", Fails())).read("fails:wren")


def registry_with(name, zoo, rule=None):
    class Plugin:
        @staticmethod
        @hookimpl
        def aiop_register_zoos():
            return [Registration(name, "A toy.", lambda _: zoo)]

        @staticmethod
        @hookimpl
        def aiop_register_operations():
            return [Registration("torch:aten::erfinv", "A toy.", lambda _: rule)] if rule else []

    return PluginRegistry([PluginSource("toy", "aiop-toy", "0", lambda: Plugin)])


def test_rules_of_plugins_reach_the_tracer() -> None:
    class Odd(reference.ReferenceZoo):
        def module(self, name):
            return Inverse()

    def rule(recorder, call):
        return recorder.emit(Op.Erf, call.values, call.shapes[0])

    with pytest.warns(UnknownOperationWarning, match="register a rule 'torch:aten::erfinv'"):
        unknown = ModelReader(registry_with("odd", Odd())).read("odd:wren").graph
    known = ModelReader(registry_with("odd", Odd(), rule)).read("odd:wren").graph
    assert [Op(int(op)).name for op in unknown.op] == ["Input", "OOV", "Output"]
    assert [Op(int(op)).name for op in known.op] == ["Input", "Erf", "Output"]


class Inverse(torch.nn.Module):
    def forward(self, x):
        return torch.erfinv(x)


def test_running_code_is_said(aiop, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\nnet = nn.Identity\n")
    done = aiop("graph", "show", f"{tmp_path / 'mine.py'}:net", "--input-shape", "3,8,8")
    assert done.code == 0
    assert f"Warning: {tmp_path / 'mine.py'} is a program, and naming it as a model runs it" in done.err


def test_a_task_gives_a_whole_model_no_head() -> None:
    task = reference.ReferenceTask(reference.TaskOptions())
    with pytest.warns(UserWarning, match="'reference_zoo:wren' is a whole model and gets no head of the task"):
        ModelReader(REGISTRY, task=task).read("reference_zoo:wren")


def test_modules_of_families_zoos_and_factories() -> None:
    task = reference.ReferenceTask(reference.TaskOptions())
    whole = ModelReader(REGISTRY).module("reference:d1-w4-k3")
    assert (whole.name, whole.input_shape) == ("d1-w4-k3", (3, 64, 64))
    assert ModelReader(REGISTRY, task=task).module("reference:d1-w4-k3").input_shape == (3, 32, 32)
    assert not next(ModelReader(REGISTRY).module("reference_zoo:wren").module.parameters()).is_meta
    identity = ModelReader(REGISTRY, input_shape=(3, 8, 8)).module("torch.nn:Identity")
    assert isinstance(identity.module, torch.nn.Identity)


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiop_core.graph.trace", None)
    with pytest.raises(ModuleNotFoundError):
        ModelReader(REGISTRY).read("reference_zoo:wren")  # ours, not a library's
    with (
        pytest.raises(ModelError, match=r"reading net.onnx needs onnx, .*: pip install 'aiop-core\[onnx\]'"),
        needs("onnx", "net.onnx"),
    ):
        raise ModuleNotFoundError("No module named 'onnx.helper'", name="onnx.helper")


def test_the_shell_completes_prefixes_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    context = click.Context(build_cli(REGISTRY), obj=App(REGISTRY))

    def complete(text):
        found = ModelSpelling().shell_complete(context, click.Argument(["model"]), text)
        return [(item.value, item.type) for item in found]

    assert complete("ref") == [("reference:", "plain"), ("reference_zoo:", "plain")]
    assert complete("net.on") == [("net.on", "file")]
