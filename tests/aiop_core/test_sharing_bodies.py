"""What a shared head learns from: padded and frozen bodies, draws from many, or one after the other."""

from collections import Counter

import pytest
import torch
from torch import nn

from aiop_core.contracts import Level
from aiop_core.errors import ContractError, OptionError
from aiop_core.sharing.bodies import FrozenBodies, PaddedBody, require_several, shared_widths
from aiop_core.sharing.chance import CHANGES, ORDER, generator_of, own_randomness
from aiop_core.sharing.features import SampledBodies, SwappedBodies
from aiop_core.sharing.freezing import frozen, thaw
from aiop_core.sharing.moments import Moments, sample
from aiop_core.sharing.origin import bodies_origin, require
from aiop_core.sharing.padding import ChannelPadding


class Body(nn.Module):
    """Two levels, each a convolution with batch norm."""

    def __init__(self, levels, seed):
        super().__init__()
        self.levels = levels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Conv2d(before, level.channels, 3, stride=2, padding=1), nn.BatchNorm2d(level.channels))
                for before, level in zip((3, levels[0].channels), levels, strict=True)
            )

    def forward(self, images):
        features = [self.blocks[0](images)]
        return [*features, self.blocks[1](features[0])]


class Bodies:
    """Of varying widths if ``vary``."""

    family, strata = "small", 2

    def __init__(self, *, vary=False, said=False):
        self.made, self._vary = Counter(), vary
        self.widest = (Level(5, 2), Level(6, 4)) if said else None

    def spec(self, number):
        return f"body{number}"

    def body(self, number):
        self.made[number] += 1
        return Body((Level(4 + number % 2 * self._vary, 2), Level(6, 4)), number)


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def sgd(body):
    return torch.optim.SGD([p for p in body.parameters() if p.requires_grad], lr=0.1)


def swapped(bodies, **options):
    given = {"swap": 2, "freeze": None} | options
    return SwappedBodies(FrozenBodies(bodies, (), "cpu"), **given, make_optimiser=sgd, seed=0, device="cpu")


def test_levels_are_padded_with_zeros():
    body = FrozenBodies(Bodies(vary=True), (5, 7), "cpu").body(0)
    first, second = body(IMAGES)
    assert body.levels == (Level(5, 2), Level(7, 4))
    assert (first.shape[1], second.shape[1]) == (5, 7)
    assert not first[:, 4].any()
    assert first[:, 3].any()
    assert not any(p.requires_grad for p in body.parameters())
    assert not body.training


def test_bodies_normalise_as_the_task_s_images_make_them():
    images = 5 + 3 * torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    plain, ready = (FrozenBodies(Bodies(), (), "cpu", given).body(0)(images) for given in (None, images))
    for level, before in zip(ready, plain, strict=True):
        deviation, mean = torch.std_mean(level, dim=(0, 2, 3))
        assert torch.allclose(mean, torch.zeros_like(mean), atol=1e-2)
        assert torch.allclose(deviation, torch.ones_like(mean), atol=0.02)
        assert not torch.allclose(before.mean((0, 2, 3)), mean, atol=0.1)
    alone = FrozenBodies(Bodies(), (), "cpu", images).body(0)(images[:1])
    assert torch.allclose(alone[1], ready[1][:1], atol=1e-5), "what stands beside an image in a batch changes nothing"


def test_widths_that_do_not_fit_name_what_is_needed():
    assert shared_widths((), Bodies()) == ()
    assert shared_widths((), Bodies(said=True)) == (5, 6)
    assert shared_widths((9, 9), Bodies(said=True)) == (9, 9)
    with pytest.raises(OptionError, match=r"body body1 of small has levels of 5, 6 .* \(none\).* need 5,6"):
        FrozenBodies(Bodies(vary=True), (), "cpu").body(1)
    with pytest.raises(OptionError, match="head_widths 9 are 1 numbers, but bodies of small have 2 levels; give 4,6"):
        FrozenBodies(Bodies(), (9,), "cpu")
    with pytest.raises(OptionError, match="widths 4 do not cover levels of 5 channels; give one width for each level"):
        ChannelPadding((Level(5, 2),), (4,))
    with pytest.raises(ContractError, match="declares no levels; a head needs at least one"):
        ChannelPadding((), ())
    with pytest.raises(ContractError, match=r"body is a object; a family must give a torch.nn.Module"):
        PaddedBody(object(), ())


def test_a_draw_has_mean_and_deviation_of_the_population():
    bodies = FrozenBodies(Bodies(), (), "cpu")
    stacked = torch.stack([bodies.body(n)(IMAGES)[1] for n in range(3, 7)])
    deviation, mean = torch.std_mean(stacked, dim=0)
    moments = Moments(2)
    for n in range(3, 7):
        moments.add(bodies.body(n)(IMAGES))
    torch.testing.assert_close(moments.read()[0][1], mean)
    torch.testing.assert_close(moments.read()[1][1], deviation)
    drawn = torch.stack(
        [SampledBodies(bodies, 2, count=1, seed=seed, device="cpu").at(3, IMAGES)[0] for seed in range(400)]
    )
    assert ((drawn.mean(0) - mean).abs() < 0.25 * deviation + 1e-6).float().mean() > 0.99
    assert drawn.std(0).mean().item() == pytest.approx(deviation.mean().item(), rel=0.05)


