"""The graph of body and head against the one that the research code made."""

import gzip
import json
from collections import Counter

import pytest

from aiop_core.graph.cost import cost
from aiop_core.graph.ops import Op, paper_op
from aiop_core.graph.trace import trace
from aiop_task_hpe.heads import DeconvHPEHead, SkipDeconvHPEHead
from aiop_task_hpe.options import PoseOptions
from aiop_task_hpe.task import PoseModel, PoseTask

HEADS = {"DeconvHPEHead": DeconvHPEHead, "SkipDeconvHPEHead_skip": SkipDeconvHPEHead}


def head_part(rows, edges, first):
    """Rows, and edges between rows, of what follows node ``first`` and of the skip branches that join it."""
    before = {i: [a for a, b in edges if b == i] for i in range(len(rows))}
    members, stack = {first}, [first]
    while stack:
        node = stack.pop()
        for target in (b for a, b in edges if a == node and b not in members):
            members.add(target)
            stack.append(target)
    for node in [m for m in members if rows[m][0] == "add"]:
        (branch,) = [p for p in before[node] if p not in members]
        members.add(branch)
        while rows[branch][0] != "conv":  # its 1 × 1 convolution is where a level leaves the body
            (branch,) = before[branch]
            members.add(branch)
    inner = Counter((rows[a], rows[b]) for a, b in edges if a in members and b in members)
    return Counter(rows[i] for i in members), inner


def ours(graph):
    rows = [
        (paper_op(Op(op)).name.lower(), *resolution, *kernel)
        for op, resolution, kernel in zip(
            graph.op.tolist(), graph.resolution.tolist(), graph.kernel.tolist(), strict=True
        )
    ]
    return head_part(rows, graph.edges.T.tolist(), graph.op.tolist().index(Op.ConvTranspose))


def theirs(graph):
    nodes = graph["nodes"]
    rows = [(n["op"], *n["resolution"], *(n["shape"][2:] if n.get("shape") else (0, 0))) for n in nodes]
    edges = graph["edge_pairs"]
    deconv = {i for i, n in enumerate(nodes) if n["label"] == "conv2d_transpose"}
    first = next(i for i in deconv if nodes[i]["resolution"][0] == 8)
    return head_part(rows, edges, first)


@pytest.mark.data
@pytest.mark.parametrize("case", HEADS)
def test_heads_graph_as_the_research_codes(reference, tiny_backbone, pn_levels, case):
    graphs = json.loads(gzip.decompress((reference / "graphs" / "cg_overall_hpe.json.gz").read_bytes()))["cgs"]
    expected = next(g for g in graphs if g["family"] == "ofa_pn" and g["case"] == case)
    model = PoseModel(tiny_backbone(pn_levels), HEADS[case](pn_levels, 16))
    nodes, edges = ours(trace(model, input_shape=(3, 256, 256)))
    their_nodes, their_edges = theirs(expected)
    assert nodes == their_nodes
    assert edges == their_edges


def test_graph_of_body_and_head(tiny_backbone, pn_levels):
    task = PoseTask(PoseOptions(input_size=256, head="deconv", filters=256))
    model = task.model(tiny_backbone(pn_levels))
    graphs = task.graphs(model)
    assert list(graphs) == ["val_PCK"]
    graph = graphs["val_PCK"]
    assert graph.resolution[graph.op == Op.ConvTranspose].tolist() == [
        [8, 16, 8, 16, 1664, 256],
        [16, 32, 16, 32, 256, 256],
        [32, 64, 32, 64, 256, 256],
    ]
    assert graph.resolution[-1].tolist() == [64, 64, 64, 64, 14, 14]
    assert cost(graph).params == sum(p.numel() for p in model.parameters())
