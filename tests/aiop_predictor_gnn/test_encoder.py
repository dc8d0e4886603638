"""The network is the paper's, and equals torch_geometric's layers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GraphConv as GeometricGraphConv

from aiop_core.graph.model import GraphSet
from aiop_predictor_gnn.batching import Layers
from aiop_predictor_gnn.checkpoint import load_state
from aiop_predictor_gnn.encoder import LAYERS, GraphConv, GraphRegressor
from aiop_predictor_gnn.geometric import GeometricRegressor, geometric_data
from aiop_predictor_gnn.nodes import VOCABULARIES, NodeTable
from aiop_predictor_gnn.paper import from_paper


def paper_network(path: Path) -> GraphRegressor:
    network = GraphRegressor(VOCABULARIES["paper"])
    state = {name: torch.as_tensor(value) for name, value in np.load(path).items()}
    load_state(network, from_paper(state), str(path))
    return network


@pytest.mark.data
@pytest.mark.parametrize(("state", "key"), [("state", "cgregressor_pred"), ("strong_state", "strong_cgregressor_pred")])
def test_outputs_are_those_of_the_research_code(
    state: str, key: str, reference: Path, research_graphs: GraphSet
) -> None:
    network = paper_network(reference / "predictor" / f"cgregressor_{state}.npz")
    nodes = NodeTable.of(research_graphs, VOCABULARIES["paper"], "fixed")
    with torch.no_grad():
        found = network(Layers.of(research_graphs, nodes, LAYERS).batch()).numpy()
    expected = np.load(reference / "predictor" / "numeric_ref.npz")[key]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.data
def test_graph_embeddings_are_those_of_the_research_code(reference: Path, research_graphs: GraphSet) -> None:
    network = paper_network(reference / "predictor" / "cgregressor_state.npz")
    nodes = NodeTable.of(research_graphs, VOCABULARIES["paper"], "fixed")
    with torch.no_grad():
        found = network.embed(Layers.of(research_graphs, nodes, LAYERS).batch()).numpy()
    expected = np.load(reference / "predictor" / "numeric_ref.npz")["cgregressor_graph_embedding"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.data
def test_parameters_are_those_of_the_research_code_but_for_the_ones_it_never_uses(reference: Path) -> None:
    info = json.loads((reference / "predictor" / "numeric_info.json").read_text())
    unused = ("encoder.init_ff.", "aggregator.")
    used = {name: shape for name, shape in info["state_shapes"].items() if not name.startswith(unused)}
    network = GraphRegressor(VOCABULARIES["paper"])
    assert sorted(tuple(s) for s in used.values()) == sorted(tuple(p.shape) for p in network.parameters())
    dropped = sum(int(np.prod(s)) for n, s in info["state_shapes"].items() if n.startswith(unused))
    assert sum(p.numel() for p in network.parameters()) + dropped == info["n_params"] == 24287


@pytest.mark.data
def test_ten_training_steps_lose_what_they_lose_in_the_research_code(
    reference: Path, research_graphs: GraphSet
) -> None:
    """One graph a step, as its batches of equal size are; Adam at 1e-4, gradients clipped to 5."""
    network = paper_network(reference / "predictor" / "cgregressor_state.npz")
    labels = torch.tensor(json.loads((reference / "predictor" / "numeric_info.json").read_text())["labels"])
    nodes = NodeTable.of(research_graphs, VOCABULARIES["paper"], "fixed")
    layers = Layers.of(research_graphs, nodes, LAYERS)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    losses, norms = [], []
    for i in range(len(layers)):
        loss = (network(layers.take(np.array([i])).batch()) - labels[i]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)))
        optimizer.step()
        losses.append(loss.item())
    expected = np.load(reference / "predictor" / "numeric_ref.npz")
    np.testing.assert_allclose(losses, expected["train10_loss"], atol=1e-5)
    np.testing.assert_allclose(norms, expected["train10_gradnorm_before_clip"], atol=1e-4)


def test_has_as_many_parameters_as_the_live_part_of_the_papers() -> None:
    assert sum(p.numel() for p in GraphRegressor(VOCABULARIES["paper"]).parameters()) == 24287 - 6240


def test_convolution_is_torch_geometrics(graphs: GraphSet) -> None:
    """One hop over every node, without sharing neighbourhoods."""
    nodes = NodeTable.of(graphs, VOCABULARIES["aiop"], "fixed")
    layers = Layers.of(graphs, nodes, hops=1)
    ours = GraphConv(32, 32)
    theirs = GeometricGraphConv(32, 32)
    theirs.load_state_dict(ours.state_dict())
    values = torch.randn(len(layers.nodes), 32, generator=torch.Generator().manual_seed(0))
    hop = layers.hops[0]
    target = np.repeat(np.arange(len(hop)), np.diff(hop.offsets) - 1)
    own = hop.indices[hop.offsets[:-1]]
    source = np.delete(hop.indices, hop.offsets[:-1])
    edges = torch.as_tensor(np.stack([source, target]))
    expected = theirs((values, values[own]), edges, size=(len(values), len(hop)))
    torch.testing.assert_close(ours(values, layers.batch().hops[0]), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("normalise", ["fixed", "own_maxima"])
def test_network_and_its_gradients_are_plain_torch_geometrics(graphs: GraphSet, normalise: str) -> None:
    torch.manual_seed(0)
    network = GraphRegressor(VOCABULARIES["aiop"])
    plain = GeometricRegressor(network)
    nodes = NodeTable.of(graphs, VOCABULARIES["aiop"], normalise)
    found = network(Layers.of(graphs, nodes, LAYERS).batch())
    found.square().sum().backward()
    gradients = [layer.lin_rel.weight.grad.clone() for layer in network.encoder.layers]
    (batch,) = DataLoader(geometric_data(graphs, nodes), batch_size=len(graphs))
    expected = plain(batch)
    expected.square().sum().backward()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    for gradient, layer in zip(gradients, plain.layers, strict=True):
        torch.testing.assert_close(gradient, layer.lin_rel.weight.grad, atol=1e-4, rtol=1e-4)
