"""Composed graphs: against traced ones, the research code's, published costs and golden numbers."""

import ast
import csv
import gzip
import json
import time
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from aiop_core.graph.cost import cost
from aiop_core.graph.ops import Op
from aiop_core.graph.trace import trace
from aiop_family_ofa.family import create
from aiop_family_ofa.options import MobileNetV3Options, ProxylessOptions, ResNetOptions

FAMILIES = {
    "ofa_pn": ProxylessOptions(),
    "ofa_mbv3": MobileNetV3Options(),
    "ofa_mbv3_w1.0": MobileNetV3Options(width=1.0),
    "ofa_resnet": ResNetOptions(),
}
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "ofa_graphs.json").read_text())


def on_meta(family, architecture):
    with torch.device("meta"):
        return family.network(architecture).eval()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("hw", [(224, 224), (193, 130)])
def test_composed_equals_traced(name, hw):
    family = create(FAMILIES[name])
    for architecture in family.sample(3, seed=2):
        composed = family.graph(architecture, hw)
        assert composed.fingerprint == trace(on_meta(family, architecture), (3, *hw)).fingerprint


@pytest.mark.parametrize("name", FAMILIES)
def test_cost_agrees_with_independent_counters(name):
    """Parameters with the module's, MACs with half of what torch's counter calls FLOPs."""
    family = create(FAMILIES[name])
    for architecture in family.sample(3, seed=3):
        network = on_meta(family, architecture)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, 160, 224, device="meta"))
        counted = cost(family.graph(architecture, (160, 224)))
        assert 2 * counted.macs == counter.get_total_flops()
        assert counted.params == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_golden_graphs(name):
    family = create(FAMILIES[name])
    for spec, expected in GOLDEN["graphs"][name].items():
        graph = family.graph(family.parse(spec), (224, 224))
        total = cost(graph)
        found = {"fingerprint": graph.fingerprint, "nodes": len(graph), "macs": total.macs, "params": total.params}
        assert found == expected


def test_composing_is_fast():
    family = create(MobileNetV3Options())
    architectures = family.sample(30, seed=0)
    start = time.perf_counter()
    for architecture in architectures:
        family.graph(architecture, (224, 224))
    assert len(architectures) / (time.perf_counter() - start) > 100


# --- Against the research code ------------------------------------------------------


def reference_graph(item):
    """A graph of the research code without its no-op identities (TensorFlow's dropout)."""
    graph = nx.DiGraph(item["edge_pairs"])
    for i, node in enumerate(item["nodes"]):
        meta, shape, strides = node["metadata"] or {}, node.get("shape") or [0] * 4, node["strides"] or [1] * 4
        kernel = tuple(meta["ksize"][1:3]) if "ksize" in meta else tuple(shape[2:])
        op = {op.name.lower(): op for op in Op}[node["op"]]
        bias = bool(meta.get("use_bias", False))
        graph.nodes[i]["row"] = (op, tuple(node["resolution"]), kernel, tuple(strides[1:3]), bias)
    for i in [i for i in graph if graph.nodes[i]["row"][0] is Op.Identity]:
        graph.add_edges_from((a, b) for a in list(graph.predecessors(i)) for b in list(graph.successors(i)))
        graph.remove_node(i)
    return graph


def our_graph(graph):
    ours = nx.DiGraph()
    for i, row in enumerate(zip(graph.op, graph.resolution, graph.kernel, graph.stride, graph.bias, strict=True)):
        op, resolution, kernel, stride, bias = row
        ours.add_node(i, row=(Op(int(op)), *(tuple(v.tolist()) for v in (resolution, kernel, stride)), bool(bias)))
    ours.add_edges_from(graph.edges.T.tolist())
    return ours


@pytest.mark.data
@pytest.mark.parametrize("name", ["ofa_pn", "ofa_mbv3", "ofa_resnet"])
def test_graphs_equal_the_research_code(name, reference):
    family = create(FAMILIES[name])
    items = json.loads(gzip.decompress((reference / "graphs" / f"cg_{name}.json.gz").read_bytes()))["cgs"]
    assert len(items) == 12
    for item in items:
        theirs = reference_graph(item)
        ours = our_graph(family.graph(family.parse(str(item["config"])), (224, 224)))
        assert sorted(nx.get_node_attributes(ours, "row").values()) == sorted(
            nx.get_node_attributes(theirs, "row").values()
        )
        assert nx.is_isomorphic(ours, theirs, node_match=lambda a, b: a["row"] == b["row"])


@pytest.mark.data
@pytest.mark.parametrize("name", ["ofa_pn", "ofa_mbv3", "ofa_resnet"])
def test_levels_are_those_of_the_heads(name, reference):
    """Features of the research code's pyramid, at 1024 × 1024."""
    family = create(FAMILIES[name])
    cases = json.loads((reference / "heads.json").read_text())["cases"]
    case = next(c for c in cases if c["family"] == name and c["case"] == "FeaturePyramidDetectron_1024")
    architecture = family.parse(str(case["original config"]))
    with torch.device("meta"):
        body = family.backbone(architecture)
    shapes = [[1, level.channels, 1024 // level.stride, 1024 // level.stride] for level in body.levels]
    assert shapes == case["body_out_shapes"]
    assert sum(p.numel() for p in on_meta(family, architecture).parameters()) == case["n_params_body_model"]


@pytest.mark.data
def test_costs_of_published_networks(shared_data):
    """Parameters and MACs of all 2,223 networks of width 1.0, as published, exactly."""
    family = create(FAMILIES["ofa_mbv3_w1.0"])
    with (shared_data / "nas" / "ofa_mbv3.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2223
    specs = []
    for row in rows:
        config = json.dumps({key: ast.literal_eval(row[key]) for key in ("ks", "e", "d")})
        architecture = family.parse(config)
        specs.append(architecture.spec)
        counted = cost(family.graph(architecture, (224, 224)))
        assert (counted.params, counted.macs) == (int(row["params"]), int(row["macs"]))
    assert len(set(specs)) == 2162  # as the data's description counts them
    for i in np.linspace(0, len(rows) - 1, 10, dtype=int):
        network = on_meta(family, family.parse(specs[i]))
        assert sum(p.numel() for p in network.parameters()) == int(rows[i]["params"])
