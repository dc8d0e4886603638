"""Frozen TensorFlow graphs against what the research code made of them, after the changes that docs explain."""

import gzip
import json

import networkx as nx
import pytest
import torch
import torchvision

from aiop_core.graph.cost import cost
from aiop_core.graph.ops import WEIGHTED, Op, paper_op
from aiop_core.graph.passes import canonical
from aiop_core.graph.tensorflow import read_graphdef
from aiop_core.graph.trace import trace

pytestmark = pytest.mark.data

MODELS = ("DenseNet121", "MobileNetV2", "ResNet50", "VGG16")
FREEZES = ("v1freeze_tf115", "v1freeze_tf215", "v2freeze_tf215")
CASES = [(freeze, model) for freeze in FREEZES for model in MODELS]


def research(reference, folder, name):
    with gzip.open(reference / "pb" / f"{folder}.json.gz") as stream:
        return next(found for found in json.load(stream)["cgs"] if found["name"] == name)


def linked(found):
    """The research code's graph: nodes by number, edges in order."""
    graph = nx.DiGraph()
    for i, node in enumerate(found["nodes"]):
        strides = node["strides"] or [1, 1, 1, 1]
        graph.add_node(
            i,
            op=node["op_type_idx"],
            resolution=list(node["resolution"]),
            kernel=(node.get("shape") or [0] * 4)[2:],
            stride=strides[1:3],
        )
    graph.add_edges_from(found["edge_pairs"])
    return graph


def of(graph):
    """Our graph in the same words; a pooling's window is not among the research code's."""
    found = nx.DiGraph()
    for i, op in enumerate(map(Op, graph.op.tolist())):
        found.add_node(
            i,
            op=int(paper_op(op)),
            resolution=graph.resolution[i].tolist(),
            kernel=graph.kernel[i].tolist() if op in WEIGHTED else [0, 0],
            stride=graph.stride[i].tolist(),
        )
    found.add_edges_from(graph.edges.T.tolist())
    return found


def without(graph, node):
    """Drop a node that computes nothing."""
    for source in list(graph.predecessors(node)):
        for target in list(graph.successors(node)):
            graph.add_edge(source, target)
    graph.remove_node(node)


def after(graph, node, op):
    """Append a node of the same shape as the last one's result."""
    resolution = [r for r in graph.nodes[node]["resolution"][1::2] for _ in range(2)]
    graph.add_node(len(graph) + 1000, op=int(op), resolution=resolution, kernel=[0, 0], stride=[1, 1])
    graph.add_edge(node, len(graph) + 999)
    return len(graph) + 999


def explained(reference, folder, name):
    """The research code's graph of a network with what docs/graph-differences.md lists put right."""
    found = research(reference, folder, name)
    graph = linked(found)
    if folder == "v2freeze_tf215":
        assert not any(any(n["kernel"]) for _, n in graph.nodes(data=True))  # all lost
        for node, twin in zip(found["nodes"], research(reference, "v1freeze_tf215", name)["nodes"], strict=False):
            if node["kind"] == "weighted":
                assert node["resolution"] == twin["resolution"]
                graph.nodes[node["i"]]["kernel"] = twin["shape"][2:]
        (identity,) = [n for n, a in graph.nodes(data=True) if a["op"] == Op.Identity]
        without(graph, identity)
    else:
        (added,) = [n["i"] for n in found["nodes"] if n["str_id"].startswith("/added_input")]
        without(graph, added)
    if (folder, name) == ("v1freeze_tf115", "VGG16"):
        (first,) = [n["i"] for n in found["nodes"] if n["op"] == "matmul" and n["shape"][0] == 25088]
        assert graph.nodes[first]["resolution"][4] == 4096
        graph.nodes[first]["resolution"][4] = 25088
    (last,) = [n for n in graph if not graph.out_degree(n)]
    after(graph, after(graph, last, Op.OOV), Op.Output)  # the softmax, which has no word in the paper's vocabulary
    return graph


def rows(graph):
    return sorted((n["op"], *n["resolution"], *n["kernel"], *n["stride"]) for _, n in graph.nodes(data=True))


