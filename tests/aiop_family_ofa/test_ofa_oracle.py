"""Our networks against those of the once-for-all library, weight for weight."""

import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from ofa.imagenet_classification.elastic_nn.modules.dynamic_op import DynamicSeparableConv2d

from aiop_family_ofa.family import create
from aiop_family_ofa.options import MobileNetV3Options, ProxylessOptions, ResNetOptions

FAMILIES = {
    "ofa_pn": ProxylessOptions,
    "ofa_mbv3": MobileNetV3Options,
    "ofa_mbv3_w1.0": lambda **k: MobileNetV3Options(width=1.0, **k),
    "ofa_resnet": ResNetOptions,
}
STAGES = {"ofa_pn": 6, "ofa_mbv3": 5, "ofa_mbv3_w1.0": 5}


def random_config(name, rng):
    """A setting of the library's supernet, inactive slots included."""
    if name == "ofa_resnet":
        depths = [int(rng.choice([0, 2])), *rng.integers(3, size=4).tolist()]
        return {"d": depths, "e": rng.choice([0.2, 0.25, 0.35], 18).tolist(), "w": rng.integers(3, size=6).tolist()}
    slots = 21 if name == "ofa_pn" else 20
    depths = [*rng.choice([2, 3, 4], 5).tolist(), *([1] if name == "ofa_pn" else [])]
    return {"ks": rng.choice([3, 5, 7], slots).tolist(), "e": rng.choice([3, 4, 6], slots).tolist(), "d": depths}


def assert_equal(ours, theirs):
    scale = max(1.0, theirs.abs().max().item())
    assert theirs.std() > 1e-3, "a vanishing output compares nothing"
    assert (ours - theirs).abs().max().item() <= 1e-5 * scale


@pytest.fixture
def images():
    return torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_the_same_configuration_gives_the_same_outputs(name, oracle, images):
    assert DynamicSeparableConv2d.KERNEL_TRANSFORM_MODE == 1
    family = create(FAMILIES[name](weights=str(oracle(name).path)))
    rng = np.random.default_rng(1)
    for _ in range(4):
        config = random_config(name, rng)
        network = family.network(family.parse(str(config))).eval()
        assert_equal(network(images), oracle(name).subnet(config)(images))


def research_levels(name, subnet, images):
    """The features that the research code takes: before each change of channels, and the last."""
    resnet = name == "ofa_resnet"
    x, outputs = images, []
    for layer in subnet.input_stem if resnet else [subnet.first_conv]:
        x = layer(x)
    x = subnet.max_pooling(x) if resnet else x
    for block in subnet.blocks:
        x = block(x)
        outputs.append(x)
    taken = [a for a, b in pairwise(outputs[1:]) if a.shape[1] != b.shape[1]]
    if name == "ofa_pn":
        return [*taken[:4], subnet.feature_mix_layer(x)]
    return [*taken, x if resnet else subnet.final_expand_layer(x)]


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_levels_are_those_of_the_research_code(name, oracle, images):
    family = create(FAMILIES[name](weights=str(oracle(name).path)))
    config = random_config(name, np.random.default_rng(5))
    architecture = family.parse(str(config))
    body, network = family.backbone(architecture).eval(), family.network(architecture).eval()
    features = body(images)
    theirs = research_levels(name, oracle(name).subnet(config), images)
    assert len(features) == len(theirs) == len(body.levels)
    for ours, expected, level in zip(features, theirs, body.levels, strict=True):
        assert_equal(ours, expected)
        assert ours.shape == (2, level.channels, 96 // level.stride, 96 // level.stride)
    assert torch.equal(features[-1], network.body(images)[-1])


def older_name(key, *, resnet):
    key = key.replace(".bn.bn.", ".bn.").replace(".linear.linear.", ".linear.")
    key = re.sub(r"(?<=\.)conv\.conv\.weight$", "conv.weight", key)
    return key if resnet else re.sub(r"^(blocks\.\d+)\.conv\.", r"\1.mobile_inverted_conv.", key)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_every_spelling_of_a_checkpoint_loads(name, oracle, images, tmp_path):
    """The older files: unwrapped names, another name for a block's branch, a parallel wrapper's prefix."""
    supernet = oracle(name).supernet
    older = {older_name(key, resnet=name == "ofa_resnet"): tensor for key, tensor in supernet.state_dict().items()}
    supernet.load_state_dict(older)  # the library reads these names too
    spellings = {"older": {"state_dict": older}, "bare": older}
    spellings["parallel"] = {"state_dict": {f"module.{key}": tensor for key, tensor in older.items()}}
    config = random_config(name, np.random.default_rng(3))
    theirs = oracle(name).subnet(config)(images)
    for spelling, content in spellings.items():
        torch.save(content, tmp_path / spelling)
        family = create(FAMILIES[name](weights=str(tmp_path / spelling)))
        assert_equal(family.network(family.parse(str(config))).eval()(images), theirs)


@torch.no_grad()
def test_kernel_transforms_matter(oracle, images):
    """The comparison above would notice if small kernels were plain crops of large ones."""
    config = {"ks": [3] * 20, "e": [6] * 20, "d": [4] * 5}
    family = create(MobileNetV3Options(weights=str(oracle("ofa_mbv3").path)))
    ours = family.network(family.parse(str(config))).eval()(images)
    try:
        DynamicSeparableConv2d.KERNEL_TRANSFORM_MODE = None
        cropped = oracle("ofa_mbv3").subnet(config)(images)
    finally:
        DynamicSeparableConv2d.KERNEL_TRANSFORM_MODE = 1
    assert (ours - cropped).abs().max() > 1e-3
