"""Published caches as ours: on pickles as the research code writes them, and on the reference's own."""

import gzip
import json
import pickle
import resource
import time

import numpy as np
import pytest
from tests.aiop_core.published import CONV, INPUT, OUTPUT, entry, regular, research_modules, small, weighted, written

from aiop_core.errors import AiopError, CacheError
from aiop_core.graph import cost
from aiop_core.graph.ops import Op, paper_op
from aiop_core.records.cache import GraphCache
from aiop_core.records.legacy.graphs import MAX_DEPTH
from aiop_core.records.legacy.reading import LegacyImport, read_legacy_cache

NAME = "gpi_ofa_pn_val_PCK_lsp_ind_comp_graph_cache.pkl"


@pytest.fixture
def read(tmp_path):
    """Entries through a file and the reader; ``read.said`` is what the user was told."""

    def call(entries, name="gpi_x_comp_graph_cache.pkl", **how):
        path = tmp_path / name
        path.write_bytes(written(entries))
        call.said = []
        return read_legacy_cache(path, LegacyImport(**how), {"how": "a test"}, call.said.append)

    return call


def nodes(graph):
    return [Op(int(op)).name for op in graph.op]


def test_a_classification_cache(read, tmp_path):
    cache = read([entry(), entry(acc=0.5)], "gpi_nb101_comp_graph_cache.pkl")
    graph = cache.graphs[0]
    assert nodes(graph) == ["Input", "Conv", "Output"]
    assert graph.edges.T.tolist() == [[0, 1], [1, 2]]
    assert graph.resolution.tolist() == [[8, 8, 8, 8, 3, 3], [8, 4, 8, 4, 3, 6], [4, 4, 4, 4, 6, 6]]
    assert graph.kernel.tolist() == [[0, 0], [3, 3], [0, 0]]
    assert graph.stride.tolist() == [[1, 1], [2, 2], [1, 1]]
    assert graph.params.tolist() == [0, 162, 0]
    assert cache.labels.tolist() == [0.75, 0.5]
    assert (cache.metric.name, cache.metric.unit) == ("acc", "fraction")
    assert cache.specs[0] == '[224,[["mbconv2_e4_k5"]]]'
    assert cache.macs.tolist() == [2592, 2592] == [cost.cost(graph).macs] * 2
    assert cache.params.tolist() == [162, 162]
    assert cache.cost_source == "authors: MACs = flops"
    assert cache.provenance["how"] == "a test"
    assert cache.provenance["imported"]["entries"] == 2
    assert read.said == [
        f"gpi_nb101_comp_graph_cache.pkl: the authors' {what} are 1 times those that aiop counts on the graphs "
        "(median; 1 to 1)"
        for what in ("MACs", "parameters")
    ]
    cache.save(tmp_path / "c.safetensors")
    assert GraphCache.load(tmp_path / "c.safetensors").macs.tolist() == [2592, 2592]


def test_a_task_cache_doubles_macs_and_counts_in_millions(read):
    cache = read([entry(metric_map="val_PCK->acc", flops=3.0, params=12.5)], NAME)
    assert (cache.metric.name, cache.families) == ("val_PCK", ["ofa_pn"])
    assert (cache.macs.tolist(), cache.params.tolist()) == ([1_500_000_000], [12_500_000])
    assert cache.cost_source == "authors: MACs = flops / 2"


def detection(**other):
    """As training gives it: graphs and percentages of two tasks."""
    return (
        entry(obj_det=small(), inst_seg=small(regular(6, (4, 4, 4, 4, 6, 6))), obj_det_AP=31.5, inst_seg_AP=28.0)
        | other
    )


def test_a_detection_cache_has_several_metrics(read):
    mapped = detection(metric_map="obj_det_AP->acc", acc=0.315, flops=2.0, params=3.0)
    cache = read([mapped], "gpi_ofa_mbv3_obj_det_coco_ind_comp_graph_cache.pkl")
    assert (cache.metric.name, cache.labels.tolist(), len(cache.graphs[0])) == ("obj_det_AP", [0.315], 3)
    assert (cache.macs.tolist(), cache.cost_source) == ([2_000_000_000], "authors: MACs = flops")
    beside = read([mapped], metric="inst_seg_AP")
    assert (beside.metric.name, beside.labels.tolist(), len(beside.graphs[0])) == ("inst_seg_AP", [0.28], 4)
    assert "1 entries have no cost; all are counted on the graphs" in read.said[0]
    assert beside.cost_source == "aiop-graph"
    raw = read([detection(flops_inst_seg=4.0, params_inst_seg=5.0)], metric="inst_seg_AP")
    assert (raw.macs.tolist(), raw.params.tolist()) == ([4_000_000_000], [5_000_000])
    with pytest.raises(CacheError, match=r"entry 0: it has no metric 'pan_seg_PQ'; it has obj_det_AP, inst_seg_AP$"):
        read([mapped], metric="pan_seg_PQ")


