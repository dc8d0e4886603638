"""Graphs and costs of the real modules: what is in them, against fvcore, and against the paper's code."""

import gzip
import json
from collections import Counter

import pytest
import torch
from fvcore.nn import FlopCountAnalysis

from aiop_core.errors import OptionError
from aiop_core.graph.cost import cost
from aiop_core.graph.ops import WEIGHTED, Op
from aiop_core.graph.trace import trace
from aiop_core.plugins import PluginRegistry
from aiop_task_detectron2.options import Detectron2Options

PARTS = ("obj_det", "inst_seg", "sem_seg", "pan_seg")
FAMILIES = ("ofa_pn", "ofa_mbv3", "ofa_resnet")


@pytest.fixture
def small(cfg, tiny_body):
    """A small detector for all parts, with 7 boxes and 3 masks an image."""
    from aiop_task_detectron2.assembly import assemble

    return assemble(cfg, tiny_body(), parts=PARTS, channels=16, box_proposals=7, mask_proposals=3)


@pytest.fixture
def large(detectron2):
    """``large(family, data)``: the paper's detector, or the drawn images', on a body of a family; it has no weights."""
    from aiop_task_detectron2.assembly import assemble
    from aiop_task_detectron2.config import settings_of

    def make(family, data="coco"):
        space = PluginRegistry().create("family", family)
        with torch.device("meta"):
            return assemble(
                settings_of(Detectron2Options(data=data)), space.backbone(space.sample(1, seed=0)[0]), parts=PARTS
            )

    return make


def graphs(model, size):
    from aiop_task_detectron2.fixed_part import graphs as graphs_of

    return graphs_of(model, (size, size))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("data", "size"), [("coco", 1024), ("synthetic", 128)])
def test_graphs_of_all_families_are_whole_and_repeat(large, family, data, size):
    model = large(family, data)
    found = graphs(model, size)
    assert list(found) == list(PARTS)
    for part, graph in found.items():
        assert Op.OOV not in {Op(int(op)) for op in graph.op}, part
    if size == 128:
        assert graphs(large(family, data), size) == found
    ops = {part: Counter(Op(int(op)).name for op in graph.op) for part, graph in found.items()}
    assert ops["obj_det"]["RoIAlign"] == 4
    assert ops["inst_seg"]["RoIAlign"] == ops["pan_seg"]["RoIAlign"] == 8
    assert ops["sem_seg"]["RoIAlign"] == 0
    assert cost(found["pan_seg"]).params == sum(p.numel() for p in model.parameters())
    assert ops["pan_seg"]["ConvTranspose"] == 3 + 1 + 6  # pyramid, mask head, semantic head


def test_heads_cost_what_the_paper_writes_as_literals(large):
    from aiop_task_detectron2.costs import pieces

    found = pieces(large("ofa_mbv3"), "inst_seg", (1024, 1024))
    # 13.894 (box head) + 0.411 (box predictor) and 52.986 GMACs by fvcore:
    # the paper's code, tasks/detectron2/detectron2_manager.py, profiler
    assert (found["box"].count, found["mask"].count) == (1000, 100)
    assert round(found["box"].total_macs / 1e9, 2) == round(13.894 + 0.411, 2)
    assert round(found["mask"].total_macs / 1e9, 3) == 52.986


@pytest.mark.parametrize("part", PARTS)
def test_pieces_add_up_to_the_graph(small, part):
    from aiop_task_detectron2.costs import pieces

    whole, found = cost(graphs(small, 128)[part]), pieces(small, part, (128, 128))
    assert sum(piece.total_macs for piece in found.values()) == whole.macs
    assert sum(piece.params for piece in found.values()) == whole.params
    assert all(piece.macs > 0 and piece.params > 0 for piece in found.values())
    assert {name: piece.count for name, piece in found.items() if piece.count > 1} == {
        name: count for name, count in {"box": 7, "mask": 3}.items() if name in found
    }


def test_pieces_hold_the_parameters_of_their_modules(small):
    from aiop_task_detectron2.costs import pieces

    def params(*modules):
        return sum(p.numel() for module in modules for p in module.parameters())

    d, found = small.detector, pieces(small, "pan_seg", (128, 128))
    assert {name: piece.params for name, piece in found.items()} == {
        "body": params(d.backbone.body),
        "pyramid": params(d.backbone.pyramid),
        "rpn": params(d.proposal_generator),
        "box": params(d.roi_heads.box_head, d.roi_heads.box_predictor),
        "mask": params(d.roi_heads.mask_head),
        "semantic": params(d.sem_seg_head),
    }


