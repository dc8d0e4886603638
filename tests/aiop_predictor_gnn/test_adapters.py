"""Adapters and rescaling give what the research code's do, and equal plain message passing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from aiop_core.graph.model import GraphSet
from aiop_predictor_gnn.adapters import HOPS, AdaptedRegressor, Adapter
from aiop_predictor_gnn.batching import Batch, Layers
from aiop_predictor_gnn.encoder import LAYERS, GraphRegressor
from aiop_predictor_gnn.nodes import VOCABULARIES, NodeTable
from aiop_predictor_gnn.paper import networks_of
from aiop_predictor_gnn.rescaling import Rescaling, rescale


def paper_networks(reference: Path, name: str) -> tuple[GraphRegressor, list[Adapter]]:
    path = reference / "predictor" / f"cgregressor_{name}state.npz"
    return networks_of({name: torch.as_tensor(value) for name, value in np.load(path).items()}, str(path))


def layers_of(graphs: GraphSet) -> Layers:
    return Layers.of(graphs, NodeTable.of(graphs, VOCABULARIES["paper"], "fixed"), HOPS)


def base_layers(graphs: GraphSet) -> Layers:
    return Layers.of(graphs, NodeTable.of(graphs, VOCABULARIES["paper"], "fixed"), LAYERS)


@pytest.fixture(scope="session")
def expected(reference: Path) -> dict[str, np.ndarray]:
    return dict(np.load(reference / "predictor" / "numeric_ref.npz").items())


@pytest.fixture(scope="session")
def paper_batch(research_graphs: GraphSet) -> Batch:
    return layers_of(research_graphs).batch()


@pytest.mark.data
@pytest.mark.parametrize(
    ("state", "chosen", "key"),
    [
        ("adapter_K1_", (0,), "adapter_K1_pred_setk(0)"),
        ("adapter_K1_", (0,), "adapter_K1_pred_setk(-1)"),  # with one adapter, -1 is adapter 0
        ("adapter_K2_", (0,), "adapter_K2_pred_setk(0)"),
        ("adapter_K2_", (1,), "adapter_K2_pred_setk(1)"),
        ("adapter_K2_", (0, 1), "adapter_K2_pred_setk(-1)"),
        ("adapter_K1_strong_", (0,), "strong_adapter_K1_pred"),
        ("adapter_K2_strong_", (0,), "strong_adapter_K2_pred_setk(0)"),
        ("adapter_K2_strong_", (1,), "strong_adapter_K2_pred_setk(1)"),
        ("adapter_K2_strong_", (0, 1), "strong_adapter_K2_pred_setk(-1)"),
    ],
)
def test_outputs_are_those_of_the_research_code(
    state: str,
    chosen: tuple[int, ...],
    key: str,
    reference: Path,
    paper_batch: Batch,
    expected: dict[str, np.ndarray],
) -> None:
    network, adapters = paper_networks(reference, state)
    with torch.no_grad():
        found = AdaptedRegressor(network, [adapters[k] for k in chosen])(paper_batch).numpy()
    np.testing.assert_allclose(found, expected[key], atol=1e-5)


@pytest.mark.data
def test_rescaled_outputs_are_those_of_the_research_code(
    reference: Path, research_graphs: GraphSet, expected: dict[str, np.ndarray]
) -> None:
    network, _ = paper_networks(reference, "")
    alpha, b = (torch.as_tensor(expected[f"rescale_{name}"]) for name in ("alpha", "b"))
    batch = base_layers(research_graphs).batch()
    rescaling = Rescaling([network.output])
    with torch.no_grad():
        rescaling.alpha.copy_(alpha)
        rescaling.b.copy_(b)
        found = rescaling(network.projection(network.embed(batch))[None])
        np.testing.assert_allclose(found.numpy(), expected["rescale_pred"], atol=1e-5)
        rescale(network.output, alpha[0], b[0])
        np.testing.assert_allclose(network(batch).numpy(), expected["rescale_pred"], atol=1e-5)


@pytest.mark.data
def test_ten_steps_of_an_adapter_lose_what_they_lose_in_the_research_code(
    reference: Path, research_graphs: GraphSet, expected: dict[str, np.ndarray]
) -> None:
    """One graph a step with the backbone frozen; Adam at 1e-4, gradients clipped to 5."""
    network, adapters = paper_networks(reference, "adapter_K1_")
    adapted = AdaptedRegressor(network.requires_grad_(False), adapters)
    labels = torch.tensor(json.loads((reference / "predictor" / "numeric_info.json").read_text())["labels"])
    free = [p for p in adapted.parameters() if p.requires_grad]
    assert sum(p.numel() for p in free) == 30049
    layers = layers_of(research_graphs)
    optimizer = torch.optim.Adam(free, lr=1e-4)
    losses, norms = [], []
    for i in range(len(layers)):
        loss = (adapted(layers.take(np.array([i])).batch()) - labels[i]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(free, 5.0)))
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(losses, expected["adapter_train10_loss"], atol=1e-5)
    np.testing.assert_allclose(norms, expected["adapter_train10_gradnorm_before_clip"], atol=1e-4)
    with torch.no_grad():
        after = adapted(layers.batch()).numpy()
    np.testing.assert_allclose(after, expected["adapter_train10_pred_after"], atol=1e-5)
