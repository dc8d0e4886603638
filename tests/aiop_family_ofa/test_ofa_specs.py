"""Specs: canonical texts, the configurations of others, and what is wrong with bad ones."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiop_core.errors import SpecError
from aiop_family_ofa.mobile import mobilenet_v3, proxyless
from aiop_family_ofa.plans import divisible
from aiop_family_ofa.resnet import BASE_DEPTHS, RATIOS, STAGE_CHANNELS, WIDTHS, ResNetSpace
from aiop_family_ofa.specs import MAX_LENGTH

PN, MBV3, RESNET = proxyless(), mobilenet_v3(), ResNetSpace()
SPACES = [PN, MBV3, RESNET]
MOBILE = [PN, MBV3]


@st.composite
def mobile_slots(draw, space):
    """The library's configuration of a mobile supernet: an entry for every slot."""
    slots = sum(stage.slots for stage in space.stages)
    return {
        "ks": draw(st.lists(st.sampled_from([3, 5, 7]), min_size=slots, max_size=slots)),
        "e": draw(st.lists(st.sampled_from([3, 4, 6]), min_size=slots, max_size=slots)),
        "d": draw(st.lists(st.sampled_from([2, 3, 4]), min_size=5, max_size=5)) + [1] * (len(space.stages) - 5),
    }


@st.composite
def resnet_settings(draw):
    return {
        "d": draw(st.lists(st.sampled_from([0, 1, 2]), min_size=5, max_size=5)),
        "e": draw(st.lists(st.sampled_from(RATIOS), min_size=18, max_size=18)),
        "w": draw(st.lists(st.sampled_from([0, 1, 2]), min_size=6, max_size=6)),
    }


def configs(space):
    return resnet_settings() if space is RESNET else mobile_slots(space)


def slots_of(space):
    return [max(depths) for depths in space.depths]


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.title)
@given(data=st.data())
def test_canonical_text_comes_back(space, data):
    architecture = space.parse(json.dumps(data.draw(configs(space))))
    assert space.parse(architecture.spec) == architecture
    assert space.parse(architecture.spec).spec == architecture.spec


@pytest.mark.parametrize("space", MOBILE, ids=lambda s: s.title)
@given(data=st.data())
def test_research_configurations_of_mobile_spaces(space, data):
    architecture = space.parse(json.dumps(data.draw(configs(space))))
    names = [[f"{space.block_name}_e{b.ratio}_k{b.kernel}" for b in stage] for stage in architecture.stages]
    for text in (str([224, names]), json.dumps([192, names]), str((224, names))):
        assert space.parse(text) == architecture


@given(settings=resnet_settings())
def test_research_configurations_of_resnet(settings):
    assert RESNET.parse(str([224, settings])) == RESNET.parse(json.dumps(settings))


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.title)
@given(data=st.data())
def test_only_active_slots_count(space, data):
    """An inactive slot changes nothing; an active one changes the spec."""
    config = data.draw(configs(space))
    spec = space.parse(json.dumps(config)).spec
    active, offset = set(), 0
    depths = config["d"] if space is not RESNET else [b + d for b, d in zip(BASE_DEPTHS, config["d"][1:], strict=True)]
    for depth, slots in zip(depths, slots_of(space), strict=True):
        active |= set(range(offset, offset + depth))
        offset += slots
    slot = data.draw(st.integers(0, offset - 1))
    ratios = RATIOS if space is RESNET else (3, 4, 6)
    other = data.draw(st.sampled_from([e for e in ratios if e != config["e"][slot]]))
    changed = {**config, "e": [*config["e"][:slot], other, *config["e"][slot + 1 :]]}
    assert (space.parse(json.dumps(changed)).spec == spec) == (slot not in active)


def test_different_ratios_are_different_networks():
    """Otherwise rounding to multiples of 8 would give equal networks different specs."""
    for base in STAGE_CHANNELS:
        for width in WIDTHS:
            out = divisible(base * width)
            assert len({divisible(round(out * ratio)) for ratio in RATIOS}) == len(RATIOS)
    for space in (PN, MBV3, mobilenet_v3(1.0)):
        for channels in (space.first, *(stage.channels for stage in space.stages)):
            assert len({divisible(channels * ratio) for ratio in (3, 4, 6)}) == 3


def test_stem_depths_zero_and_one_are_the_same():
    settings = {"d": [1, 0, 0, 0, 0], "e": [0.2] * 18, "w": [0] * 6}
    assert RESNET.parse(json.dumps(settings)).spec.startswith("d0w0.65w0.65|w0.65:e0.2,e0.2|")


def test_forms_that_mean_the_same():
    five = "e4k5,e4k5|" * 4 + "e4k5,e4k5"
    assert MBV3.parse(f"  {five.replace(',', ' , ')}\n").spec == five
    pn = {"ks": [5] * 21, "e": [4] * 21, "d": [2] * 5}
    assert PN.parse(json.dumps(pn)) == PN.parse(json.dumps({**pn, "d": [2] * 5 + [4]}))
    assert MBV3.parse(json.dumps({"ks": [5] * 20, "e": [4] * 20, "d": [2.0] * 5, "wid": None, "r": [224]})).spec == five


