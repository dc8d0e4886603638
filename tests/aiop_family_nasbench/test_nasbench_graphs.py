"""Composed graphs against traced ones, and what isomorphism does to them."""

import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from aiop_core.graph.cost import cost
from aiop_core.graph.ops import Op
from aiop_core.graph.trace import trace
from aiop_core.plugins import PluginRegistry

CELLS = {
    "nb101": ["o:0", "3:0_o:01", "3:0_3:0_3:0_o:123", "3:0_1:01_p:12_o:0123", "1:0_3:01_p:2_3:23_o:04"],
    "nb201": ["0_00_000", "s_ss_sss", "3_00_0s0", "0_s0_013", "0_03_100", "p_1s_000", "s_s0_033", "3_p1_s3p"],
    "tnb101_micro": ["0_00_000", "1_11_111", "0_01_012", "3_10_001", "2_03_310"],
    "tnb101_macro": ["41414", "1234", "444311", "331121"],
}
TASKS = "class_scene room_layout jigsaw segmentsemantic normal autoencoder".split()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("odd", [False, True])
def test_composed_equals_traced(family, on_meta, name, odd):
    made = family(name)
    hw = (61, 82) if odd else made.input_hw
    for architecture in [*map(made.parse, CELLS[name]), *made.sample(3, seed=2)]:
        composed = made.graph(architecture, hw)
        assert composed.fingerprint == trace(on_meta(made, architecture), (3, *hw)).fingerprint, architecture.spec


@pytest.mark.parametrize("task", TASKS)
def test_every_head_is_composed_as_traced(family, on_meta, task):
    for name, spec in (("tnb101_micro", "3_12_031"), ("tnb101_macro", "1234"), ("tnb101_macro", "333312")):
        made = family(name, task=task)
        architecture = made.parse(spec)
        for hw in (made.input_hw, (200, 247)):
            traced = trace(on_meta(made, architecture), (3, *hw))
            assert made.graph(architecture, hw).fingerprint == traced.fingerprint


@pytest.mark.parametrize("name", CELLS)
def test_macs_agree_with_an_independent_counter(family, on_meta, name):
    """Half of what torch's counter calls FLOPs."""
    made = family(name)
    for architecture in map(made.parse, CELLS[name][1:]):
        with FlopCounterMode(display=False) as counter:
            on_meta(made, architecture)(torch.empty(1, 3, *made.input_hw, device="meta"))
        assert 2 * cost(made.graph(architecture, made.input_hw)).macs == counter.get_total_flops()


def test_a_node_without_edges_is_zeros(family):
    nb201 = family("nb201")
    ops = list(nb201.graph(nb201.parse("0_00_000"), (32, 32)).op)
    assert ops.count(Op.Zero) == 15  # one in each cell
    assert Op.Zero not in nb201.graph(nb201.parse("0_s0_003"), (32, 32)).op  # node 1 is not read
    assert Op.Zero in nb201.graph(nb201.parse("0_s3_013"), (32, 32)).op


def test_none_adds_nothing(family):
    nb201 = family("nb201")
    ops = list(nb201.graph(nb201.parse("3_00_0s0"), (32, 32)).op)
    assert ops.count(Op.Add) == 2  # those of the residual blocks
    assert ops.count(Op.Conv) == 1 + 15 + 2 * 3


def test_what_the_output_does_not_depend_on_is_held_but_not_in_the_graph(family, on_meta):
    nb201 = family("nb201")
    dead, bare = nb201.parse("3_30_00s"), nb201.parse("0_30_00s")
    assert nb201.graph(dead, (32, 32)).fingerprint == nb201.graph(bare, (32, 32)).fingerprint
    convolutions = 5 * sum(9 * c * c + 2 * c for c in (16, 32, 64))
    assert nb201.params(dead) - nb201.params(bare) == convolutions
    assert sum(p.numel() for p in on_meta(nb201, dead).parameters()) == nb201.params(dead)


def test_a_puzzle_counts_its_encoder_once(family):
    micro, puzzle = family("tnb101_micro"), family("tnb101_micro", task="jigsaw")
    cell = micro.parse("3_33_333")
    one, nine = micro.graph(cell, (64, 64)), puzzle.graph(cell, (192, 192))
    head = 512 * 100
    assert cost(nine).macs - 9 * 512 * 1000 == 9 * (cost(one).macs - head)
    assert cost(nine).params - 9 * 512 * 1000 - 1000 == cost(one).params - head - 100


@settings(max_examples=40, deadline=None)
@given(letters=st.text("0s13p", min_size=5, max_size=5))
def test_isomorphic_cells_give_one_graph(letters):
    """Nodes 1 and 2 change places where no edge joins them."""
    nb201 = PluginRegistry().create("family", "nb201")
    a, b, c, d, e = letters
    one, other = nb201.parse(f"{a}_{b}0_{c}{d}{e}"), nb201.parse(f"{b}_{a}0_{c}{e}{d}")
    assert nb201.graph(one, (32, 32)).fingerprint == nb201.graph(other, (32, 32)).fingerprint


@pytest.mark.parametrize("name", ["nb101", "nb201", "tnb101_micro"])
def test_composing_is_fast(family, name):
    made = family(name)
    architectures = made.sample(60, seed=0)
    start = time.perf_counter()
    for architecture in architectures:
        made.graph(architecture, made.input_hw)
    assert len(architectures) / (time.perf_counter() - start) > 100
