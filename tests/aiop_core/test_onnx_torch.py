"""One network, one graph: what torch exports to ONNX is read as the graph that ``trace`` gives."""

import logging
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from tests.aiop_core.test_trace import Branches, Squeeze, networks

from aiop_core.graph.cost import cost
from aiop_core.graph.onnx import read_onnx
from aiop_core.graph.passes import canonical
from aiop_core.graph.trace import trace

NEWEST = 25
"""The newest opset that torch's exporter writes."""


def trained(net: nn.Module) -> nn.Module:
    """``net`` with numbers that differ: exporters leave out biases of zeros, and store equal vectors once."""
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.uniform_(-0.1, 0.1, generator=chance)
        for name, buffer in net.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5, generator=chance)
    return net.eval()


def exported(net, shape, folder, *, dynamo=False, opset=17, fold=True, **options):
    """The file that torch's old (by tracing) or new exporter (``dynamo``) writes."""
    path = folder / "net.onnx"
    how = {"optimize": fold, "verbose": False} if dynamo else {"do_constant_folding": fold}
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                net, (torch.zeros(1, *shape),), str(path), dynamo=dynamo, opset_version=opset, **how, **options
            )
    finally:
        logging.disable(logging.NOTSET)
    return path


def assert_same(net, shape, folder, **options) -> None:
    read = read_onnx(exported(trained(net), shape, folder, **options))
    expected = canonical(trace(net, shape))
    assert canonical(read).fingerprint == expected.fingerprint
    assert cost(canonical(read)) == cost(expected)


class Mixer(nn.Module):
    """Patches, transformer layers, and a classifier on their mean."""

    def __init__(self, width: int, heads: int, depth: int, *, norm_first: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.place = nn.Parameter(torch.zeros(1, 16, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 2 * width, activation="gelu", batch_first=True, norm_first=norm_first
            )
            for _ in range(depth)
        )
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.place
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))


