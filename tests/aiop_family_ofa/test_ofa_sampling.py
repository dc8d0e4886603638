"""Samples: distinct, repeatable, and where asked spread over depths."""

from collections import Counter

import numpy as np
import pytest

from aiop_core.errors import SpecError
from aiop_family_ofa.family import create
from aiop_family_ofa.mobile import mobilenet_v3
from aiop_family_ofa.options import MobileNetV3Options, ProxylessOptions, ResNetOptions

OPTIONS = [ProxylessOptions, MobileNetV3Options, ResNetOptions]


def depth(architecture):
    return sum(len(getattr(stage, "ratios", stage)) for stage in architecture.stages)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("sampling", ["uniform", "depth"])
def test_distinct_and_repeatable(options, sampling):
    family = create(options(sampling=sampling))
    state = np.random.get_state()[1].copy()
    found = family.sample(100, seed=3)
    assert len(set(found)) == 100
    assert found == family.sample(100, seed=3) != family.sample(100, seed=4)
    assert all(family.parse(a.spec) == a for a in found)
    assert (np.random.get_state()[1] == state).all()


@pytest.mark.parametrize(
    ("options", "bins"),
    [(ProxylessOptions, range(11, 22)), (MobileNetV3Options, range(10, 21)), (ResNetOptions, range(10, 19))],
)
def test_depth_gives_every_total_an_equal_share(options, bins):
    shares = Counter(depth(a) for a in create(options(sampling="depth")).sample(10 * len(bins) + 4, seed=0))
    assert sorted(shares) == list(bins)
    assert set(shares.values()) <= {9, 10, 11, 12}


def test_few_samples_span_the_space():
    for seed in range(5):
        depths = sorted(depth(a) for a in create(MobileNetV3Options(sampling="depth")).sample(3, seed=seed))
        assert depths[1] - depths[0] >= 2
        assert depths[2] - depths[1] >= 2


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("sampling", ["uniform", "depth"])
def test_a_larger_sample_begins_with_the_smaller(options, sampling):
    family = create(options(sampling=sampling))
    assert family.sample(20, seed=1)[:7] == family.sample(7, seed=1)


def test_uniform_choices_are_uniform():
    found = create(MobileNetV3Options(sampling="uniform")).sample(600, seed=0)
    depths = Counter(len(stage) for a in found for stage in a.stages)
    kernels = Counter(block.kernel for a in found for stage in a.stages for block in stage)
    assert all(abs(n / 3000 - 1 / 3) < 0.04 for n in depths.values())
    assert all(abs(n / kernels.total() - 1 / 3) < 0.02 for n in kernels.values())


def test_size_of_the_published_space():
    """(9² + 9³ + 9⁴)⁵, which the once-for-all paper rounds to 2 × 10¹⁹."""
    assert mobilenet_v3().size == (9**2 + 9**3 + 9**4) ** 5


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("count", [-1, 10**30])
def test_more_than_there_are(options, count):
    with pytest.raises(SpecError, match=rf"{count} architectures were asked of ofa_\w+.*, which has \d+"):
        create(options()).sample(count, seed=0)


def test_none_at_all():
    assert create(ResNetOptions(sampling="depth")).sample(0, seed=0) == []


# --- Strata -------------------------------------------------------------------------

BINS = ((0, 1), (2, 3), (4, 6), (7, 8), (9, 10))
"""And the offsets below: AIO-P's code, ``latent_sample/arch_sampler.py``."""


def library_depth(architecture):
    """The sum of the library's ``d``: a ResNet's has the stem's depth, and counts from 0 in each stage."""
    stem = 2 * getattr(architecture, "stem_block", False)
    return depth(architecture) + stem - (10 if hasattr(architecture, "stem_block") else 0)


@pytest.mark.parametrize(("options", "offset"), [(ProxylessOptions, 11), (MobileNetV3Options, 10), (ResNetOptions, 0)])
def test_strata_are_the_papers_bins(options, offset):
    family = create(options())
    assert family.strata == len(BINS)
    for stratum, (low, high) in enumerate(BINS):
        found = [library_depth(family.draw(stratum, seed=seed)) - offset for seed in range(60)]
        assert {min(found), max(found)} == {low, high}
    assert family.draw(2, seed=1) == family.draw(2, seed=1) != family.draw(2, seed=2)


@pytest.mark.parametrize("options", [MobileNetV3Options, ResNetOptions])
def test_a_stratum_is_drawn_as_by_rejection(options):
    """Each stage's depth is as likely as if the whole space were drawn until a network falls into the bin."""
    family, stratum = create(options()), 1
    rng = np.random.default_rng(0)
    rejected, space = [], family._space
    while len(rejected) < 600:
        architecture = space.draw([d[rng.integers(3)] for d in space.depths], rng)
        if library_depth(architecture) - (10 if options is MobileNetV3Options else 0) in BINS[stratum]:
            rejected.append(architecture)
    drawn = [family.draw(stratum, seed=seed) for seed in range(600)]
    for feature in (
        *(lambda a, i=i: len(getattr(a.stages[i], "ratios", a.stages[i])) for i in range(4)),
        lambda a: getattr(a, "stem_block", None),
        library_depth,
    ):
        ours, theirs = Counter(map(feature, drawn)), Counter(map(feature, rejected))
        assert all(abs(ours[key] - theirs[key]) < 100 for key in ours | theirs)


@pytest.mark.parametrize("stratum", [-1, 5])
def test_no_such_stratum(stratum):
    with pytest.raises(
        SpecError, match=rf"ofa_resnet has strata 0 to 4 of depth, not {stratum}; draw from one of them"
    ):
        create(ResNetOptions()).draw(stratum, seed=0)


def test_only_resnets_bodies_vary_in_width():
    resnet = create(ResNetOptions())
    assert create(MobileNetV3Options()).widest is None
    assert [level.channels for level in resnet.widest] == [256, 512, 1024, 2048]
    bodies = [resnet.backbone(architecture).levels for architecture in resnet.sample(4, seed=0)]
    assert len(set(bodies)) > 1
    assert all(
        level.channels <= most.channels for levels in bodies for level, most in zip(levels, resnet.widest, strict=True)
    )
