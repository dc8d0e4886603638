"""A graph for each metric: body, pyramid and the heads that it needs."""

import numpy as np
import pytest

from aiop_core.graph.cost import cost
from aiop_core.graph.ops import Op


@pytest.fixture(scope="module")
def graphs(make_task):
    def made(backbone, **changes):
        task = make_task(**changes)
        return task.graphs(task.model(backbone))

    return made


def windows(graph):
    """(number, side) of the windows that each pooling reads, from one level of the pyramid each."""
    rows = graph.resolution[graph.op == Op.RoIAlign]
    return [(int(row[1]), round(float(row[3]) ** 0.5)) for row in rows]


def test_one_graph_a_metric_with_its_heads_alone(graphs, tiny_backbone):
    made = graphs(tiny_backbone())
    assert list(made) == ["obj_det_AP", "inst_seg_AP", "sem_seg_mIoU"]
    det, inst, sem = (cost(graph) for graph in made.values())
    assert det.macs < inst.macs
    assert det.params < inst.params
    assert not (made["sem_seg_mIoU"].op == Op.RoIAlign).any()
    alone = graphs(tiny_backbone(), parts=("obj_det",))["obj_det_AP"]
    assert alone.fingerprint == made["obj_det_AP"].fingerprint
    assert graphs(tiny_backbone(), parts=("sem_seg",))["sem_seg_mIoU"].fingerprint == made["sem_seg_mIoU"].fingerprint
    assert sem.params < det.params


def test_windows_are_those_of_the_options_shared_over_the_levels(graphs, tiny_backbone):
    made = graphs(tiny_backbone(), proposals=30, detections=10)
    boxes = [(8, 7), (8, 7), (7, 7), (7, 7)]
    assert windows(made["obj_det_AP"]) == boxes
    assert windows(made["inst_seg_AP"]) == [*boxes, (3, 14), (3, 14), (2, 14), (2, 14)]


def test_heads_cost_as_often_as_they_run(graphs, tiny_backbone):
    """A further proposal costs the box head's three layers; a further detection the mask head."""
    few, many = (graphs(tiny_backbone(), proposals=n, detections=n) for n in (20, 21))
    box = 8 * 49 * 16 + 16 * 16 + 16 * (5 + 20)
    mask = 14 * 14 * 8 * 8 * 9 + 14 * 14 * 8 * 8 * 4 + 28 * 28 * 8 * 5
    assert cost(many["obj_det_AP"]).macs - cost(few["obj_det_AP"]).macs == box
    assert cost(many["inst_seg_AP"]).macs - cost(few["inst_seg_AP"]).macs == box + mask
    assert cost(many["obj_det_AP"]).params == cost(few["obj_det_AP"]).params


def test_the_same_body_gives_the_same_graph_and_another_another(graphs, tiny_backbone):
    first, again = (graphs(tiny_backbone(seed=seed))["inst_seg_AP"] for seed in (0, 1))
    assert first.fingerprint == again.fingerprint
    levels = [*tiny_backbone().levels]
    levels[0] = type(levels[0])(16, 4)
    assert graphs(tiny_backbone(levels))["inst_seg_AP"].fingerprint != first.fingerprint


def test_the_input_is_a_square_of_the_shorter_side(make_task, tiny_backbone):
    task = make_task(min_size=70, max_size=200)
    assert task.input_hw == (96, 96)
    graph = task.graphs(task.model(tiny_backbone()))["sem_seg_mIoU"]
    assert np.array_equal(graph.resolution[graph.op == Op.Input][0][[0, 2]], [96, 96])


def test_pieces_add_up_to_the_graphs(make_task, tiny_backbone):
    task = make_task()
    model = task.model(tiny_backbone())
    found = task.pieces(model)
    for metric, graph in task.graphs(model).items():
        pieces = found[metric].values()
        assert sum(piece.macs * piece.count for piece in pieces) == cost(graph).macs
        assert sum(piece.params for piece in pieces) == cost(graph).params
        assert all(piece.macs > 0 for piece in pieces)
    assert {name: piece.count for name, piece in found["inst_seg_AP"].items()} == {
        "body": 1,
        "pyramid": 1,
        "box head": 20,
        "mask head": 10,
        "proposal head": 1,
    }
    assert [*found["sem_seg_mIoU"]] == ["body", "pyramid", "semantic head"]
