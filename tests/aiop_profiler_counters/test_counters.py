"""The counters reproduce published numbers, and their errors are as the README says."""

import json

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from aiop_core.errors import ModelError
from aiop_core.graph.cost import cost
from aiop_core.graph.trace import trace
from aiop_core.plugins import PluginRegistry
from aiop_core.testing import conformance_tests
from aiop_profiler_counters.fvcore_counter import FvcoreCounter
from aiop_profiler_counters.plugin import aiop_register_profilers
from aiop_profiler_counters.thop_counter import ThopCounter

THOP, FVCORE = aiop_register_profilers()
IMAGE = (4, 8, 8)
PIXELS = 4 * 8 * 8


@conformance_tests("profiler", THOP)
def test_thop_conforms(check):
    check()


@conformance_tests("profiler", FVCORE)
def test_fvcore_conforms(check):
    check()


class Computes(nn.Module):
    """A function as a module; its matrix is a parameter of its own."""

    def __init__(self, function):
        super().__init__()
        self.function, self.matrix = function, nn.Parameter(torch.ones(8, 8))

    def forward(self, x):
        return self.function(x, self.matrix)


class Conv(nn.Conv2d):
    """As libraries make their own convolutions."""


def counts(module, shape):
    ours = cost(trace(module, shape)).macs
    return [ours, *(int(counter.profile(module, shape)["macs"]) for counter in (ThopCounter(), FvcoreCounter()))]


CONV = 8 * 8 * 3 * 3 * 4 * 4
DECONV = 8 * 8 * 4 * 4 * 4 * 4
ENCODER = 4 * 8 * 24 + 2 * 2 * 4 * 4 * 4 + 4 * 8 * 8 + 2 * 4 * 8 * 16


@pytest.mark.parametrize(
    ("module", "shape", "ours", "thop", "fvcore"),
    [
        pytest.param(nn.Conv2d(4, 4, 3, padding=1), IMAGE, CONV, CONV, CONV, id="all agree on a convolution"),
        pytest.param(Conv(4, 4, 3, padding=1), IMAGE, CONV, 0, CONV, id="a subclass of one"),
        pytest.param(nn.ConvTranspose2d(4, 4, 4, 2, 1), IMAGE, DECONV, 4 * DECONV, DECONV, id="transposed convolution"),
        pytest.param(Computes(lambda x, w: x @ w), (4, 8), 256, 0, 256, id="product by a function"),
        pytest.param(
            Computes(lambda x, _: scaled_dot_product_attention(x, x, x)), (2, 8, 8), 2048, 0, 0, id="fused attention"
        ),
        pytest.param(Computes(lambda x, _: torch.baddbmm(x, x, x)), (8, 8), 512, 0, 0, id="baddbmm"),
        pytest.param(nn.LSTM(8, 8, batch_first=True), (4, 8), 2048, 2560, 0, id="recurrent layer"),
        pytest.param(nn.BatchNorm2d(4), IMAGE, 0, 4 * PIXELS, 2 * PIXELS, id="batch norm"),
        pytest.param(nn.LayerNorm(8), IMAGE, 0, 4 * PIXELS, 5 * PIXELS, id="layer norm"),
        pytest.param(nn.GroupNorm(2, 4), IMAGE, 0, 0, 5 * PIXELS, id="group norm"),
        pytest.param(
            nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE, 0, 44 * PIXELS, 16 * PIXELS, id="bilinear resizing"
        ),
    ],
)
def test_known_errors(module, shape, ours, thop, fvcore):
    assert counts(module, shape) == [ours, thop, fvcore]


def test_multi_head_attention_is_lost():
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    ours, thop, fvcore = counts(encoder, (4, 8))
    assert ours == ENCODER
    assert thop < ENCODER
    assert fvcore < ENCODER


def test_thop_leaves_out_parameters_of_modules_without_a_rule():
    module = nn.Sequential(nn.Linear(8, 8), Computes(lambda x, w: x @ w))
    assert ThopCounter().profile(module, (4, 8))["params"] == 72
    assert FvcoreCounter().profile(module, (4, 8))["params"] == 136


# Source: thop 0.1.1, README, table of torchvision's models (G, 224×224)
THOP_TABLE = {"resnet18": 1.82, "densenet121": 2.90, "squeezenet1_0": 0.82, "mobilenet_v2": 0.33, "resnet50": 4.14}

