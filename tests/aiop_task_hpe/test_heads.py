"""The heads against the layer lists that the research code printed."""

import json

import pytest
import torch
from torch import nn

from aiop_core.contracts import Level
from aiop_core.errors import ContractError, OptionError
from aiop_task_hpe.heads import RESNET_WIDTHS, DeconvHPEHead, SkipDeconvHPEHead, draw_weights

MBV3_LEVELS = (Level(32, 4), Level(48, 8), Level(96, 16), Level(136, 16), Level(1152, 32))
RESNET_LEVELS = (Level(256, 4), Level(336, 8), Level(664, 16), Level(1328, 32))
PN_LEVELS = (Level(32, 4), Level(56, 8), Level(104, 16), Level(128, 16), Level(1664, 32))
LEVELS = {"ofa_pn": PN_LEVELS, "ofa_mbv3": MBV3_LEVELS, "ofa_resnet": RESNET_LEVELS}


def head_of(family, case):
    levels = LEVELS[family]
    widths = RESNET_WIDTHS if family == "ofa_resnet" and case != "DeconvHPEHead" else ()
    if case == "SkipDeconvHPEHead_noskip" and family != "ofa_resnet":
        levels = levels[-1:]
    kind = DeconvHPEHead if case == "DeconvHPEHead" else SkipDeconvHPEHead
    return kind(levels, 16, widths=widths), levels


def features(levels, hw=64):
    return [torch.rand(2, level.channels, hw // level.stride, hw // level.stride) for level in levels]


def params(module):
    return sum(p.numel() for p in module.parameters())


# Source: heads.json of the research code (commit 755fda1), n_params_head
GOLDEN = [
    ("ofa_pn", "DeconvHPEHead", 8_918_544),
    ("ofa_pn", "SkipDeconvHPEHead_skip", 9_002_768),
    ("ofa_pn", "SkipDeconvHPEHead_noskip", 8_918_544),
    ("ofa_mbv3", "DeconvHPEHead", 6_821_392),
    ("ofa_mbv3", "SkipDeconvHPEHead_skip", 6_903_568),
    ("ofa_resnet", "DeconvHPEHead", 7_542_288),
    ("ofa_resnet", "SkipDeconvHPEHead_skip", 15_152_912),
]


@pytest.mark.parametrize(("family", "case", "count"), GOLDEN)
def test_parameters_as_in_the_paper(family, case, count):
    head, levels = head_of(family, case)
    assert params(head) == count
    assert head(features(levels)).shape == (2, 16, 16, 16)


@pytest.mark.data
@pytest.mark.parametrize("family", LEVELS)
@pytest.mark.parametrize("case", ["DeconvHPEHead", "SkipDeconvHPEHead_skip", "SkipDeconvHPEHead_noskip"])
def test_layers_as_the_research_code_printed_them(reference, family, case):
    cases = json.loads((reference / "heads.json").read_text())["cases"]
    expected = next(c for c in cases if c["family"] == family and c["case"] == case)
    head, levels = head_of(family, case)
    assert params(head) == expected["n_params_head"]
    ours = [repr(m) for m in head.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d | nn.ReLU)]
    theirs = [layer["repr"] for layer in expected["head_layers"] if layer["type"] != "ModuleList"]
    newer = ", affine=True, bias=True"  # how newer torch prints a batch norm
    assert sorted(text.replace(newer, ", affine=True") for text in ours) == sorted(theirs)
    assert list(head(features(levels, 256)).shape[1:]) == expected["out_shapes"][1:]


def test_levels_of_equal_stride_are_joined_coarser_first():
    head = SkipDeconvHPEHead(PN_LEVELS, 14)
    assert head.joined == [[3, 2], [1], [0]]


def test_a_level_reaches_the_maps_only_through_a_skip():
    given = features(PN_LEVELS)
    for kind, changes in ((SkipDeconvHPEHead, True), (DeconvHPEHead, False)):
        head = kind(PN_LEVELS, 14, filters=8).eval()
        before = head(given)
        after = head([given[0] + 1, *given[1:]])
        assert torch.equal(before, after) is not changes


def test_padding_adds_channels_that_say_nothing():
    head = DeconvHPEHead((Level(8, 32),), 14, filters=8, widths=(12,)).eval()
    narrow = torch.rand(1, 8, 2, 2)
    wide = torch.cat([narrow, torch.zeros(1, 4, 2, 2)], dim=1)
    assert torch.equal(head([narrow]), head([wide]))


def test_output_stride_sets_the_number_of_stages():
    assert [len(DeconvHPEHead(PN_LEVELS, 14, output_stride=s).stages) for s in (32, 8, 2)] == [0, 2, 4]


def test_weights_come_from_the_generator_alone():
    head = SkipDeconvHPEHead(PN_LEVELS, 14, filters=16)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(drawn))
        draw_weights(head, torch.Generator().manual_seed(seed))
        drawn.append(torch.cat([p.detach().flatten() for p in head.parameters()]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert head(features(PN_LEVELS)).std() < 0.05


def test_bad_arguments_are_explained():
    with pytest.raises(OptionError, match=r"output stride 3 cannot be reached from stride 32"):
        DeconvHPEHead(PN_LEVELS, 14, output_stride=3)
    with pytest.raises(OptionError, match=r"widths 16, 64 do not cover levels of 32, 56, 104, 128, 1664 channels"):
        SkipDeconvHPEHead(PN_LEVELS, 14, widths=(16, 64))
    with pytest.raises(ContractError, match="declares no levels"):
        DeconvHPEHead((), 14)
