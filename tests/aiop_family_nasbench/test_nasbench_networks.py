"""What the modules compute."""

import pytest
import torch
from torch.nn import functional


@pytest.fixture
def image():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def cell_of(network):
    """The network's first cell, in evaluation mode."""
    return network.eval().body.blocks[1]


@torch.no_grad()
def test_a_cell_of_nb201_sums_its_edges(family):
    cell = cell_of(family("nb201").network(family("nb201").parse("3_p0_s1s")))
    x = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    three, pool, one = (step for step in cell.steps if len(step))
    inside = functional.avg_pool2d(torch.ones_like(x), 3, 1, 1)
    pooled = functional.avg_pool2d(x, 3, 1, 1) / inside  # what lies outside is not counted
    torch.testing.assert_close(pool(x), pooled)
    torch.testing.assert_close(cell(x), x + one(three(x)) + pooled)


@torch.no_grad()
def test_operations_behind_zeros_are_computed(family):
    """A convolution of zeros is the shift of its batch norm."""
    cell = cell_of(family("nb201").network(family("nb201").parse("0_00_s30")))
    cell.steps[2][2].bias.fill_(0.25)
    x = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(cell(x), x + 0.25)


@torch.no_grad()
def test_a_reduced_identity_sees_every_pixel(family):
    """Its second half sees the map moved by one to the upper left."""
    micro = family("tnb101_micro")
    relu, straight, shifted, norm = cell_of(micro.network(micro.parse("1_01_001"))).steps[:4]
    x = torch.arange(64.0).view(1, 1, 8, 8).expand(1, 64, 8, 8)
    for conv in (straight[0], shifted[1]):
        conv.weight.fill_(1 / 64)
    joined = torch.cat([straight(relu(x)), shifted(relu(x))], 1)
    torch.testing.assert_close(joined[0, 0], x[0, 0, ::2, ::2])
    torch.testing.assert_close(joined[0, -1], x[0, 0, 1::2, 1::2])
    assert norm[0].num_features == joined.shape[1] == 128


@torch.no_grad()
def test_zeros_of_another_shape(family):
    micro = family("tnb101_micro")
    cell = cell_of(micro.network(micro.parse("0_00_000")))
    zeros = cell(torch.ones(1, 64, 9, 7))
    assert zeros.shape == (1, 128, 5, 4)
    assert not zeros.any()


@torch.no_grad()
def test_nb101_shares_channels_and_takes_the_first(family):
    """Of three joined vertices the first two take the rest; a vertex that they read has as many as they."""
    nb101 = family("nb101")
    cell = cell_of(nb101.network(nb101.parse("p:0_3:1_3:1_1:1_o:234")))
    widths = [step[0].out_channels for step in cell.steps if len(step) and hasattr(step[0], "out_channels")]
    assert widths == [43, 43, 43, 42]  # the projection of the input, then the joined ones
    assert cell(torch.zeros(1, 128, 4, 4)).shape == (1, 128, 4, 4)


@torch.no_grad()
def test_a_puzzle_runs_the_body_on_each_tile(family, image):
    puzzle = family("tnb101_micro", task="jigsaw")
    network = puzzle.network(puzzle.parse("2_01_001")).eval()
    image = functional.interpolate(image, (96, 96))
    tiles = [image[:, :, i : i + 32, j : j + 32] for i in (0, 32, 64) for j in (0, 32, 64)]
    features = torch.cat([network.body(tile)[-1].mean((2, 3)) for tile in tiles], 1)
    torch.testing.assert_close(network(image), network.head.steps[0][-1](features))


@torch.no_grad()
@pytest.mark.parametrize(("task", "channels"), [("segmentsemantic", 17), ("normal", 3), ("autoencoder", 3)])
@pytest.mark.parametrize(
    ("name", "spec"), [("tnb101_micro", "2_01_001"), *(("tnb101_macro", s) for s in ("1114", "333312"))]
)
def test_decoders_give_maps_as_large_as_the_image(family, name, spec, task, channels):
    made = family(name, task=task)
    output = made.network(made.parse(spec)).eval()(torch.zeros(1, 3, 64, 64))
    assert output.shape == (1, channels, 64, 64)
    assert task == "segmentsemantic" or output.abs().max() <= 1


LEVELS = {
    "nb101": ("3:0_o:1", [(128, 1), (256, 2), (512, 4)]),
    "nb201": ("3_33_333", [(16, 1), (32, 2), (64, 4)]),
    "tnb101_micro": ("3_33_333", [(64, 4), (128, 8), (256, 16), (512, 32)]),
    "tnb101_macro": ("1324", [(64, 4), (128, 8), (256, 16)]),
}


@pytest.mark.parametrize("name", LEVELS)
def test_levels_are_the_last_of_each_resolution(family, name):
    spec, levels = LEVELS[name]
    body = family(name).backbone(family(name).parse(spec))
    assert [(level.channels, level.stride) for level in body.levels] == levels


def test_weights_follow_from_the_seed_and_leave_it_alone(family):
    nb201 = family("nb201")
    architecture = nb201.parse("3_s1_30p")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = nb201.network(architecture)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    again = nb201.network(architecture)
    torch.manual_seed(2)
    other = nb201.network(architecture)
    weights = [next(iter(network.parameters())) for network in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_every_live_parameter_learns(family, image):
    nb201 = family("nb201")
    network = nb201.network(nb201.parse("3_s1_3sp"))
    network(image).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
