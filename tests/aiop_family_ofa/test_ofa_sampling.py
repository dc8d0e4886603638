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
