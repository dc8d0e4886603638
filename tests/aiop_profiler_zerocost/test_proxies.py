"""Each proxy is its published formula, on cases that can be computed by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from aiop_profiler_zerocost.fisher import fisher
from aiop_profiler_zerocost.images import noise
from aiop_profiler_zerocost.jacov import jacov
from aiop_profiler_zerocost.nwot import ReluCodes, agreements, nwot
from aiop_profiler_zerocost.options import ZeroCostOptions
from aiop_profiler_zerocost.outputs import differentiable, logits, random_label_loss
from aiop_profiler_zerocost.profiler import ZeroCost
from aiop_profiler_zerocost.synflow import synflow


def scores(model, shape, *proxies, batch=8, seed=0):
    return ZeroCost(ZeroCostOptions(proxies, batch, "white", seed)).profile(model, shape)


def linear(rows):
    weight = torch.tensor(rows)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    return layer


def test_synflow_of_two_linear_layers_counts_every_path_once_for_each_layer():
    first, second = linear([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]]), linear([[-0.5, 2.0]])
    # R = |second| · |first| · 1 = 0.5 · 6 + 2 · 15; each layer's Σ |w ∂R/∂w| is R
    assert synflow(nn.Sequential(first, second), (3,)) == pytest.approx(math.log(2 * 33.0))


def test_synflow_passes_through_norms_as_if_they_were_not_there():
    norm = nn.BatchNorm1d(2)
    norm.weight.data, norm.running_mean, norm.running_var = torch.tensor([3.0, -7.0]), torch.ones(2), torch.ones(2) * 9
    bare = [linear([[1.0, -2.0], [0.5, 4.0]]), linear([[1.0, 1.0]])]
    expected = synflow(nn.Sequential(*bare), (2,))
    for between in (norm, nn.BatchNorm1d(2, track_running_stats=False), nn.BatchNorm1d(2, affine=False)):
        layers = [linear([[1.0, -2.0], [0.5, 4.0]]), linear([[1.0, 1.0]])]
        assert synflow(nn.Sequential(layers[0], between, layers[1]), (2,)) == pytest.approx(expected, abs=1e-12)


def test_synflow_leaves_the_range_of_single_precision():
    deep = nn.Sequential(*(linear((torch.ones(64, 64) * 10).tolist()) for _ in range(20)))
    # R = 64 outputs · (640)^20
    expected = math.log(20) + math.log(64) + 20 * math.log(640)
    assert expected > math.log(torch.finfo(torch.float32).max)
    assert scores(deep, (64,), "synflow")["synflow"] == pytest.approx(expected)


def test_synflow_runs_what_makes_tensors_of_its_own():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = linear([[1.0, 1.0]])

        def forward(self, x):
            return self.layer(x).addmm(torch.ones(len(x), 2), torch.ones(2, 1))

    assert synflow(Rows(), (2,)) == pytest.approx(math.log(2))
    assert torch.get_default_dtype() == torch.float32


def test_nwot_of_known_codes():
    codes = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 0, 0]], dtype=torch.bool)
    # three units; images 0 and 1 agree in one, 0 and 2 in one, 1 and 2 in one
    kernel = agreements(codes)
    assert kernel.tolist() == [[3, 1, 1], [1, 3, 1], [1, 1, 3]]
    assert nwot(kernel) == pytest.approx(math.log(5 * 2 * 2))


def test_nwot_is_undefined_where_two_images_look_the_same():
    assert nwot(agreements(torch.tensor([[1, 0], [1, 0], [0, 1]], dtype=torch.bool))) is None


def _named(function):
    """Without its address, which would make another test of it in each process."""
    return getattr(function, "__name__", str(function))


@pytest.mark.parametrize(
    "relu",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.ReLU6(),
        nn.ReLU6(inplace=True),
        nn.LeakyReLU(),
        nn.LeakyReLU(inplace=True),
        nn.PReLU(),
        torch.relu,
        nn.functional.relu,
        nn.functional.relu6,
    ],
    ids=_named,
)
def test_every_way_to_write_a_relu_is_seen(relu):
    features = torch.tensor([[1.0, -1.0], [-2.0, 0.0]])
    with ReluCodes(batch=2) as codes:
        relu(features)
    assert codes.kernel.tolist() == [[2, 1], [1, 2]]


@pytest.mark.parametrize("function", [nn.GELU(), nn.Hardtanh(), torch.sigmoid], ids=_named)
def test_what_is_no_relu_is_not(function):
    with ReluCodes(batch=2) as codes:
        function(torch.randn(2, 4))
    assert codes.kernel is None


def test_layers_add_up_and_rows_that_are_no_images_are_left_out():
    with ReluCodes(batch=2) as codes:
        torch.relu(torch.tensor([[1.0], [-1.0]]))
        torch.relu(torch.ones(2, 3, 2))
        torch.relu(torch.ones(5, 4))
    assert codes.kernel.tolist() == [[7, 6], [6, 7]]


def test_jacov_against_numpy():
    jacobian = np.random.default_rng(0).normal(size=(6, 40))
    values, k = np.linalg.eigvalsh(np.corrcoef(jacobian)), 1e-5
    expected = -np.sum(np.log(values + k) + 1 / (values + k))
    assert jacov(torch.from_numpy(jacobian)) == pytest.approx(expected, rel=1e-9)


def test_jacov_of_a_linear_network_is_undefined_for_no_gradient_and_worst_for_equal_ones():
    assert jacov(torch.zeros(3, 5)) is None
    same = jacov(torch.arange(5.0).repeat(3, 1))
    assert same == pytest.approx(-(math.log(3 + 1e-5) + 1 / 3 + 2 * (math.log(1e-5) + 1e5)), rel=1e-6)


def test_fisher_of_known_activations():
    activation = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [1.0, 0.0]]])  # 2 images, 2 positions, 2 channels
    gradient = torch.ones(2, 2, 2)
    # per image and channel 4, 6 and 1, 1; squares 16, 36, 1, 1; half the mean over images
    assert fisher([activation], [gradient]) == 0.5 * (17 + 37) / 2
    assert fisher([activation] * 2, [gradient] * 2) == 17 + 37 - 27


def by_hand(model, shape, batch, seed=0):
    """Loss, weights and gradients of a network without norms, by autograd alone."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, *shape, generator=generator)
    output = model(images)
    labels = torch.randint(output.shape[1], (batch,), generator=generator)
    weights = [p for p in model.parameters() if p.ndim > 1]
    return weights, torch.autograd.grad(cross_entropy(output, labels), weights)


