"""The entry point, and what comes without torch."""

import subprocess
import sys

import pytest

from aiop_core.errors import OptionError
from aiop_core.plugins import PluginRegistry, installed_sources

NAMES = ["ofa_mbv3", "ofa_pn", "ofa_resnet"]


@pytest.fixture(scope="module")
def registry():
    return PluginRegistry([s for s in installed_sources() if s.name == "ofa"], strict=True)


def test_three_families(registry):
    assert registry.names("family") == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_families_are_made_from_texts(registry, name):
    family = registry.create("family", name, {"sampling": "depth", "weights": "none"})
    assert family.input_hw == (224, 224)
    assert len(family.sample(2, seed=0)) == 2


def test_widths(registry):
    stem = [registry.create("family", "ofa_mbv3", {"width": w}).graph for w in ("1.0", "1.2")]
    family = registry.create("family", "ofa_mbv3")
    architecture = family.sample(1, seed=0)[0]
    channels = [graph(architecture, (224, 224)).resolution[1, 5] for graph in stem]
    assert channels == [16, 24]
    with pytest.raises(OptionError, match=r"option 'family.width' is '1.0', allowed is one of 1.3"):
        registry.create("family", "ofa_pn", {"width": "1.0"})
    with pytest.raises(OptionError, match=r"unknown option 'family.width'"):
        registry.create("family", "ofa_resnet", {"width": "1.0"})


def test_sampling_parsing_and_graphs_need_no_torch():
    code = (
        "import sys\n"
        "from aiop_core.plugins import PluginRegistry\n"
        "family = PluginRegistry().create('family', 'ofa_resnet')\n"
        "family.graph(family.parse(family.sample(1, seed=0)[0].spec), (224, 224))\n"
        "assert 'torch' not in sys.modules and 'PIL' not in sys.modules\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env={"AIOP_LOAD_PLUGINS": "ofa"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
