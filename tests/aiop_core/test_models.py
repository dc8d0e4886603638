"""One spelling for models."""

from pathlib import Path

import pytest

from aiop_core.errors import ModelError, SpecError
from aiop_core.graph.cost import cost
from aiop_core.pipeline.models import ModelReader
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


def test_a_task_puts_its_head_on() -> None:
    task = reference.ReferenceTask(reference.TaskOptions())
    named = ModelReader(REGISTRY, reference.ReferenceFamily(), task=task).read("d1-w4-k3")
    assert named.graph.resolution[-1, 5] == 4


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
        ("missing.py:net", ModelError, "there is no file missing.py"),
    ],
)
def test_bad_spellings_are_one_clear_line(model: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ModelReader(REGISTRY, input_shape=(3, 8, 8)).read(model)


def test_factories_need_a_shape_and_must_make_a_module(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs --input-shape"):
        ModelReader(REGISTRY).read("torch.nn:Identity")
    file = tmp_path / "odd.py"
    file.write_text("def net():\n    return 5\n")
    with pytest.raises(ModelError, match=r"makes a int, expected a torch\.nn\.Module"):
        ModelReader(REGISTRY, input_shape=(3, 8, 8)).read(f"{file}:net")
    file.write_text("1 / 0")
    with pytest.raises(ModelError, match=r"odd.py cannot be run: ZeroDivisionError"):
        ModelReader(REGISTRY, input_shape=(3, 8, 8)).read(f"{file}:net")


def test_a_familys_name_in_front_keeps_the_options_that_were_chosen() -> None:
    class Wide(reference.ReferenceFamily):
        input_hw = (128, 128)

    chosen = ModelReader(REGISTRY, Wide(), "reference")
    assert chosen.read("reference:d1-w4-k3") == chosen.read("d1-w4-k3")
    assert chosen.read("d1-w4-k3") != ModelReader(REGISTRY).read("reference:d1-w4-k3")