# Source: model tables of the papers of Swin Transformer and ConvNeXt, and fvcore's count of ResNet-50 (G)
FVCORE_TABLE = {"swin_t": 4.5, "convnext_tiny": 4.5, "resnet50": 4.11}


@pytest.mark.parametrize("name", THOP_TABLE)
def test_thops_own_table(name):
    from torchvision import models

    with torch.device("meta"):
        module = models.get_model(name, weights=None)
    assert ThopCounter().profile(module, (3, 224, 224))["macs"] / 1e9 == pytest.approx(THOP_TABLE[name], abs=0.0075)


@pytest.mark.parametrize("name", FVCORE_TABLE)
def test_fvcores_published_counts(name):
    from torchvision import models

    macs = FvcoreCounter().profile(models.get_model(name, weights=None), (3, 224, 224))["macs"]
    digits = len(str(FVCORE_TABLE[name]).split(".")[1])
    assert round(macs / 1e9, digits) == FVCORE_TABLE[name]


@pytest.mark.data
@pytest.mark.parametrize("family", ["ofa_pn", "ofa_mbv3", "ofa_resnet"])
@pytest.mark.parametrize("case", ["DeconvHPEHead", "SkipDeconvHPEHead_skip", "SkipDeconvHPEHead_noskip"])
def test_thops_counts_of_the_research_codes_pose_networks(reference, family, case):
    from aiop_task_hpe.heads import RESNET_WIDTHS, DeconvHPEHead, SkipDeconvHPEHead
    from aiop_task_hpe.task import PoseModel

    cases = json.loads((reference / "heads.json").read_text())["cases"]
    expected = next(c for c in cases if (c["family"], c["case"]) == (family, case))
    space = PluginRegistry().create("family", family)
    widths = RESNET_WIDTHS if family == "ofa_resnet" and case.startswith("Skip") else ()
    kind = SkipDeconvHPEHead if case.endswith("_skip") else DeconvHPEHead
    with torch.device("meta"):
        backbone = space.backbone(space.parse(json.dumps(expected["original config"])))
        model = PoseModel(backbone, kind(backbone.levels, 16, widths=widths))
    found = ThopCounter().profile(model, (3, 256, 256))
    assert found == {"macs": expected["thop_macs"], "params": expected["thop_params"]}


@pytest.mark.parametrize("counter", [ThopCounter(), FvcoreCounter()])
def test_a_module_is_as_it_was(counter):
    module = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4).eval(), Computes(lambda x, _: x))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    counter.profile(module, IMAGE)
    assert [m.training for m in module.modules()] == [True, True, False, True]
    after = module.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_fvcore_needs_weights():
    with torch.device("meta"):
        module = nn.Conv2d(4, 4, 3)
    with pytest.raises(ModelError, match="fvcore runs the model, which has no weights"):
        FvcoreCounter().profile(module, IMAGE)


def test_they_stand_beside_our_count(aiop, sources, tmp_path):
    from aiop_core.plugins import PluginSource
    from aiop_profiler_counters import plugin

    sources.append(PluginSource("counters", "aiop-profiler-counters", "0", lambda: plugin))
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.ConvTranspose2d(4, 4, 4, 2, 1))\n"
    )
    show = (
        "graph",
        "show",
        f"{tmp_path / 'net.py'}:net",
        "--input-shape",
        "4,8,8",
        "--profiler",
        "thop",
        "--profiler",
        "fvcore",
    )
    data = json.loads(aiop(*show, "--json").out)
    assert data["macs"] == DECONV
    assert data["profilers"] == {"thop": {"macs": 4 * DECONV, "params": 260}, "fvcore": {"macs": DECONV, "params": 260}}
    line = next(line for line in aiop(*show).out.splitlines() if "thop" in line and "macs" in line)
    assert "4.0000" in line
    file = aiop("graph", "save", *show[2:5], "-o", tmp_path / "net.safetensors")
    assert file.code == 0
    refused = aiop("graph", "show", tmp_path / "net.safetensors", "--profiler", "thop")
    assert refused.code == 1
    assert "is no torch module, which a profiler needs" in refused.err


def test_they_print_nothing(capsys):
    ThopCounter().profile(nn.Sequential(nn.Conv2d(4, 4, 3)), IMAGE)
    FvcoreCounter().profile(nn.Sequential(nn.Conv2d(4, 4, 3)), IMAGE)
    assert capsys.readouterr() == ("", "")
