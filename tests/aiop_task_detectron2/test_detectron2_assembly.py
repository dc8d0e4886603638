"""Detectors put together from a config and a backbone: what they are made of, their weights, and what is told."""

import copy
import math

import pytest
import torch

from aiop_core.contracts import Level
from aiop_core.errors import ContractError, OptionError

ALL = ("obj_det", "inst_seg", "sem_seg", "pan_seg")


@pytest.fixture
def assembled(cfg, tiny_body):
    """``assembled(*parts, **options)`` puts a small detector together; ``MODEL`` is changed by ``change``."""
    from aiop_task_detectron2.assembly import assemble

    def make(*parts, levels=None, change=(), **options):
        cfg.merge_from_list(list(change))
        body = tiny_body(levels) if levels else tiny_body()
        return assemble(cfg, body, parts=parts or ALL, **{"channels": 16, **options})

    return make


@pytest.fixture
def batch(detectron2):
    """Two images with a thing each, and a class for each pixel, as detectron2's mapper gives them."""
    from detectron2.structures import BitMasks, Boxes, Instances

    def image(seed, height, width):
        generator = torch.Generator().manual_seed(seed)
        things = Instances((height, width))
        things.gt_boxes = Boxes(torch.tensor([[8.0, 8.0, 40.0, 48.0]]))
        things.gt_classes = torch.tensor([3])
        masks = torch.zeros(1, height, width, dtype=torch.bool)
        masks[:, 8:48, 8:40] = True
        things.gt_masks = BitMasks(masks)
        return {
            "image": torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8),
            "instances": things,
            "sem_seg": torch.randint(54, (height, width), generator=generator),
            "height": height,
            "width": width,
        }

    return [image(1, 64, 96), image(2, 60, 80)]


def names(model):
    return {name for name, _ in model.detector.named_children()}


@pytest.mark.parametrize(
    ("parts", "kind", "heads"),
    [
        (("obj_det",), "GeneralizedRCNN", ("rpn", "box")),
        (("inst_seg",), "GeneralizedRCNN", ("rpn", "box", "mask")),
        (("inst_seg", "obj_det"), "GeneralizedRCNN", ("rpn", "box", "mask")),
        (("sem_seg",), "SemanticSegmentor", ("semantic",)),
        (("obj_det", "sem_seg"), "PanopticFPN", ("rpn", "box", "mask", "semantic")),
        (("pan_seg",), "PanopticFPN", ("rpn", "box", "mask", "semantic")),
    ],
)
def test_parts_decide_the_architecture(assembled, parts, kind, heads):
    model = assembled(*parts)
    assert type(model.detector).__name__ == kind
    assert model.heads == heads
    assert ("roi_heads" in names(model)) == ("box" in heads)
    assert ("sem_seg_head" in names(model)) == ("semantic" in heads)
    if "box" in heads:
        assert model.detector.roi_heads.mask_on == ("mask" in heads)


def test_all_parts_learn_together(assembled, batch):
    from detectron2.utils.events import EventStorage

    model = assembled().train()
    with EventStorage():
        losses = model.detector(batch)
    assert set(losses) == {"loss_sem_seg", "loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg", "loss_mask"}
    assert all(math.isfinite(float(value.detach())) for value in losses.values())
    sum(losses.values()).backward()
    learning = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(name.startswith("detector.backbone.body.blocks.4") for name in learning)
    assert not any(name.startswith("detector.backbone.body.blocks.0") for name in learning)
    assert any("pyramid" in name for name in learning)
    assert any("mask_head" in name for name in learning)


def test_all_parts_are_found_together(assembled, batch):
    found = assembled().eval().detector([{k: v for k, v in x.items() if k != "instances"} for x in batch])
    assert [set(x) for x in found] == [{"sem_seg", "instances", "panoptic_seg"}] * 2
    assert [tuple(x["sem_seg"].shape) for x in found] == [(54, 64, 96), (54, 60, 80)]
    assert [x["instances"].image_size for x in found] == [(64, 96), (60, 80)]


def test_weights_follow_from_the_seed_alone(assembled):
    from aiop_task_detectron2.assembly import redraw

    before = torch.random.get_rng_state()
    one, other = assembled(seed=1), assembled(seed=2)
    start = {name: value.clone() for name, value in one.state_dict().items()}
    changed = [name for name, value in other.state_dict().items() if not torch.equal(value, start[name])]
    assert {name.split(".")[1] for name in changed} == {"backbone", "proposal_generator", "roi_heads", "sem_seg_head"}
    assert not any("backbone.body" in name for name in changed)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1.0)
    redraw(one, seed=2)
    for name, value in one.state_dict().items():
        if "backbone.body" not in name:
            assert torch.equal(value, other.state_dict()[name]), name
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(
        one.state_dict()["detector.backbone.body.blocks.0.0.weight"],
        start["detector.backbone.body.blocks.0.0.weight"] + 1.0,
    )