def test_what_flags_say_goes_first(read):
    cache = read([entry(acc=75.0)], family="mine", metric="top1", unit="percent", recount=True)
    assert (cache.families, cache.metric.name, cache.labels.tolist()) == (["mine"], "top1", [0.75])
    assert (cache.metric.unit, cache.cost_source) == ("fraction", "aiop-graph")
    assert read([entry(acc=75.0)], unit="ms").metric.unit == "ms"


@pytest.mark.parametrize(
    ("graph", "file", "family"),
    [
        ("OFA-MBV3-Net60", "gpi_ofa_comp_graph_cache.pkl", "ofa_mbv3"),
        ("OFA-ResNet29_hpe2d_individual", "x.pkl", "ofa_resnet"),
        ("NB101-Net10", "x.pkl", "nb101"),
        ("resnet_v1_50", "gpi_slim_comp_graph_cache.pkl", "slim"),
        ("", "gpi_zoo_val_PCK_lsp_ind_comp_graph_cache.pkl.gz", "zoo"),
        ("", "mine.pkl", "mine"),
    ],
)
def test_families_by_name(read, graph, file, family):
    given = entry(**{"compute graph": small(name=graph), "metric_map": "val_PCK->acc"})
    assert read([given], file).families == [family]


def test_what_the_research_code_calls_otherwise(read):
    at = (4, 4, 4, 4, 6, 6)
    cache = read(
        [
            entry(
                **{
                    "compute graph": small(
                        weighted(4, at, [6, 1, 3, 3], metadata={"use_bias": True}),
                        weighted(3, at, [3, 6, 1, 1]),
                        regular(25, at),
                        weighted(3, (4, 8, 4, 8, 6, 6), [6, 6, 4, 4], label="conv2d_transpose", strides=(1, 2, 2, 1)),
                        regular(25, (8, 4, 8, 4, 6, 6)),
                        regular(13, at, strides=(1, 1, 2, 2), metadata={"ksize": (1, 1, 2, 2), "data_format": "NCHW"}),
                        regular(5, at),
                        weighted(8, at, [6, 6, 0, 0], metadata={"use_bias": True}),
                        weighted(3, at, [0, 0, 0, 0]),
                        regular(0, at),
                    )
                }
            )
        ]
    )
    graph = cache.graphs[0]
    rows = list(zip(nodes(graph), graph.groups.tolist(), graph.kernel.tolist(), graph.params.tolist(), strict=True))[
        2:-1
    ]
    assert rows == [
        ("Depthwise", 6, [3, 3], 60),
        ("Conv", 2, [1, 1], 18),
        ("ConvTranspose", 1, [4, 4], 576),
        ("Resize", 1, [0, 0], 0),
        ("Avgpool", 1, [2, 2], 0),
        ("BatchNorm", 1, [0, 0], 12),
        ("MatMul", 1, [0, 0], 42),
        ("Conv", 1, [0, 0], 0),
        ("OOV", 1, [0, 0], 0),
    ]
    assert graph.stride[6].tolist() == [2, 2]
    assert "1 convolutions have no kernel; the research code lost them" in read.said[0]
    assert "1 nodes are of operations that the research code did not know" in read.said[1]


def test_nodes_that_compute_nothing_are_kept_on_demand(read):
    given = [entry(**{"compute graph": small(regular(25, (4, 4, 4, 4, 6, 6)), regular(25, (4, 4, 4, 4, 6, 6)))})]
    assert nodes(read(given, keep_identity=True).graphs[0]) == ["Input", "Conv", "Identity", "Identity", "Output"]
    assert read(given).graphs[0] == read([entry()]).graphs[0]


def test_nodes_are_sorted(read):
    out_of_order = {"name": "", "chain": [OUTPUT, CONV, INPUT], "edges": [(2, 1), (1, 0), (1, 0)]}
    assert read([entry(**{"compute graph": out_of_order})]).graphs[0] == read([entry()]).graphs[0]


def nested(depth):
    return [] if depth == 0 else [nested(depth - 1)]


