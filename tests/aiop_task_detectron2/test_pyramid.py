"""The feature pyramids, without detectron2: layers, shapes and sums as in the paper's code, and other backbones."""

import json
from pathlib import Path

import pytest
import torch
from fvcore.nn.weight_init import c2_xavier_fill
from torch import nn

from aiop_core.contracts import Level
from aiop_core.errors import ContractError, OptionError
from aiop_task_detectron2.pyramid import FeaturePyramidAdapterBase, FeaturePyramidDetectron, draw_weights

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "detectron2_pyramids.json").read_text())["pyramids"]
LEVELS = (Level(8, 4), Level(12, 8), Level(16, 16), Level(20, 16), Level(24, 32))


def layers_of(pyramid):
    return [repr(layer) for layer in pyramid.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]


def features(levels, size=64):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, v.channels, size // v.stride, size // v.stride, generator=generator) for v in levels]


@pytest.mark.parametrize("family", GOLDEN)
def test_layers_parameters_and_maps_are_the_papers(family):
    expected = GOLDEN[family]
    levels = [Level(channels, stride) for channels, stride in expected["levels"]]
    with torch.device("meta"):
        pyramid = FeaturePyramidDetectron(levels)
        maps = pyramid([torch.empty(1, v.channels, 1024 // v.stride, 1024 // v.stride) for v in levels])
    assert layers_of(pyramid) == expected["layers"]
    assert sum(p.numel() for p in pyramid.parameters()) == expected["params"]
    assert [list(x.shape[1:]) for x in maps.values()] == expected["maps"][::-1]
    assert pyramid.strides == {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}


@pytest.mark.data
@pytest.mark.parametrize("family", GOLDEN)
def test_both_pyramids_are_as_the_research_code_built_them(family, reference):
    cases = json.loads((reference / "heads.json").read_text())["cases"]
    found = {c["case"].split("_")[0]: c for c in cases if c["family"] == family and "Pyramid" in c["case"]}
    assert len(found) == 2
    for kind in (FeaturePyramidAdapterBase, FeaturePyramidDetectron):
        case = found[kind.__name__]
        levels = [Level(channels, 1024 // height) for _, channels, height, _ in case["body_out_shapes"]]
        padded = family == "ofa_resnet" and kind is FeaturePyramidAdapterBase
        with torch.device("meta"):
            pyramid = kind(levels, widths=(256, 512, 1024, 2048) if padded else ())
        assert layers_of(pyramid) == [layer["repr"] for layer in case["head_layers"]]
        assert sum(p.numel() for p in pyramid.parameters()) == case["n_params_head"]


def test_maps_are_sums_of_the_doubled_map_and_the_levels_of_its_size():
    pyramid, maps_in = FeaturePyramidDetectron(LEVELS, channels=6), features(LEVELS)
    maps = pyramid(maps_in)
    p5 = pyramid.coarsest(maps_in[4])
    p4 = pyramid.upsamples[0](p5) + pyramid.laterals[0](torch.cat([maps_in[3], maps_in[2]], dim=1))
    p3 = pyramid.upsamples[1](p4) + pyramid.laterals[1](maps_in[1])
    p2 = pyramid.upsamples[2](p3) + pyramid.laterals[2](maps_in[0])
    for name, expected in {"p2": p2, "p3": p3, "p4": p4, "p5": p5, "p6": pyramid.downsamples[0](p5)}.items():
        torch.testing.assert_close(maps[name], expected)
    assert list(maps) == ["p2", "p3", "p4", "p5", "p6"]


def test_padding_adds_channels_that_change_nothing():
    narrow, wide = FeaturePyramidDetectron(LEVELS), FeaturePyramidDetectron(LEVELS, widths=(9, 14, 16, 21, 30))
    weights = {k: v for k, v in narrow.state_dict().items() if k in ("coarsest.weight", "laterals.0.weight")}
    wide.load_state_dict({k: v for k, v in narrow.state_dict().items() if v.shape == wide.state_dict()[k].shape}, False)
    with torch.no_grad():
        wide.coarsest.weight[:, :24] = weights["coarsest.weight"]
        wide.laterals[0].weight[:, :20] = weights["laterals.0.weight"][:, :20]
        wide.laterals[0].weight[:, 21:] = weights["laterals.0.weight"][:, 20:]
        wide.laterals[1].weight[:, :12] = narrow.laterals[1].weight
        wide.laterals[2].weight[:, :8] = narrow.laterals[2].weight
    for mine, theirs in zip(wide(features(LEVELS)).values(), narrow(features(LEVELS)).values(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(
    ("strides", "downsamples", "names", "laterals"),
    [
        ((8, 16, 32), 1, "p2 p3 p4 p5 p6", [1, 1, 0]),
        ((4, 32), 1, "p2 p3 p4 p5 p6", [0, 0, 1]),
        ((32,), 1, "p2 p3 p4 p5 p6", [0, 0, 0]),
        ((2, 4, 8), 3, "p2 p3 p4 p5 p6", [1]),
        ((1, 2, 4), 0, "p2", []),
        ((16, 32, 32), 1, "p2 p3 p4 p5 p6", [1, 0, 0]),
        ((8, 64), 0, "p2 p3 p4 p5 p6", [0, 0, 1, 0]),
    ],
)
def test_other_backbones(strides, downsamples, names, laterals):
    levels = [Level(4 + i, stride) for i, stride in enumerate(strides)]
    pyramid = FeaturePyramidDetectron(levels, channels=5, downsamples=downsamples)
    assert [len(list(lateral.parameters())) > 0 for lateral in pyramid.laterals] == [bool(x) for x in laterals]
    assert pyramid.coarsest.in_channels == sum(v.channels for v in levels if v.stride == strides[-1])
    maps = pyramid(features(levels))
    assert list(maps) == names.split()
    assert {name: tuple(x.shape) for name, x in maps.items()} == {
        name: (2, 5, 64 // stride, 64 // stride) for name, stride in pyramid.strides.items()
    }


@pytest.mark.parametrize(
    ("levels", "widths", "error", "message"),
    [
        (
            [Level(4, 4), Level(4, 12)],
            (),
            OptionError,
            r"stride 12 of the backbone's levels \(4, 12\) is no power of two",
        ),
        (
            [Level(4, 1), Level(4, 2)],
            (),
            OptionError,
            r"coarsest level has stride 2 \(of 1, 2\), finer than .* finest, 4",
        ),
        ([], (), ContractError, "declares no levels"),
        ([Level(4, 4), Level(8, 8)], (4, 7), OptionError, "widths 4, 7 do not cover levels of 4, 8 channels"),
    ],
)
def test_what_cannot_be_built_is_told(levels, widths, error, message):
    with pytest.raises(error, match=message):
        FeaturePyramidDetectron(levels, widths=widths)


def test_weights_are_caffe2s_xavier_and_come_from_the_generator_alone():
    pyramid = FeaturePyramidDetectron(LEVELS, channels=16)
    before = torch.random.get_rng_state()
    draw_weights(pyramid, torch.Generator().manual_seed(7))
    assert torch.equal(torch.random.get_rng_state(), before)
    drawn = {name: value.clone() for name, value in pyramid.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        for layer in pyramid.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                c2_xavier_fill(layer)
    assert all(torch.equal(drawn[name], value) for name, value in pyramid.state_dict().items())


def test_building_touches_no_global_generator_and_repeats():
    before = torch.random.get_rng_state()
    one, other = FeaturePyramidDetectron(LEVELS, channels=8), FeaturePyramidDetectron(LEVELS, channels=8)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_base_starts_as_torchs_layers_do():
    base = FeaturePyramidAdapterBase(LEVELS, channels=64)
    bound = 24**-0.5  # torch: uniform within 1 / √fan-in
    assert 0.95 * bound < base.coarsest.weight.abs().max() <= bound
