"""The gradient that is written out is autograd's, for everything that may be free."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aiop_core.graph.model import GraphSet
from aiop_predictor_gnn.adapters import HOPS, AdaptedRegressor, Adapter
from aiop_predictor_gnn.batching import Batch, Layers
from aiop_predictor_gnn.encoder import LAYERS, GraphRegressor
from aiop_predictor_gnn.gradients import Adam, FlatParameters
from aiop_predictor_gnn.nodes import VOCABULARIES, NodeTable
from aiop_predictor_gnn.paper import networks_of
from aiop_predictor_gnn.tuning import FREE, Step

EVERYTHING = FREE["all"] | {"embedding"}


def networks(adapters: int) -> tuple[GraphRegressor, list[Adapter], nn.Module]:
    generator = torch.Generator().manual_seed(0)
    network = GraphRegressor.initialised(VOCABULARIES["aiop"], generator)
    members = [Adapter.initialised(generator) for _ in range(adapters)]
    return network, members, AdaptedRegressor(network, members) if members else network


def batch_of(graphs: GraphSet, adapters: int) -> Batch:
    nodes = NodeTable.of(graphs, VOCABULARIES["aiop"], "fixed")
    return Layers.of(graphs, nodes, HOPS if adapters else LAYERS).batch()


@pytest.mark.parametrize(
    ("adapters", "free"),
    [
        *((adapters, free) for adapters in (1, 2) for free in FREE.values()),
        *((0, free) for free in (FREE["heads"], FREE["backbone"], EVERYTHING)),
    ],
)
@pytest.mark.parametrize("count", [1, 5])
def test_gradients_are_autograds(graphs: GraphSet, adapters: int, free: frozenset[str], count: int) -> None:
    network, members, model = networks(adapters)
    batch = batch_of(graphs[:count], adapters)
    targets = torch.linspace(-1, 1, count)
    step = Step(network, members, free)
    expected = (model(batch) - targets).square().mean()
    gradients = torch.autograd.grad(expected, step.parameters.parameters)
    with torch.inference_mode():
        example = step.example(batch, targets)
        for _ in range(2):  # a second time with what was kept
            found = step(example)
    torch.testing.assert_close(found, expected)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.testing.assert_close(step.parameters.gradients, flat, atol=1e-6, rtol=1e-4)
    assert flat.abs().max() > 1e-3


def owned(network: nn.Module) -> Iterator[bool]:
    for parameter in network.parameters():
        yield parameter.untyped_storage().nbytes() == parameter.numel() * parameter.element_size()


def test_parameters_are_parts_of_one_tensor_until_they_are_released() -> None:
    network, members, model = networks(1)
    step = Step(network, members, FREE["all"])
    before = network.encoder.layers[0].lin_rel.weight.clone()
    step.parameters.values.add_(1)
    torch.testing.assert_close(network.encoder.layers[0].lin_rel.weight, before + 1)
    assert not all(owned(model))
    step.parameters.release()
    assert all(owned(model))
    torch.testing.assert_close(network.encoder.layers[0].lin_rel.weight, before + 1)


@pytest.mark.data
@pytest.mark.parametrize(
    ("state", "key", "free"), [("", "train10", EVERYTHING), ("adapter_K1_", "adapter_train10", FREE["adapters"])]
)
def test_ten_steps_lose_what_they_lose_in_the_research_code(
    state: str, key: str, free: frozenset[str], reference: Path, research_graphs: GraphSet
) -> None:
    path = reference / "predictor" / f"cgregressor_{state}state.npz"
    network, members = networks_of({name: torch.as_tensor(value) for name, value in np.load(path).items()}, str(path))
    labels = torch.tensor(json.loads((reference / "predictor" / "numeric_info.json").read_text())["labels"])
    expected = np.load(reference / "predictor" / "numeric_ref.npz")
    nodes = NodeTable.of(research_graphs, VOCABULARIES["paper"], "fixed")
    layers = Layers.of(research_graphs, nodes, HOPS if members else LAYERS)
    step, losses, norms = Step(network, members, free), [], []
    with torch.inference_mode():
        optimizer = Adam(step.parameters, 1e-4, max_norm=5.0)
        for i in range(10):
            example = step.example(layers.take(np.array([i])).batch(), labels[i : i + 1])
            losses.append(step(example).item())
            norms.append(step.parameters.gradients.norm().item())
            optimizer.step()
        after = (AdaptedRegressor(network, members) if members else network)(layers.batch()).numpy()
    np.testing.assert_allclose(losses, expected[f"{key}_loss"], atol=1e-5)
    np.testing.assert_allclose(norms, expected[f"{key}_gradnorm_before_clip"], atol=1e-4)
    np.testing.assert_allclose(after, expected[f"{key}_pred_after"], atol=1e-5)


def test_adam_is_torchs() -> None:
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 1, 6).view(2, 3))
        layer.bias.zero_()
    parameters = FlatParameters([layer])
    theirs = parameters.values.clone().requires_grad_()
    ours, other = Adam(parameters, 0.1, max_norm=2.0), torch.optim.Adam([theirs], lr=0.1)
    for i in range(5):
        gradient = torch.linspace(-i, 3, 8)
        parameters.gradients.copy_(gradient)
        ours.step()
        theirs.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([theirs], 2.0)
        other.step()
        torch.testing.assert_close(parameters.values, theirs.detach())