def test_the_config_given_stays_as_it_was(assembled, cfg):
    cfg.MODEL.MASK_ON = False
    before = cfg.dump()
    assembled()
    assert cfg.dump() == before


def test_a_model_can_be_copied(assembled):
    model = assembled("sem_seg")
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(copy.deepcopy(model).eval()(images), model.eval()(images))


def test_other_backbones(assembled):
    model = assembled(levels=[Level(6, 2), Level(8, 8)])
    assert [tuple(x.shape[2:]) for x in model(torch.randn(1, 3, 64, 64))[:5]] == [
        (64 >> i, 64 >> i) for i in range(2, 7)
    ]


def test_padded_bodies_share_their_heads_shapes(assembled):
    widths = (9, 13, 16, 21, 30)
    plain = assembled(widths=widths)
    other = assembled(levels=[Level(w, s) for w, s in zip(widths, (4, 8, 16, 16, 32), strict=True)], widths=widths)
    shapes = [
        {name: value.shape for name, value in model.state_dict().items() if "backbone.body" not in name}
        for model in (plain, other)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("parts", "change", "message"),
    [
        (
            ("obj_det",),
            ("MODEL.ROI_HEADS.NAME", "Res5ROIHeads"),
            "ROI_HEADS.NAME is 'Res5ROIHeads', but this task knows",
        ),
        (("inst_seg",), ("MODEL.ROI_MASK_HEAD.POOLER_TYPE", "ROIPool"), "ROI_MASK_HEAD.POOLER_TYPE is 'ROIPool'"),
        (("pan_seg",), ("MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT", 0.5), r"knows 1\.0 only"),
        (
            ("obj_det",),
            ("MODEL.RPN.IN_FEATURES", ["p2", "p9"]),
            "IN_FEATURES names p9, but this .* has p2, p3, p4, p5, p6",
        ),
        (("sem_seg",), ("MODEL.SEM_SEG_HEAD.IN_FEATURES", []), "SEM_SEG_HEAD.IN_FEATURES names nothing"),
        (("sem_seg",), ("MODEL.SEM_SEG_HEAD.COMMON_STRIDE", 8), "COMMON_STRIDE is 8, coarser than the stride 4"),
        (("obj_det",), ("MODEL.ROI_HEADS.IN_FEATURES", ["p2", "p4"]), "cannot build the heads .* form a pyramid"),
    ],
)
def test_configs_that_cannot_be_built_are_told(assembled, parts, change, message):
    with pytest.raises(OptionError, match=message):
        assembled(*parts, change=change)


def test_no_parts_at_all_are_told(detectron2):
    from aiop_task_detectron2.fixed_part import heads_of

    with pytest.raises(OptionError, match="no part of the task is asked for; give some of obj_det, inst_seg"):
        heads_of(())


def test_a_body_must_be_a_module(cfg):
    from aiop_task_detectron2.assembly import assemble

    with pytest.raises(ContractError, match=r"a task needs a torch.nn.Module"):
        assemble(cfg, object(), parts=ALL)


# --- The semantic head --------------------------------------------------------------


def test_the_semantic_head_enlarges_by_transposed_convolutions(assembled):
    head = assembled("sem_seg", change=("MODEL.SEM_SEG_HEAD.CONVS_DIM", 32)).detector.sem_seg_head
    kinds = [[type(layer).__name__ for layer in scale] for scale in head.scale_heads]
    doubling = ["ConvTranspose2d", "ReLU", "GroupNorm"]
    assert kinds == [["Conv2d"], doubling, doubling * 2, doubling * 3]
    assert [scale[0].in_channels for scale in head.scale_heads] == [16] * 4
    assert {layer.kernel_size for scale in head.scale_heads[1:] for layer in scale[::3]} == {(4, 4)}
    assert head.scale_heads[1] is head.p3
    maps = {f"p{i}": torch.randn(2, 16, 64 >> i, 64 >> i) for i in range(2, 6)}
    assert head.layers(maps).shape == (2, 54, 16, 16)


def test_without_norm_the_semantic_head_has_none(assembled):
    head = assembled("sem_seg", change=("MODEL.SEM_SEG_HEAD.NORM", "")).detector.sem_seg_head
    assert [type(layer).__name__ for layer in head.p4] == ["ConvTranspose2d", "ReLU"] * 2