def test_scores_of_the_gradient_against_autograd():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    weights, gradients = by_hand(model, (3, 8, 8), batch=8)
    found = scores(model, (3, 8, 8), "grad_norm", "snip", "plain", "l2_norm")
    pairs = list(zip(weights, gradients, strict=True))
    assert found == {
        "grad_norm": pytest.approx(sum(float(g.norm()) for g in gradients)),
        "snip": pytest.approx(sum(float((w.detach() * g).abs().sum()) for w, g in pairs)),
        "plain": pytest.approx(sum(float((w.detach() * g).sum()) for w, g in pairs)),
        "l2_norm": pytest.approx(sum(float(w.detach().norm()) for w in weights)),
    }


@pytest.mark.parametrize("after", [nn.ReLU(inplace=True), nn.SiLU(inplace=True)], ids=_named)
def test_fisher_sees_activations_before_they_are_overwritten(after):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5)]
    found = scores(nn.Sequential(layers[0], after, *layers[1:]), (3, 8, 8), "fisher")["fisher"]
    after.inplace = False
    assert found == pytest.approx(scores(nn.Sequential(layers[0], after, *layers[1:]), (3, 8, 8), "fisher")["fisher"])
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 8, 8, generator=generator)
    maps = layers[0](images)
    output = layers[2](layers[1](after(maps)))
    loss = cross_entropy(output, torch.randint(5, (8,), generator=generator))
    slopes = torch.autograd.grad(loss, [maps, output])
    parts = [(maps * slopes[0]).sum(dim=(2, 3)), output * slopes[1]]
    assert found == pytest.approx(sum(float(0.5 * p.detach().square().mean(dim=0).sum()) for p in parts))