def test_draws_follow_from_the_step_and_one_body_is_exchanged_after_each():
    bodies = Bodies()
    source = SampledBodies(FrozenBodies(bodies, (), "cpu"), 2, seed=1, device="cpu")
    steps = [source.at(step, IMAGES) for step in range(3)]
    assert [level.channels for level in source.levels] == [4, 6]
    assert {n: bodies.made[n] for n in range(1, 6)} == dict.fromkeys(range(1, 6), 1)
    again = SampledBodies(FrozenBodies(Bodies(), (), "cpu"), 2, seed=1, device="cpu").at(2, IMAGES)
    assert all(torch.equal(a, b) for a, b in zip(again, steps[2], strict=True))
    assert not torch.equal(steps[0][0], steps[1][0])
    assert source.resumable(1)
    source.learn()
    with pytest.raises(OptionError, match="one body of small at a time has no deviation; give per_stratum of at least"):
        require_several(1, type("One", (), {"family": "small", "strata": 1}))
    with pytest.raises(OptionError, match="has no deviation"):
        SampledBodies(type("One", (FrozenBodies,), {"strata": 1})(One(), (), "cpu"), 1, seed=0, device="cpu")


class One(Bodies):
    strata = 1


def test_sampling_draws_fresh_noise_of_the_right_size():
    generator = torch.Generator().manual_seed(0)
    mean, deviation = torch.full((20000,), 3.0), torch.full((20000,), 0.5)
    first, second = (sample(mean.half(), deviation.half(), generator) for _ in range(2))
    assert not torch.equal(first, second)
    assert first.mean().item() == pytest.approx(3, abs=0.02)
    assert first.std().item() == pytest.approx(0.5, rel=0.03)


def test_a_place_of_a_batch_can_be_forgotten():
    moments = Moments(2)
    for value in (1.0, 3.0):
        moments.add([torch.full((2, 1), value)])
    moments.forget(0)
    for value in (5.0, 9.0):
        moments.add([torch.full((2, 1), value)])
    assert moments.read()[0][0].flatten().tolist() == [7.0, 4.5]
    assert moments.read(slice(0, 1))[1][0].item() == pytest.approx(8**0.5)


def test_bodies_are_swapped_and_stay_as_they_are():
    bodies = Bodies()
    source = swapped(bodies)
    bodies.made.clear()
    seen = []
    for step in range(6):
        assert not any(x.requires_grad for x in source.at(step, IMAGES))
        seen.append(source.body)
        source.learn()
    assert [seen[i] is seen[i + 1] for i in range(5)] == [True, False, True, False, True]
    assert dict(bodies.made) == {0: 1, 1: 1, 2: 1}
    for number, body in enumerate(seen[::2]):
        fresh = bodies.body(number).state_dict()
        assert all(torch.equal(value, fresh[name]) for name, value in body.backbone.state_dict().items())
    assert source.resumable(1)


def test_a_trained_body_changes_behind_its_frozen_levels():
    bodies = Bodies()
    source = swapped(bodies, freeze=1, swap=10)
    for step in range(2):
        sum((x**2).mean() for x in source.at(step, IMAGES)).backward()
        source.learn()
    before, after = bodies.body(0).blocks, source.body.backbone.blocks
    assert torch.equal(before[0][0].weight, after[0][0].weight)
    assert not torch.equal(before[1][0].weight, after[1][0].weight)
    assert [source.resumable(step) for step in (9, 10)] == [False, True]
    with pytest.raises(OptionError, match="freeze is 2, but bodies have 2 levels, so that nothing would learn"):
        swapped(bodies, freeze=2)


def test_looking_what_to_freeze_moves_no_statistics():
    body = Bodies().body(0)
    before = body.blocks[0][1].running_mean.clone()
    thaw(body, 1, IMAGES)
    assert torch.equal(before, body.blocks[0][1].running_mean)
    assert [p.requires_grad for p in body.parameters()].count(True) == len(list(body.blocks[1].parameters()))
    thaw(body, 0, IMAGES)
    assert all(p.requires_grad for p in body.parameters())


def test_parameters_come_back_after_freezing():
    body = Bodies().body(0)
    body.blocks[0][0].bias.requires_grad = False
    for really in (True, False):
        with frozen(body, really=really):
            assert any(p.requires_grad for p in body.parameters()) != really
        assert [name for name, p in body.named_parameters() if not p.requires_grad] == ["blocks.0.0.bias"]


def test_chance_follows_from_numbers_and_leaves_the_global_state():
    def draw(*numbers):
        return torch.rand(3, generator=generator_of(*numbers)).tolist()

    assert draw(1, CHANGES, 5) == draw(1, CHANGES, 5)
    assert len({tuple(draw(*n)) for n in ((1, CHANGES, 5), (2, CHANGES, 5), (1, ORDER, 5), (1, CHANGES, 6))}) == 4
    before = torch.get_rng_state()
    with own_randomness(3, "cpu"):
        first = torch.rand(3)
    with own_randomness(3, "cpu"):
        assert torch.equal(first, torch.rand(3))
    assert torch.equal(before, torch.get_rng_state())


def test_origins_tell_other_weights_and_other_options():
    class Other(Bodies):
        def body(self, number):
            body = super().body(number)
            torch.nn.init.constant_(body.blocks[1][1].weight, 1.1)
            return body

    found, other = bodies_origin(Bodies()), bodies_origin(Other())
    said = {"what": "head in x", "advice": "train another", "error": OptionError}
    require({"size": [1, 2], **found, "answer": found["answer"] * 1.001}, {"size": (1, 2), **found}, **said)
    with pytest.raises(OptionError, match=r"head in x: made of other weights: answer .* is wanted; train another"):
        require(found, other, **said)
    with pytest.raises(OptionError, match="head in x: made of size None, but 3 is wanted; train another"):
        require(found, {"size": 3}, **said)
