"""Imported graphs are those that our own families and tasks make: one network, one graph."""

import json

import pytest
import torch

from aiop_core.graph.trace import trace
from aiop_core.plugins import PluginRegistry
from aiop_core.records.legacy.reading import LegacyImport, read_legacy_cache
from aiop_task_hpe.heads import DeconvHPEHead
from aiop_task_hpe.task import PoseModel

pytestmark = pytest.mark.data


@pytest.fixture
def registry():
    return PluginRegistry()


def imported(reference, name):
    return read_legacy_cache(reference / "caches" / name, LegacyImport(), {}, str)


def test_classifiers_equal_those_of_our_families(reference, registry):
    cache = imported(reference, "gpi_synth300_comp_graph_cache.pkl.gz")
    assert {name: cache.families.count(name) for name in set(cache.families)} == {
        "ofa_pn": 100,
        "ofa_mbv3": 100,
        "ofa_resnet": 100,
    }
    families = {name: registry.create("family", name) for name in set(cache.families)}
    for graph, spec, name in list(zip(cache.graphs, cache.specs, cache.families, strict=True))[:60]:
        size = json.loads(spec)[0]
        assert families[name].graph(families[name].parse(spec), (size, size)).fingerprint == graph.fingerprint


def test_pose_models_equal_our_body_and_head(reference, registry):
    cache = imported(reference, "gpi_ofa_pn_val_PCK_lsp_ind_comp_graph_cache.pkl")
    family = registry.create("family", "ofa_pn")
    for graph, spec in list(zip(cache.graphs, cache.specs, strict=True))[:4]:
        joints = int(graph.resolution[-1, -1])
        with torch.device("meta"):
            body = family.backbone(family.parse(spec))
            model = PoseModel(body, DeconvHPEHead(body.levels, joints, widths=()))
        assert trace(model, (3, 256, 256)).fingerprint == graph.fingerprint
