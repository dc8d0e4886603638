"""Body and pose head of all three families against the graphs that the research code made of them."""

import gzip
import json

import networkx as nx
import pytest
import torch

from aiop_core.graph.ops import PAPER_OPS, WEIGHTED, Op, paper_op
from aiop_core.graph.trace import trace
from aiop_core.plugins import PluginRegistry
from aiop_task_hpe.heads import RESNET_WIDTHS, DeconvHPEHead, SkipDeconvHPEHead
from aiop_task_hpe.task import PoseModel

pytestmark = pytest.mark.data

JOINTS = 16
CASES = [
    (family, case)
    for family in ("ofa_pn", "ofa_mbv3", "ofa_resnet")
    for case in ("DeconvHPEHead", "SkipDeconvHPEHead_skip", "SkipDeconvHPEHead_noskip")
]


def linked(nodes, edges):
    graph = nx.DiGraph()
    for i, attributes in enumerate(nodes):
        graph.add_node(i, **attributes)
    graph.add_edges_from(edges)
    return graph


def research_graph(file, family, case):
    """The research code's graph. In some of them a gate's product shows its larger input; here the smaller."""
    with gzip.open(file) as stream:
        found = next(g for g in json.load(stream)["cgs"] if (g["family"], g["case"]) == (family, case))
    before = {}
    for a, b in found["edge_pairs"]:
        before.setdefault(b, []).append(a)
    nodes = []
    for i, node in enumerate(found["nodes"]):
        resolution = list(node["resolution"])
        if node["op"] == "mul":
            smallest = min((found["nodes"][a]["resolution"] for a in before[i]), key=lambda r: r[1] * r[3] * r[5])
            resolution[0], resolution[2] = smallest[1], smallest[3]
        nodes.append(
            {"op": node["op_type_idx"], "resolution": resolution, "kernel": (node.get("shape") or [0] * 4)[2:]}
        )
    return found["config"], linked(nodes, found["edge_pairs"])


def ours(family, case, config):
    space = PluginRegistry().create("family", family)
    with torch.device("meta"):
        backbone = space.backbone(space.parse(json.dumps(config)))
        widths = RESNET_WIDTHS if family == "ofa_resnet" and case.startswith("Skip") else ()
        kind = SkipDeconvHPEHead if case.endswith("_skip") else DeconvHPEHead
        model = PoseModel(backbone, kind(backbone.levels, JOINTS, widths=widths))
    graph = trace(model, (3, 256, 256))
    assert {Op(int(op)) for op in graph.op if op >= PAPER_OPS} == {Op.ConvTranspose}
    nodes = [
        {
            "op": int(paper_op(Op(int(op)))),
            "resolution": resolution.tolist(),
            "kernel": kernel.tolist() if Op(int(op)) in WEIGHTED else [0, 0],
        }
        for op, resolution, kernel in zip(graph.op, graph.resolution, graph.kernel, strict=True)
    ]
    return without_padding(linked(nodes, graph.edges.T.tolist()))


def without_padding(graph):
    """The graph as if channels were not padded: the research code's TensorFlow twin of its head does not."""
    for node in [n for n, attributes in graph.nodes(data=True) if attributes["op"] == Op.Paddings]:
        (source,), targets = graph.predecessors(node), list(graph.successors(node))
        for target in targets:
            graph.nodes[target]["resolution"][4] = graph.nodes[node]["resolution"][4]
            graph.add_edge(source, target)
        graph.remove_node(node)
    return graph


@pytest.mark.parametrize(("family", "case"), CASES)
def test_body_and_head_equal_the_research_codes(family, case, reference):
    config, expected = research_graph(reference / "graphs" / "cg_overall_hpe.json.gz", family, case)
    found = ours(family, case, config)

    def rows(graph):
        return sorted((n["op"], *n["resolution"], *n["kernel"]) for _, n in graph.nodes(data=True))

    assert rows(found) == rows(expected)
    assert nx.is_isomorphic(found, expected, node_match=lambda a, b: a == b)
