"""The profiler runs whatever a user spells, gives the same numbers each time, and changes nothing."""

import json

import pytest
import torch
from torch import nn

from aiop_core.errors import ModelError, OptionError
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_core.testing import conformance_tests
from aiop_profiler_zerocost import plugin
from aiop_profiler_zerocost.options import PROXIES, ZeroCostOptions
from aiop_profiler_zerocost.profiler import ZeroCost

(ZEROCOST,) = plugin.aiop_register_profilers()
ALL = ZeroCost(ZeroCostOptions(PROXIES, 4))


@conformance_tests("profiler", ZEROCOST, {"batch": 4})
def test_zerocost_conforms(check):
    check()


def convnet(last=10):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(), nn.Conv2d(8, last, 3)
    )


class Maps(nn.Module):
    """A backbone: a list of feature maps."""

    def __init__(self):
        super().__init__()
        self.first, self.second = convnet(6), nn.Conv2d(6, 12, 3)

    def forward(self, x):
        x = self.first(x)
        return [x, {"deep": self.second(x)}]


class Tokens(nn.Module):
    """Patches as (batch, positions, channels), as in a transformer."""

    def __init__(self):
        super().__init__()
        self.patches, self.mix = nn.Conv2d(3, 8, 8, 8), nn.Sequential(nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 8))

    def forward(self, x):
        return self.mix(self.patches(x).flatten(2).transpose(1, 2))


class Constant(nn.Module):
    """Its output does not depend on its weights or its input."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return torch.zeros(len(x), 4)


class Failing(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.norm, self.layer, self.error = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), error

    def forward(self, x):
        self.layer(self.norm(x))
        raise self.error


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(convnet(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        convnet(),
        convnet(1),
        Maps(),
        Tokens(),
    ],
    ids=["classifier", "segmentation head", "single channel", "backbone", "tokens"],
)
def test_every_kind_of_output_has_every_score(model):
    assert list(ALL.profile(model, (3, 16, 16))) == list(PROXIES)


def test_numbers_follow_from_the_seed_and_from_nothing_else():
    model = convnet()
    first = ALL.profile(model, (3, 16, 16))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert ALL.profile(model, (3, 16, 16)) == first
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        assert ALL.profile(model.train(), (3, 16, 16)) == first
    other = ZeroCost(ZeroCostOptions(PROXIES, 4, seed=1)).profile(model, (3, 16, 16))
    assert {name for name in PROXIES if other[name] == first[name]} == {"synflow", "l2_norm"}


def test_a_network_that_draws_numbers_gives_the_same_each_time():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x):
            return self.layer(x + torch.randn_like(x))

    profiler, model = ZeroCost(ZeroCostOptions(("grad_norm",), 4)), Noisy()
    assert profiler.profile(model, (6,)) == profiler.profile(model, (6,))


@pytest.mark.parametrize("model", [convnet(), Failing(RuntimeError("no"))], ids=["sound", "failing"])
def test_a_module_is_as_it_was(model):
    calls = []
    layer = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    layer.register_forward_hook(lambda *_: calls.append(1))
    layer.weight.requires_grad_(False)
    model.train()
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).eval()
    modes = [m.training for m in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        ALL.profile(model, (3, 16, 16))
    except ModelError:
        assert isinstance(model, Failing)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert all(p.grad is None for p in model.parameters())
    assert [len(m._forward_hooks) for m in model.modules()] == [int(m is layer) for m in model.modules()]


def test_frozen_weights_count():
    frozen = convnet()
    whole = ALL.profile(frozen, (3, 16, 16))
    assert ALL.profile(frozen.requires_grad_(False), (3, 16, 16)) == whole


def test_undefined_scores_are_left_out():
    no_relu = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 4))
    assert set(PROXIES) - set(ALL.profile(no_relu, (3, 2, 2))) == {"nwot"}
    assert list(ALL.profile(Constant(), (4,))) == ["l2_norm"]
    dead = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    nn.init.zeros_(dead[1].weight)
    assert {"synflow", "jacov"}.isdisjoint(ALL.profile(dead, (3, 2, 2)))


def test_scores_that_are_not_finite_are_left_out():
    broken = nn.Linear(4, 4)
    nn.init.constant_(broken.weight, float("inf"))
    assert ALL.profile(broken, (4,)) == {}


def test_a_model_without_memory_or_weights_is_refused():
    with torch.device("meta"):
        empty = convnet()
    with pytest.raises(ModelError, match="whose weights are not in memory"):
        ALL.profile(empty, (3, 16, 16))
    with pytest.raises(ModelError, match="the model has none: no parameter with two axes"):
        ALL.profile(nn.BatchNorm2d(3), (3, 16, 16))


@pytest.mark.parametrize(
    "error", [RuntimeError("line one\nline two"), KeyError("line one"), ZeroDivisionError("line one")]
)
def test_a_model_that_fails_is_one_line(error):
    with pytest.raises(ModelError, match=r"noise \(3, 16, 16\), which fails: \w+Error: '?line one'?$"):
        ALL.profile(Failing(error), (3, 16, 16))


def test_a_model_that_cannot_be_copied_is_refused():
    model = nn.Linear(4, 4)
    model.derived = model.weight * 2
    with pytest.raises(ModelError, match="work on a copy, and the model cannot be copied"):
        ALL.profile(model, (4,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proxies": "synflow,zen"}, "is 'synflow,zen', allowed is some of synflow, nwot"),
        ({"batch": 1}, "is '1', allowed is a whole number at least 2"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(OptionError, match=message):
        PluginRegistry([PluginSource("zerocost", "z", "0", lambda: plugin)]).create("profiler", "zerocost", options)


def test_on_the_command_line(aiop, sources):
    sources.append(PluginSource("zerocost", "aiop-profiler-zerocost", "0.1", lambda: plugin))
    command = ("graph", "show", "reference_zoo:wren", "--profiler", "zerocost", "--json")
    found = json.loads(aiop(*command).out)["profilers"]["zerocost"]
    assert list(found) == ["synflow", "nwot", "jacov", "grad_norm", "snip", "fisher"]


@pytest.mark.parametrize(
    "name", ["timm:mobilenetv3_small_050", "timm:vit_tiny_patch16_224", "torchvision:shufflenet_v2_x0_5"]
)
def test_models_of_zoos(name):
    zoo, _, model = name.partition(":")
    made = PluginRegistry().create("zoo", zoo)
    found = ZeroCost(ZeroCostOptions(PROXIES, 2)).profile(made.module(model), (3, 224, 224))
    assert set(PROXIES) - set(found) == ({"nwot"} if "vit" in model else set())
