"""The zoos of timm and torchvision: complete, as published, and without what depends on an image."""

import subprocess
import sys

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from aiop_core.errors import ModelError, PluginError
from aiop_core.graph.cost import cost
from aiop_core.graph.ops import Op
from aiop_core.pipeline.models import ModelReader
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_core.testing import conformance_tests
from aiop_zoo_torch import plugin
from aiop_zoo_torch.detectors import fixed_part
from aiop_zoo_torch.timm_zoo import TimmZoo
from aiop_zoo_torch.torchvision_zoo import TorchvisionZoo

TIMM, TORCHVISION = plugin.aiop_register_zoos()
READER = ModelReader(PluginRegistry([PluginSource("zoo", "aiop-zoo-torch", "0", lambda: plugin)]))


@conformance_tests("zoo", TIMM)
def test_timm_conforms(check):
    check()


@conformance_tests("zoo", TORCHVISION)
def test_torchvision_conforms(check):
    check()


def test_every_architecture_is_there():
    assert set(TimmZoo().names()) == set(timm.list_models())
    names = TorchvisionZoo().names()
    assert {"resnet50", "deeplabv3_resnet50", "maskrcnn_resnet50_fpn"} <= set(names)
    assert not [name for name in names if name.startswith(("quantized", "raft"))]


def test_input_shapes_are_those_of_the_weights():
    assert TimmZoo().input_shape("resnet50") == (3, 224, 224)
    assert TimmZoo().input_shape("tf_efficientnet_b7") == (3, 600, 600)
    zoo = TorchvisionZoo()
    sizes = {"inception_v3": 299, "efficientnet_b7": 600, "fcn_resnet50": 520, "ssd300_vgg16": 300}
    sizes |= {"fasterrcnn_resnet50_fpn": 800}
    assert {name: zoo.input_shape(name) for name in sizes} == {name: (3, size, size) for name, size in sizes.items()}


PUBLISHED = (
    "alexnet densenet121 efficientnet_b0 googlenet mnasnet1_0 mobilenet_v3_large regnet_y_400mf "
    "resnet50 shufflenet_v2_x1_0 squeezenet1_0 swin_t swin_v2_t vgg11 vit_b_16 maxvit_t convnext_tiny vit_h_14"
)


@pytest.mark.parametrize("name", PUBLISHED.split())
def test_macs_and_parameters_are_those_that_torchvision_publishes(name):
    """Source: the model tables of torchvision, in G multiply-adds and parameters.

    Swin V2 computes its position biases from constants, which are no nodes here.
    """
    published = models.get_model_weights(name).DEFAULT.meta
    ours = cost(READER.read(f"torchvision:{name}").graph)
    assert ours.params == published["num_params"]
    tolerance = 0.01 if name == "swin_v2_t" else 0.0006 / published["_ops"]
    assert ours.macs / 1e9 == pytest.approx(published["_ops"], rel=tolerance)


def test_the_tag_of_weights_may_stand_behind_a_name():
    tagged, plain = (READER.read(f"timm:{name}") for name in ("resnet50.a1_in1k", "resnet50"))
    assert (tagged.name, tagged.graph) == ("timm:resnet50.a1_in1k", plain.graph)
    with pytest.raises(ModelError, match=r"has no 'resnet50\.nonsense'; did you mean timm:resnet50"):
        READER.read("timm:resnet50.nonsense")


def test_one_network_of_both_zoos():
    ours, theirs = (cost(READER.read(f"{zoo}:resnet50").graph) for zoo in ("timm", "torchvision"))
    assert ours == theirs


@pytest.mark.parametrize(
    ("name", "windows", "levels"),
    [("fasterrcnn_resnet50_fpn", 1000, 4), ("fasterrcnn_mobilenet_v3_large_320_fpn", 150, 2)],
)
def test_two_stage_detectors_share_out_their_boxes(name, windows, levels):
    graph = READER.read(f"torchvision:{name}").graph
    sampled = graph.resolution[graph.op == Op.RoIAlign]
    assert len(sampled) == levels
    assert sampled[:, 1].sum() == windows
    assert not (graph.op == Op.OOV).any()


def test_masks_and_keypoints_have_a_hundred_windows():
    for name in ("maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn"):
        graph = READER.read(f"torchvision:{name}").graph
        sampled = graph.resolution[graph.op == Op.RoIAlign][:, 1]
        assert sorted(sampled.tolist()) == [25] * 4 + [250] * 4


@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn", "fcos_resnet50_fpn", "ssdlite320_mobilenet_v3_large"])
def test_one_stage_detectors_keep_all_parameters(name):
    graph = READER.read(f"torchvision:{name}").graph
    with torch.device("meta"):
        detector = models.get_model(name, weights=None, weights_backbone=None)
    assert graph.params.sum() == sum(p.numel() for p in detector.parameters())


def test_what_the_fixed_part_gives_is_what_the_detector_computes():
    """The heads of RetinaNet see the same features, so that their raw results agree."""
    detector = models.detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None).eval()
    kept = []
    detector.head.register_forward_hook(lambda module, inputs, result: kept.append(result))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        detector.transform = nn.Identity()
        features = detector.backbone(image)
        detector.head(list(features.values()))
        found = fixed_part(detector)(image)
    assert torch.equal(found["cls_logits"], kept[0]["cls_logits"])


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(plugin, "find_spec", lambda name: None)
    for registration, name in ((TIMM, "timm"), (TORCHVISION, "torchvision")):
        with pytest.raises(PluginError, match=rf"needs {name}: pip install 'aiop-zoo-torch\[{name}\]'"):
            registration.create(registration.options())


def test_the_plugin_imports_neither_library():
    code = "import sys, aiop_zoo_torch.plugin as p; p.aiop_register_zoos()"
    code += "; print({'torch', 'timm', 'torchvision'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_a_model_of_the_zoo_on_the_command_line(aiop, sources):
    sources.append(PluginSource("zoo", "aiop-zoo-torch", "0", lambda: plugin))
    shown = aiop("graph", "show", "timm:resnet18", "--input-shape", "3,64,64")
    assert "11,689,512 parameters" in shown.out
    missed = aiop("graph", "show", "timm:resnet81")
    assert missed.code == 1
    assert "the zoo 'timm' has no 'resnet81'; did you mean timm:resnet18" in missed.err