BAD = [
    ({"compute graph": None}, "it has no 'compute graph'"),
    ({"compute graph": 5}, "its graph is a int, not a ComputeGraph"),
    ({"compute graph": small(edges=[(0, 9)])}, "an edge of its graph leads from 1 to 9, but there are 3 nodes"),
    ({"compute graph": small(edges=[(0, 1), (1, 0)])}, "its graph has a cycle"),
    ({"compute graph": small(edges=[(0, 1, 2)])}, "an edge of its graph is not 2 whole numbers of at least 0"),
    ({"compute graph": small(name="a\nb")}, "its graph's name is no text of at most 200 characters on one line"),
    ({"compute graph": small(regular(32, (4,) * 6))}, "has operation 32; the research code's vocabulary ends at 31"),
    ({"compute graph": small(regular(6, (4, 4)))}, "the resolution of node 2 of its graph is not 6 whole numbers"),
    ({"compute graph": small(regular(6, (0,) * 6))}, r"node 2 \(ReLU\) has resolution .* must be at least 1"),
    ({"compute graph": small(regular(6, (2**40,) * 6))}, "a node's resolution is 1099511627776; at most 2147483647"),
    ({"acc": None}, "it has no 'acc'"),
    ({"acc": "high"}, "its 'acc' is no number of at least 0"),
    ({"acc": float("nan")}, "its 'acc' is no number of at least 0"),
    ({"flops": -1}, "its 'flops' is no number of at least 0"),
    ({"metric_map": 7}, "its 'metric_map' is no text"),
    ({"original config": nested(MAX_DEPTH + 5)}, f"its configuration is nested deeper than {MAX_DEPTH}"),
    ({"original config": b"x"}, "its configuration holds a bytes"),
    ({"original config": [float("inf")]}, "its configuration holds a number that is not finite"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_a_bad_entry_is_named(read, change, message):
    with pytest.raises(CacheError, match=rf"\.pkl, entry 1: .*{message}"):
        read([entry(), entry(**change)])


def test_a_graph_needs_nodes_and_edges(read):
    with pytest.raises(AiopError, match="entry 0: a graph needs at least one node"):
        read([entry(**{"compute graph": {"name": "", "chain": [], "edges": []}})])


def test_a_graph_that_is_none_inside(tmp_path):
    path = tmp_path / "x.pkl"
    for state, message in (
        ({"name": "x", "edge_pairs": []}, "entry 0: its graph lacks nodes or edges"),
        ({"weighted_nodes": [5], "regular_nodes": [], "edge_pairs": []}, "entry 0: node 0 of its graph is a int"),
    ):
        with research_modules() as (graph_class, *_):
            graph = graph_class()
            vars(graph).update(state)
            path.write_bytes(pickle.dumps([{**entry(), "compute graph": graph}], 4))
        with pytest.raises(CacheError, match=message):
            read_legacy_cache(path, LegacyImport(), {}, str)


@pytest.mark.parametrize("value", [{}, [], [1], "x"])
def test_not_a_list_of_entries(read, value):
    with pytest.raises(CacheError, match="holds no list of entries; give a gpi_"):
        read(value)


def test_entries_of_several_kinds(read):
    with pytest.raises(CacheError, match=r"has entries of several kinds \(1 of acc, 1 of val_PCK\); name the metric"):
        read([entry(), entry(metric_map="val_PCK->acc")])


def test_units_that_cannot_be(read):
    with pytest.raises(CacheError, match="a label of 'acc' is 75, outside the unit 'fraction'; say --unit percent"):
        read([entry(), entry(acc=75)])
    with pytest.raises(CacheError, match="no label of 'acc' is over 1 %; if they are fractions, leave out --unit"):
        read([entry()], unit="percent")


# --- The reference's pickles --------------------------------------------------------


@pytest.fixture(scope="module")
def caches(reference):
    return reference / "caches"


@pytest.mark.data
def test_every_field_of_the_reference(caches):
    with gzip.open(caches / NAME.replace(".pkl", ".json.gz")) as file:
        expected = json.load(file)["cgs"]
    cache = read_legacy_cache(caches / NAME, LegacyImport(keep_identity=True), {}, str)
    assert len(cache) == len(expected) == 20
    for graph, theirs in zip(cache.graphs, expected, strict=True):
        ours, them = fields(graph), sorted(their_fields(node) for node in theirs["nodes"])
        assert sorted(ours) == them
        their_rows = [their_fields(node) for node in theirs["nodes"]]
        assert sorted((ours[a], ours[b]) for a, b in graph.edges.T) == sorted(
            (their_rows[a], their_rows[b]) for a, b in theirs["edge_pairs"]
        )
    assert cache.metric.name == "val_PCK"
    assert cache.labels[0] == 0.702417
    assert cache.macs[0] == 15.710066688e9 / 2
    assert cache.params.tolist() == cost.params(cache.graphs).astype(int).tolist()  # theirs are ours


def fields(graph):
    columns = graph.op, graph.resolution, graph.kernel, graph.stride, graph.bias
    return [
        (int(paper_op(Op(int(op)))), *resolution.tolist(), *kernel.tolist(), *stride.tolist(), bool(bias))
        for op, resolution, kernel, stride, bias in zip(*columns, strict=True)
    ]


def their_fields(node):
    metadata = node["metadata"] or {}
    kernel = node["shape"][2:] if "shape" in node else metadata.get("ksize", [0, 0, 0])[1:3]
    stride = (node["strides"] or [1, 1, 1])[1:3]
    return (node["op_type_idx"], *node["resolution"], *kernel, *stride, bool(metadata.get("use_bias")))


@pytest.mark.data
def test_arrays_in_configurations(caches):
    cache = read_legacy_cache(caches / "gpi_nb101_comp_graph_cache.pkl", LegacyImport(), {}, str)
    operations, matrix = json.loads(cache.specs[0])
    assert operations[0] == "input"
    assert np.array(matrix).shape == (7, 7)
    assert np.tril(matrix).sum() == 0
    assert 0.85 < cache.labels.min() < cache.labels.max() < 0.95


@pytest.mark.data
def test_three_hundred_graphs_take_seconds_and_little_memory(caches):
    begun = time.process_time()
    read_legacy_cache(caches / "gpi_synth300_comp_graph_cache.pkl.gz", LegacyImport(), {}, str)
    assert time.process_time() - begun < 8  # about 2 s on an idle machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 2**20  # kilobytes, of the whole test process