def test_the_jacobian_is_that_of_all_outputs():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 4))
    images = torch.randn(8, 3, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(model(images).sum(), images)
    assert scores(model, (3, 2, 2), "jacov")["jacov"] == pytest.approx(jacov(gradient.flatten(1)))


def test_batch_norms_use_the_batch():
    """As in the papers; with running statistics of 0 and 1 they would pass their input on."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5)
    by_batch, _ = scores(nn.Sequential(*layers), (3, 8, 8), "grad_norm"), layers[1].eval()
    assert scores(nn.Sequential(*layers), (3, 8, 8), "grad_norm") == by_batch
    assert scores(nn.Sequential(layers[0], *layers[2:]), (3, 8, 8), "grad_norm") != by_batch


def test_nothing_is_dropped():
    torch.manual_seed(0)
    layer = nn.Linear(12, 5)
    plain, dropping = nn.Sequential(nn.Flatten(), layer), nn.Sequential(nn.Flatten(), nn.Dropout(0.5), layer)
    assert scores(dropping, (3, 2, 2), "grad_norm", "jacov") == scores(plain, (3, 2, 2), "grad_norm", "jacov")


@pytest.mark.parametrize(("shape", "classes"), [((4,), 2), ((4, 1), 2), ((4, 7), 7), ((4, 9, 7), 7), ((4, 7, 3, 3), 7)])
def test_outputs_become_logits(shape, classes):
    assert logits(torch.ones(shape)).shape == (4, classes)


def test_maps_are_averaged_over_positions():
    assert logits(torch.arange(8.0).reshape(1, 2, 2, 2)).tolist() == [[1.5, 5.5]]
    assert logits(torch.arange(8.0).reshape(1, 4, 2)).tolist() == [[3.0, 4.0]]


def test_tensors_are_found_in_what_holds_them():
    a, b, c = (torch.ones(2, 2, requires_grad=True) for _ in range(3))
    assert [
        t is u
        for t, u in zip(differentiable({"a": [a, torch.ones(1)], "b": (b, {"c": c}, "text")}), (a, b, c), strict=True)
    ]
    assert list(differentiable((torch.ones(1), 3, None))) == []


def test_losses_of_several_outputs_add_up():
    a, b = torch.randn(4, 3, requires_grad=True), torch.randn(4, 6, requires_grad=True)
    both = random_label_loss([a, b], torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    labels = [torch.randint(n, (4,), generator=generator) for n in (3, 6)]
    assert both.item() == pytest.approx((cross_entropy(a, labels[0]) + cross_entropy(b, labels[1])).item())


def test_pink_noise_has_the_spectrum_and_the_colours_of_photographs():
    images = noise("pink", 200, (3, 64, 48), torch.Generator().manual_seed(0))
    assert images.shape == (200, 3, 64, 48)
    assert (images.mean().item(), images.std().item()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))
    power = torch.fft.fft2(images).abs().square().mean(dim=(0, 1))
    assert power[4, 0] / power[16, 0] == pytest.approx(16, rel=0.25)  # amplitude falls as 1 / frequency
    assert power[0, 3] / power[4, 0] == pytest.approx(1, rel=0.2)  # alike in both directions: 3 of 48 and 4 of 64
    correlation = torch.corrcoef(images.transpose(0, 1).flatten(1))
    assert correlation[~torch.eye(3, dtype=torch.bool)].tolist() == pytest.approx([0.9] * 6, abs=0.02)


def test_white_noise_and_what_is_no_image():
    for kind, shape in (("white", (3, 4, 4)), ("pink", (7,))):
        drawn = torch.randn(5, *shape, generator=torch.Generator().manual_seed(3))
        assert torch.equal(noise(kind, 5, shape, torch.Generator().manual_seed(3)), drawn)


def test_noise_is_a_choice():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    found = [
        ZeroCost(ZeroCostOptions(("nwot",), 8, kind)).profile(model, (3, 16, 16))["nwot"] for kind in ("pink", "white")
    ]
    assert found[0] != found[1]
