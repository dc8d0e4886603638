"""The pyramid, the heads on it, and what they are in torchvision."""

import pytest
import torch
from torch.nn import functional
from torchvision.models.detection import maskrcnn_resnet50_fpn

from aiop_core.contracts import Level
from aiop_core.errors import ContractError
from aiop_core.sharing.chance import own_randomness
from aiop_task_torchvision.model import IGNORED, Heads, Pyramid, Segmenter
from aiop_task_torchvision.options import TorchvisionOptions, resolve

RESNET = (Level(256, 4), Level(512, 8), Level(1024, 16), Level(2048, 32))


def small(parts=("obj_det", "inst_seg", "sem_seg")):
    sizes = {"channels": 8, "box_width": 16, "mask_width": 8, "mask_depth": 1, "proposals": 20, "detections": 5}
    return resolve(TorchvisionOptions(parts=parts, image_size=64, **sizes))


def network(backbone, parts=("obj_det", "inst_seg", "sem_seg")):
    with own_randomness(0, "cpu"):
        return Segmenter(backbone, Heads(backbone.levels, 4, 3, small(parts)))


def target(height, width):
    masks = torch.zeros(1, height, width, dtype=torch.uint8)
    masks[0, 8:40, 4:36] = 1
    return {
        "boxes": torch.tensor([[4.0, 8.0, 36.0, 40.0]]),
        "labels": torch.tensor([2]),
        "masks": masks,
        "semantic": masks[0] * 2,
    }


def test_levels_of_equal_stride_are_concatenated(tiny_backbone):
    backbone = tiny_backbone()
    pyramid = Pyramid(backbone.levels, 8)
    maps = pyramid(backbone(torch.zeros(1, 3, 64, 96)))
    shapes = {name: tuple(m.shape[1:]) for name, m in maps.items()}
    assert shapes == {"0": (8, 16, 24), "1": (8, 8, 12), "2": (8, 4, 6), "3": (8, 2, 3), "pool": (8, 1, 2)}
    assert pyramid.fpn.inner_blocks[2][0].in_channels == 16 + 20


def test_a_gap_between_strides_is_explained():
    with pytest.raises(ContractError, match=r"levels have strides 4, 16; a pyramid needs each to be equal .* or twice"):
        Pyramid((Level(8, 4), Level(8, 16)), 8)


def test_with_its_widths_the_heads_are_torchvisions():
    with torch.device("meta"):
        published = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        ours = Heads(RESNET, 90, 54, resolve(TorchvisionOptions(data="coco")))
    theirs = {
        **{f"rpn.{name}": p.shape for name, p in published.rpn.named_parameters()},
        **{f"roi_heads.{name}": p.shape for name, p in published.roi_heads.named_parameters()},
        **{f"pyramid.fpn.{name}": p.shape for name, p in published.backbone.fpn.named_parameters()},
    }
    found = {name: p.shape for name, p in ours.named_parameters() if not name.startswith("semantic.")}
    assert found == theirs
    assert ours.rpn.anchor_generator.sizes == published.rpn.anchor_generator.sizes
    assert ours.rpn.anchor_generator.aspect_ratios == published.rpn.anchor_generator.aspect_ratios
    assert ours.roi_heads.box_roi_pool.canonical_scale == published.roi_heads.box_roi_pool.canonical_scale
    for name in ("_pre_nms_top_n", "_post_nms_top_n"):
        assert getattr(ours.rpn, name) == getattr(published.rpn, name)
    assert ours.roi_heads.detections_per_img == published.roi_heads.detections_per_img


def test_windows_lie_on_the_level_of_their_size_however_small_the_first_images_were(tiny_backbone):
    model = network(tiny_backbone())
    pool = model.heads.roi_heads.box_roi_pool
    model.eval()([torch.rand(3, 40, 40)])
    assert pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    boxes = torch.tensor([[0.0, 0.0, side, side] for side in (20, 60, 120, 250)])
    assert pool.map_levels([boxes]).tolist() == [0, 1, 2, 3]


def test_losses_of_the_chosen_parts_alone(tiny_backbone):
    names = {}
    for parts in (("obj_det",), ("inst_seg",), ("sem_seg",), ("obj_det", "inst_seg", "sem_seg")):
        losses = network(tiny_backbone(), parts).train()([torch.rand(3, 64, 64)] * 2, [target(64, 64)] * 2)
        assert all(loss.isfinite() for loss in losses.values())
        names[parts] = set(losses)
    boxes = {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    assert [*names.values()] == [
        boxes,
        boxes | {"loss_mask"},
        {"loss_semantic"},
        boxes | {"loss_mask", "loss_semantic"},
    ]


def test_findings_are_of_the_size_of_each_image(tiny_backbone):
    found = network(tiny_backbone()).eval()([torch.rand(3, 64, 64), torch.rand(3, 50, 90)])
    assert [tuple(one["semantic"].shape) for one in found] == [(64, 64), (50, 90)]
    for one, (height, width) in zip(found, ((64, 64), (50, 90)), strict=True):
        assert one["masks"].shape == (len(one["boxes"]), 1, height, width)
        assert len(one["boxes"]) <= 5
        assert (one["boxes"] <= torch.tensor([width, height, width, height])).all()


def test_images_without_objects_and_without_labels_give_finite_losses(tiny_backbone):
    empty = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 64, 64, dtype=torch.uint8),
        "semantic": torch.full((64, 64), IGNORED, dtype=torch.uint8),
    }
    losses = network(tiny_backbone()).train()([torch.rand(3, 64, 64)] * 2, [empty] * 2)
    assert all(loss.isfinite() for loss in losses.values())
    assert losses["loss_semantic"] == 0
    assert losses["loss_mask"] == 0


def test_padding_and_unlabelled_pixels_teach_nothing(tiny_backbone):
    """The loss is the mean over labelled pixels of the images, without what pads the smaller one."""
    model = network(tiny_backbone(), ("sem_seg",)).train()
    model.heads.semantic.fcn[3].p = 0.0
    images, targets = [torch.rand(3, 64, 64), torch.rand(3, 64, 32)], [target(64, 64), target(64, 32)]
    targets[0]["semantic"][:32] = IGNORED
    loss = model(images, targets)["loss_semantic"]
    batch, _ = model.heads.transform(images)
    assert batch.image_sizes == [(64, 64), (64, 32)]
    features = model.features(batch.tensors)
    scores = model.heads.semantic([features[name] for name in model.heads.pyramid.names])
    scores = functional.interpolate(scores, (64, 64), mode="bilinear", align_corners=False)
    by_hand = [
        functional.cross_entropy(scores[:1, :, 32:], targets[0]["semantic"][None, 32:].long(), reduction="none"),
        functional.cross_entropy(scores[1:, :, :, :32], targets[1]["semantic"][None].long(), reduction="none"),
    ]
    assert loss.item() == pytest.approx(torch.cat([part.flatten() for part in by_hand]).mean().item(), rel=1e-5)