GOOD = {"ks": [3] * 20, "e": [3] * 20, "d": [2] * 5}
NAMES = [["mbconv3_e4_k5"] * 2] * 5
RES = {"d": [0] * 5, "e": [0.2] * 18, "w": [0] * 6}
BAD = [
    (MBV3, "", "is no block, expected the like of 'e4k5'"),
    (MBV3, "hello", "'hello' is not a spec of ofa_mbv3 .*expected the like of 'e4k5'.*an example: e4k5,e4k5|"),
    (MBV3, "e4k5,e4k5", "the list of stages has 1 entries, allowed are 5"),
    (MBV3, "e4k5|" * 4 + "e4k5", "the depth of stage 1 is 1, allowed are 2, 3, 4"),
    (MBV3, "e5k5,e4k5|" + "e4k5,e4k5|" * 3 + "e4k5,e4k5", "an expansion ratio of stage 1 is 5, allowed are 3, 4, 6"),
    (MBV3, "e4k9,e4k5|" + "e4k5,e4k5|" * 3 + "e4k5,e4k5", "a kernel size of stage 1 is 9, allowed are 3, 5, 7"),
    (MBV3, "e4k5," * MAX_LENGTH, f"the text has {5 * MAX_LENGTH} characters, allowed are {MAX_LENGTH}"),
    (MBV3, "[" * 3000, "neither JSON nor a Python literal"),
    (MBV3, "[__import__('os').abort()]", "neither JSON nor a Python literal"),
    (MBV3, "[1, 2, 3]", r"a configuration \(resolution and stages\) has 3 entries, allowed are 2"),
    (MBV3, "[224, 7]", "the second entry is 7, expected a list"),
    (MBV3, "[224, [7]]", "a stage is 7, expected a list"),
    (MBV3, "[224, [[7]]]", "7 is no block, expected the like of 'mbconv3_e4_k5'"),
    (MBV3, str([224, [["mbconv2_e4_k5"] * 2] * 5]), "the kind of a block is 'mbconv2', allowed are mbconv3"),
    (PN, str([224, NAMES]), "the kind of a block is 'mbconv3', allowed are mbconv2"),
    (MBV3, str([224, NAMES[1:]]), "the list of stages has 4 entries, allowed are 5"),
    (MBV3, json.dumps({"ks": [3]}), "its keys are .'ks'., expected ks, e, d"),
    (MBV3, json.dumps({**GOOD, "x": 1}), "its keys are .*'x'., expected ks, e, d"),
    (MBV3, json.dumps({**GOOD, "ks": [3] * 21}), "'ks' has 21 entries, allowed are 20"),
    (MBV3, json.dumps({**GOOD, "e": 6}), "'e' is 6, expected a list"),
    (MBV3, json.dumps({**GOOD, "d": [2] * 6}), "'d' has 6 entries, allowed are 5"),
    (MBV3, json.dumps({**GOOD, "d": [5] * 5}), "the depth of stage 1 is 5, allowed are 2, 3, 4"),
    (MBV3, json.dumps({**GOOD, "ks": [None] * 20}), "a kernel size of stage 1 is None, allowed are 3, 5, 7"),
    (PN, json.dumps(GOOD), "'ks' has 20 entries, allowed are 21"),
    (RESNET, "d0w0.8w1.0", "the list of stem and stages has 1 entries, allowed are 5"),
    (RESNET, "d0|a|b|c|d", "'d0' is not a stem, expected the like of 'd0w0.8w1.0'"),
    (RESNET, "d0w0.8w1.0|a|b|c|d", "'a' is not a stage"),
    (RESNET, "d0w0.8w1.0" + "|w1.0:x" * 4, "'x' is not a block, expected the like of 'e0.25'"),
    (RESNET, "d0w0.7w1.0" + "|w1.0:e0.2,e0.2" * 4, "a width of the stem is 0.7, allowed are 0.65, 0.8, 1.0"),
    (RESNET, "d3w0.8w1.0" + "|w1.0:e0.2,e0.2" * 4, "the stem's depth is 3, allowed are 0, 1, 2"),
    (RESNET, "d0w0.8w1.0" + "|w1.0:e0.2,e0.2" * 4, "the depth of stage 3 is 2, allowed are 4, 5, 6"),
    (RESNET, "d0w0.8w1.0" + "|w2.0:e0.2,e0.2" * 4, "the width of stage 1 is 2.0, allowed are"),
    (RESNET, "d0w1..w1.0" + "|w1.0:e0.2,e0.2" * 4, "a width of the stem is '1..', allowed are"),
    (RESNET, "[224, [1]]", r"the settings are \[1\], expected the keys d, e, w"),
    (RESNET, json.dumps({**RES, "w": [3] * 6}), "an entry of 'w' is 3, allowed are 0, 1, 2"),
    (RESNET, json.dumps({**RES, "d": [0, 3, 0, 0, 0]}), "an entry of 'd' is 3, allowed are 0, 1, 2"),
    (RESNET, json.dumps({**RES, "e": [0.3] * 18}), "an expansion ratio of stage 1 is 0.3, allowed are 0.2, 0.25, 0.35"),
]


@pytest.mark.parametrize(("space", "text", "message"), BAD, ids=range(len(BAD)))
def test_malformed_specs(space, text, message):
    with pytest.raises(SpecError, match=message) as caught:
        space.parse(text)
    assert "\n" not in str(caught.value)
    assert space.title in str(caught.value)


@given(text=st.text(max_size=200) | st.from_regex(r"[\[{(][\[\]{}(),:\"0-9a-z'. ]{0,60}"))
def test_no_text_does_worse_than_a_spec_error(text):
    for space in SPACES:
        with suppress(SpecError):
            assert space.parse(space.parse(text).spec)