def assert_same(found, expected):
    assert rows(found) == rows(expected)
    assert nx.is_isomorphic(found, expected, node_match=lambda a, b: a == b)


@pytest.mark.parametrize(("folder", "name"), CASES)
def test_frozen_networks_equal_the_research_codes(folder, name, reference):
    graph = read_graphdef(reference / "pb" / folder / f"{name}.pb")
    assert Op.OOV not in graph.op
    assert_same(of(graph), explained(reference, folder, name))


@pytest.mark.parametrize("name", [*MODELS, "NASNetMobile"])
def test_both_ways_of_freezing_give_one_graph(name, reference):
    old, new = (read_graphdef(reference / "pb" / folder / f"{name}.pb") for folder in FREEZES[1:])
    assert old.fingerprint == new.fingerprint


TWINS = {"DenseNet121": "densenet121", "MobileNetV2": "mobilenet_v2", "VGG16": "vgg16", "ResNet50": "resnet50"}


@pytest.mark.parametrize("name", MODELS)
def test_networks_frozen_the_old_way_are_torchvisions(name, reference):
    with torch.device("meta"):
        twin = getattr(torchvision.models, TWINS[name])()
    for block in twin.modules():
        if name == "ResNet50" and hasattr(block, "conv3"):  # Keras has the stride in a block's first convolution
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
    traced = trace(torch.nn.Sequential(twin, torch.nn.Softmax(-1)), (3, 224, 224))
    frozen = read_graphdef(reference / "pb" / "v1freeze_tf115" / f"{name}.pb")
    assert canonical(frozen).fingerprint == canonical(traced).fingerprint


def test_a_plain_graph_equals_the_research_codes(reference):
    graph = read_graphdef(reference / "pb" / "synthetic_tf115" / "synth_plain.pb")
    assert_same(of(graph), linked(research(reference, "synthetic_tf115", "synth_plain")))


def test_an_atrous_pair_equals_the_research_codes_but_is_one_convolution(reference):
    expected = linked(research(reference, "synthetic_tf115", "synth_dilation_keras"))
    (spread,) = [n for n, a in expected.nodes(data=True) if a["op"] == Op.SpacetoBatchND]
    (gathered,) = [n for n, a in expected.nodes(data=True) if a["op"] == Op.BatchtoSpaceND]
    (convolution,) = expected.successors(spread)
    expected.nodes[convolution]["resolution"] = [32, 32, 32, 32, 8, 8]
    without(expected, spread)
    without(expected, gathered)
    graph = read_graphdef(reference / "pb" / "synthetic_tf115" / "synth_dilation_keras.pb")
    assert_same(of(graph), expected)
    assert cost(graph).macs == 2 * 32 * 32 * 9 * 8 * 8


def test_graphs_that_the_research_code_cannot_read(reference):
    folder = reference / "pb" / "synthetic_tf115"
    for name in ("synth_custom_op_names", "synth_dilation", "synth_split"):
        assert not research(reference, "synthetic_tf115", name)["ok"]
    assert [Op(int(op)).name for op in read_graphdef(folder / "synth_custom_op_names.pb").op] == [
        *("Input", "Conv", "ReLU", "Output")
    ]
    dilated, keras = (read_graphdef(folder / f"{name}.pb") for name in ("synth_dilation", "synth_dilation_keras"))
    assert dilated.fingerprint == keras.fingerprint
    split = read_graphdef(folder / "synth_split.pb")
    (joined,) = [i for i, op in enumerate(split.op) if op == Op.Concat]
    halves = [i for i, op in enumerate(split.op) if op == Op.Slice]
    assert len(halves) == 2
    assert all(nx.has_path(of(split), half, joined) for half in halves)


@pytest.mark.parametrize("folder", FREEZES)
def test_nasnet_is_read_whole(folder, reference):
    """The research code fails on it; the parameters are those that Keras says are trainable."""
    assert not research(reference, folder, "NASNetMobile")["ok"]
    graph = read_graphdef(reference / "pb" / folder / "NASNetMobile.pb")
    assert Op.OOV not in graph.op
    assert graph.params.sum() == 5_289_978