@pytest.mark.parametrize("part", PARTS)
def test_fvcore_counts_the_same(small, part):
    from aiop_task_detectron2.fixed_part import HEADS

    fixed = small.fixed_part(HEADS[part]).eval()
    counted = FlopCountAnalysis(fixed, torch.zeros(1, 3, 128, 128))
    counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    operators = counted.by_operator()
    found = cost(graphs(small, 128)[part]).macs
    if part == "sem_seg":  # the real pyramid makes p6, which no semantic head reads
        found += counted.by_module()["backbone.pyramid.downsamples"]
    assert operators["conv"] + operators["linear"] == found


def test_what_all_heads_say_of_tensors(small):
    said = [tuple(x.shape) for x in small(torch.randn(2, 3, 64, 64))]
    sides = [16, 8, 4, 2, 1]
    assert said == [
        *[(2, 3, side, side) for side in sides],
        *[(2, 12, side, side) for side in sides],
        (2 * 7, 81),
        (2 * 7, 320),
        (2 * 3, 80, 28, 28),
        (2, 54, 64, 64),
    ]
    assert trace(small, (3, 64, 64)) == graphs(small, 64)["pan_seg"]


def test_windows_are_read_from_their_own_image(small):
    small.eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        together, apart = small(images), [small(images[i : i + 1]) for i in range(2)]
    scores = [said[10] for said in (together, *apart)]
    first = [0, 1, 4, 5, 8, 9, 12]  # 7 windows are 2, 2, 2 and 1 of four maps, each for both images in turn
    torch.testing.assert_close(scores[0][first], scores[1])
    assert not torch.allclose(scores[1], scores[2])


def test_one_proposal_is_enough(cfg, tiny_body):
    from aiop_task_detectron2.assembly import assemble

    model = assemble(cfg, tiny_body(), parts=["obj_det"], channels=16, box_proposals=1)
    assert model(torch.randn(1, 3, 64, 64))[10].shape == (1, 81)


def test_numbers_of_windows_are_the_configs_by_default(cfg, tiny_body):
    from aiop_task_detectron2.assembly import assemble

    cfg.MODEL.RPN.POST_NMS_TOPK_TEST, cfg.TEST.DETECTIONS_PER_IMAGE = 11, 5
    model = assemble(cfg, tiny_body(), parts=["inst_seg"], channels=16)
    assert (model.box_proposals, model.mask_proposals) == (11, 5)


def test_semantic_classes_alone_need_no_p6(cfg, tiny_body):
    from aiop_task_detectron2.assembly import assemble

    model = assemble(cfg, tiny_body(), parts=["sem_seg"], channels=16)
    assert cost(graphs(model, 64)["sem_seg"]).params == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("counting", [False, True])
def test_sizes_that_the_pyramid_cannot_add_are_told(small, counting):
    from aiop_task_detectron2.costs import pieces

    with pytest.raises(OptionError, match=r"input size 100 is not a multiple of 32, .* needs; give 96 or 128"):
        pieces(small, "obj_det", (128, 100)) if counting else graphs(small, 100)


@pytest.mark.data
@pytest.mark.parametrize("family", ["ofa_pn", "ofa_mbv3"])
def test_weighted_nodes_are_those_of_the_research_code(detectron2, reference, family):
    """Its heads have one window, some kernels are lost, and its masks do without the box head."""
    from aiop_task_detectron2.assembly import assemble
    from aiop_task_detectron2.config import settings_of

    with gzip.open(reference / "graphs" / "cg_overall_detectron.json.gz") as stream:
        theirs = {graph["case"]: graph for graph in json.load(stream)["cgs"] if graph["family"] == family}
    space = PluginRegistry().create("family", family)
    with torch.device("meta"):
        body = space.backbone(space.parse(json.dumps(theirs["obj_det"]["config"])))
        paper = settings_of(Detectron2Options(data="coco"))
        model = assemble(paper, body, parts=PARTS, box_proposals=1, mask_proposals=1)
    box_head = Counter((1, 1, 1, 1, *io) for io in ((12544, 1024), (1024, 1024), (1024, 81), (1024, 320)))
    for part, graph in graphs(model, 1024).items():
        rows = zip(graph.op, graph.resolution, strict=True)
        ours = Counter(tuple(resolution.tolist()) for op, resolution in rows if Op(int(op)) in WEIGHTED)
        research = Counter(tuple(node["resolution"]) for node in theirs[part]["nodes"] if node.get("shape"))
        assert not research - ours, part
        assert ours - research == (box_head if part in {"inst_seg", "pan_seg"} else Counter()), part
