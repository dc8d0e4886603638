"""Body and pyramid as detectron2's backbone, and which of its weights learn."""

import json

import pytest
import torch

from aiop_core.contracts import Level
from aiop_core.errors import ContractError, OptionError
from aiop_core.plugins import PluginRegistry


@pytest.fixture
def pyramid_body(detectron2, tiny_body):
    """``pyramid_body(levels, freeze=…)`` over a small body."""
    from aiop_task_detectron2.body import PyramidBody

    return lambda *levels, **options: PyramidBody(tiny_body(*levels), **options)


def test_it_is_detectron2s_kind_of_backbone(pyramid_body):
    from detectron2.modeling import Backbone

    body = pyramid_body()
    assert isinstance(body, Backbone)
    maps = body(torch.randn(2, 3, 96, 64))
    shapes = body.output_shape()
    assert list(maps) == list(shapes) == ["p2", "p3", "p4", "p5", "p6"]
    assert {name: (shape.channels, shape.stride) for name, shape in shapes.items()} == {
        f"p{i}": (256, 2**i) for i in range(2, 7)
    }
    assert [tuple(x.shape[2:]) for x in maps.values()] == [(24, 16), (12, 8), (6, 4), (3, 2), (2, 1)]
    assert body.size_divisibility == 32


@pytest.mark.parametrize(("strides", "divisor"), [((2, 4, 8), 32), ((8, 16, 32), 32), ((16, 64), 64)])
def test_other_backbones_have_the_same_maps(pyramid_body, strides, divisor):
    body = pyramid_body([Level(4, stride) for stride in strides], channels=8)
    assert [(s.channels, s.stride) for s in body.output_shape().values()] == [(8, 4), (8, 8), (8, 16), (8, 32), (8, 64)]
    assert body.size_divisibility == divisor
    assert body(torch.randn(1, 3, 128, 128))["p2"].shape == (1, 8, 32, 32)


def test_without_an_rpn_there_is_no_p6(pyramid_body):
    assert list(pyramid_body(rpn=False).output_shape()) == ["p2", "p3", "p4", "p5"]


@pytest.mark.parametrize("freeze", [0, 1, 2, 5])
def test_what_the_first_levels_need_does_not_learn(pyramid_body, freeze):
    body = pyramid_body(freeze=freeze)
    learning = [all(p.requires_grad for p in block.parameters()) for block in body.body.blocks]
    frozen = [not any(p.requires_grad for p in block.parameters()) for block in body.body.blocks]
    assert frozen == [i < freeze for i in range(5)]
    assert learning == [i >= freeze for i in range(5)]
    assert all(p.requires_grad for p in body.pyramid.parameters())


def test_freezing_looks_without_a_trace_and_statistics_go_on_moving(pyramid_body, tiny_body):
    body = pyramid_body(freeze=2)
    untouched = tiny_body().state_dict()
    assert all(torch.equal(value, untouched[name]) for name, value in body.body.state_dict().items())
    assert body.training
    first = body.body.blocks[0][1].running_mean.clone()
    body(torch.randn(2, 3, 64, 64))
    assert not torch.equal(body.body.blocks[0][1].running_mean, first)


def test_the_default_freezes_what_there_is(pyramid_body):
    assert not any(p.requires_grad for p in pyramid_body([Level(4, 32)]).body.parameters())


def test_more_levels_than_there_are_cannot_be_frozen(pyramid_body):
    with pytest.raises(OptionError, match="freeze is 6, but the backbone has 5 levels; give 0 to 5"):
        pyramid_body(freeze=6)


def test_a_body_must_be_a_module(detectron2):
    from aiop_task_detectron2.body import PyramidBody

    with pytest.raises(ContractError, match=r"the backbone is a int; a task needs a torch.nn.Module"):
        PyramidBody(3)


@pytest.mark.data
@pytest.mark.parametrize("family", ["ofa_pn", "ofa_mbv3", "ofa_resnet"])
def test_as_many_parameters_are_frozen_as_in_the_research_code(detectron2, family, reference):
    from aiop_task_detectron2.body import PyramidBody

    cases = json.loads((reference / "heads.json").read_text())["cases"]
    case = next(c for c in cases if c["family"] == family and c["case"] == "FeaturePyramidDetectron_1024")
    space = PluginRegistry().create("family", family)
    with torch.device("meta"):
        body = PyramidBody(space.backbone(space.parse(json.dumps(case["original config"])))).body
    frozen = sum(p.numel() for p in body.parameters() if not p.requires_grad)
    assert frozen == case["n_params_body_model"] - case["n_params_body_model_trainable"]