class Gated(nn.Module):
    """Activations and layouts that exporters spell out."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.group = nn.LayerNorm(8), nn.GroupNorm(2, 8)
        self.conv, self.scale = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, x):
        x = self.group(self.conv(x))
        x = F.gelu(x, approximate="tanh") * self.scale
        x = F.mish(F.silu(x)) + F.hardswish(x)
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        left, right = x.chunk(2, dim=1)
        x = F.interpolate(left * torch.sigmoid(right), scale_factor=2)
        return F.pixel_shuffle(torch.roll(x, 1, 2), 2), F.max_pool2d(x, 3, 2, 1, ceil_mode=True)


def mobile():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.Hardswish(),
        nn.Conv2d(8, 8, 5, 1, 2, groups=8, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        Squeeze(8),
        Branches(8),
        nn.ConvTranspose2d(16, 6, 4, 2, 1),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(6, 5),
    )


SMALL = {
    "mobile": (mobile, (3, 16, 16)),
    "mixer": (lambda: Mixer(16, 4, 1, norm_first=True), (3, 16, 16)),
    "gated": (Gated, (3, 9, 7)),
}


@pytest.mark.parametrize(
    ("name", "opset"),
    [(name, opset) for name in SMALL for opset in (11, 13, 14, 17, 20) if name != "mixer" or opset > 13],
)
def test_old_exporter(name, opset, tmp_path) -> None:
    make, shape = SMALL[name]
    assert_same(make(), shape, tmp_path, opset=opset)


@pytest.mark.parametrize("opset", [18, NEWEST])
@pytest.mark.parametrize("name", SMALL)
def test_new_exporter(name, opset, tmp_path) -> None:
    make, shape = SMALL[name]
    assert_same(make(), shape, tmp_path, opset=opset, dynamo=True)


@st.composite
def attention_networks(draw):
    heads = draw(st.sampled_from([1, 2, 4]))
    width = heads * draw(st.sampled_from([2, 4]))
    return Mixer(width, heads, draw(st.integers(1, 2)), norm_first=draw(st.booleans())), (3, 16, 16)


@settings(max_examples=40, deadline=None)
@given(example=networks() | attention_networks(), opset=st.sampled_from([11, 13, 16, 18, 20]))
def test_random_networks(tmp_path_factory, example, opset) -> None:
    net, shape = example
    opset = max(opset, 14) if isinstance(net, Mixer) else opset  # the first that torch writes attention in
    assert_same(net, shape, tmp_path_factory.mktemp("random"), opset=opset)


def test_untrained_networks_keep_parameters_that_are_stored_once(tmp_path) -> None:
    net = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 3, bias=False), nn.BatchNorm2d(3)) for _ in range(3))).eval()
    read = canonical(read_onnx(exported(net, (3, 16, 16), tmp_path)))
    assert read.fingerprint == canonical(trace(net, (3, 16, 16))).fingerprint


def test_sizes_left_open_at_export(tmp_path) -> None:
    net = trained(nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Flatten(2), nn.Softmax(-1)))
    axes = {"image": {0: "batch", 2: "height", 3: "width"}}
    path = exported(net, (3, 16, 16), tmp_path, dynamic_axes=axes, input_names=["image"])
    expected = canonical(trace(net, (3, 20, 12))).fingerprint
    assert canonical(read_onnx(path, (3, 20, 12))).fingerprint == expected


def test_a_batch_that_was_fixed_at_export_is_one(tmp_path) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.start = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.zeros(1, 1, 8))
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            x = self.patches(x).reshape(x.shape[0], 8, -1).transpose(1, 2)
            x = torch.cat([self.start.expand(x.shape[0], -1, -1), x], 1)
            return self.head(x.reshape(x.shape[0] * 17, 8))

    net = trained(Tokens())
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.zeros(6, 3, 16, 16),), str(tmp_path / "net.onnx"), dynamo=False)
    logging.disable(logging.NOTSET)
    read = canonical(read_onnx(tmp_path / "net.onnx"))
    assert read.fingerprint == canonical(trace(net, (3, 16, 16))).fingerprint


TORCHVISION = {
    "resnet50": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_large": 64,
    "efficientnet_b0": 64,
    "densenet121": 64,
    "inception_v3": 96,
    "vgg16": 224,
    "vit_b_16": 224,
}
TIMM = {
    "resnet50": 64,
    "mobilenetv3_large_100": 64,
    "vit_tiny_patch16_224": 224,
    "swin_tiny_patch4_window7_224": 224,
    "convnext_tiny": 64,
    "levit_128s": 224,
    "dm_nfnet_f0": 64,
}


def published(library, name):
    if library == "timm":
        return pytest.importorskip("timm").create_model(name)
    options = {"init_weights": False} if name in ("inception_v3", "vgg16") else {}
    return getattr(pytest.importorskip("torchvision").models, name)(**options)


EXPORTS = [(False, 20), (False, 14), (True, 18), (True, NEWEST)]
PUBLISHED = [("torchvision", *item) for item in TORCHVISION.items()] + [("timm", *item) for item in TIMM.items()]


@pytest.mark.parametrize(
    ("library", "name", "side", "dynamo", "opset"),
    [
        pytest.param(
            *item, *export, marks=() if item[0] == "torchvision" and export == EXPORTS[0] else pytest.mark.slow
        )
        for item in PUBLISHED
        for export in EXPORTS
    ],
)
def test_published_networks(library, name, side, dynamo, opset, tmp_path) -> None:
    """Without folding of constants, which takes parameters away: Swin's table of 169 places becomes 49 × 49."""
    fold = name.startswith(("levit", "swin", "dm_nfnet"))
    assert_same(published(library, name), (3, side, side), tmp_path, dynamo=dynamo, opset=opset, fold=not fold)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5"])
def test_small_published_networks(name, tmp_path) -> None:
    assert_same(published("torchvision", name), (3, 64, 64), tmp_path)
