"""The entry point, the contract, and what comes without torch."""

import subprocess
import sys

import pytest

from aiop_core.errors import OptionError
from aiop_core.testing import conformance_tests
from aiop_family_nasbench import plugin

NAMES = ["nb101", "nb201", "tnb101_macro", "tnb101_micro"]
NB101, NB201, MICRO, MACRO = plugin.aiop_register_families()


@conformance_tests("family", NB101)
def test_nb101(check):
    check()


@conformance_tests("family", NB201)
def test_nb201(check):
    check()


@conformance_tests("family", MICRO)
def test_tnb101_micro(check):
    check()


@conformance_tests("family", MACRO)
def test_tnb101_macro(check):
    check()


def test_four_families(registry):
    assert registry.names("family") == NAMES


def test_images_and_classes_follow_the_options(family, on_meta):
    sizes = {"cifar10": (32, 10), "cifar100": (32, 100), "imagenet16_120": (16, 120)}
    for dataset, (side, classes) in sizes.items():
        nb201 = family("nb201", dataset=dataset)
        assert nb201.input_hw == (side, side)
        assert on_meta(nb201, nb201.parse("3_33_333")).head.steps[0][-1].out_features == classes
    assert family("tnb101_micro", task="jigsaw").input_hw == (192, 192)
    assert family("tnb101_micro", task="normal").input_hw == (256, 256)


def test_unknown_options_are_refused(family):
    with pytest.raises(OptionError, match=r"option 'family.task' is 'depth', allowed is one of class_scene"):
        family("tnb101_micro", task="depth")
    with pytest.raises(OptionError, match=r"option 'family.dataset' is 'mnist', allowed is one of cifar10"):
        family("nb201", dataset="mnist")


def test_sampling_parsing_and_graphs_need_no_torch():
    code = (
        "import sys\n"
        "from aiop_core.plugins import PluginRegistry\n"
        "registry = PluginRegistry()\n"
        f"for name in {NAMES}:\n"
        "    family = registry.create('family', name)\n"
        "    family.graph(family.parse(family.sample(1, seed=0)[0].spec), family.input_hw)\n"
        "assert 'torch' not in sys.modules and 'google' not in sys.modules\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env={"AIOP_LOAD_PLUGINS": "nasbench"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
