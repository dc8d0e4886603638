"""The four families, made once."""

import pytest
import torch

from aiop_core.plugins import PluginRegistry, installed_sources


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """These networks are small; threads that wait for each other cost more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def registry():
    return PluginRegistry([s for s in installed_sources() if s.name == "nasbench"], strict=True)


@pytest.fixture(scope="session")
def family(registry):
    """``family("tnb101_micro", task="jigsaw")``."""

    def make(name, **options):
        return registry.create("family", name, options)

    return make


@pytest.fixture(scope="session")
def on_meta():
    """``on_meta(family, architecture)``: the network without weights."""

    def make(family, architecture):
        with torch.device("meta"):
            return family.network(architecture).eval()

    return make
