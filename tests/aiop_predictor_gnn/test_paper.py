"""Weights of the research code under our names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import Aiop

import aiop_predictor_gnn.plugin
from aiop_core.contracts import Labelled, silent
from aiop_core.errors import WeightsError
from aiop_core.graph.model import GraphSet
from aiop_core.pipeline.saved import load_predictor
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_predictor_gnn.adapters import HOPS, AdaptedRegressor, Adapter
from aiop_predictor_gnn.batching import Layers
from aiop_predictor_gnn.encoder import LAYERS, GraphRegressor
from aiop_predictor_gnn.nodes import VOCABULARIES, NodeTable
from aiop_predictor_gnn.options import TuneOptions
from aiop_predictor_gnn.paper import BASE_MODULES, from_paper, networks_of, read_paper


@pytest.fixture
def sources() -> list[PluginSource]:
    return [PluginSource("gnn", "aiop-predictor-gnn", "0.1", lambda: aiop_predictor_gnn.plugin)]


def test_names_are_ours_and_unused_layers_are_left_out() -> None:
    one = torch.ones(1)
    found = from_paper(
        {
            "embed_layer.kernel_embed_layer.weight": one,
            "encoder.gnn_layers.3.lin_rel.bias": one,
            "encoder.gnn_layers.4.lin_r.weight": one,
            "encoder.init_ff.weight": one,
            "aggregator.gnn_aggr_layer.init_ff.bias": one,
            "post_proj.4.bias": one,
        }
    )
    assert list(found) == [
        "embedding.kernel.weight",
        "encoder.layers.3.lin_rel.bias",
        "encoder.layers.4.lin_root.weight",
        "projection.4.bias",
    ]


def test_a_strange_name_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"tensor 'body.weight' is not one of the research code's CGRegressor"):
        from_paper({"body.weight": torch.ones(1)})


def paper_state(adapters: int) -> dict[str, torch.Tensor]:
    """Random weights under the research code's names, those of before torch_geometric 2.0."""
    generator = torch.Generator().manual_seed(0)
    network = GraphRegressor.initialised(VOCABULARIES["paper"], generator)
    state = {}
    for name, value in network.state_dict().items():
        theirs = next(their for their, our in BASE_MODULES.items() if name.startswith(our + "."))
        rest = name.removeprefix(BASE_MODULES[theirs]).replace("lin_rel", "lin_l").replace("lin_root", "lin_r")
        state[theirs + rest] = value
    state["encoder.init_ff.weight"] = torch.zeros(32, 64)
    if not adapters:
        return state
    state = {re.sub("^embed_layer", "embed_l", name): value for name, value in state.items()}
    state = {f"base_{name}": value for name, value in state.items()}
    for k in range(adapters):
        adapter = Adapter.initialised(generator)
        for name, value in adapter.layers.state_dict().items():
            state[f"adapter_bodies.{k}.gnn_layers.{name}"] = value
        for name, value in adapter.projection.state_dict().items():
            state[f"adapter_heads.{k}.{name}"] = value
        state |= {f"adapter_heads.{k}.6.{name}": value for name, value in adapter.output.state_dict().items()}
        state[f"adapter_bodies.{k}.base_encoder.init_ff.weight"] = torch.zeros(32, 64)
    return state


def write(path: Path, state: object, **other: object) -> Path:
    """As ``BookKeeper`` does."""
    torch.save({"iteration": 40, "model": state, "best_eval_result": np.float64(0.1), **other}, path)
    return path


@pytest.mark.parametrize("adapters", [0, 1, 2])
def test_a_checkpoint_becomes_a_saved_predictor(aiop: Aiop, tmp_path: Path, graphs: GraphSet, adapters: int) -> None:
    state = paper_state(adapters)
    file = write(tmp_path / "gpi_acc_predictor_x_seed1_best.pt", state)
    done = aiop("gnn", "import", file, "-o", tmp_path / "out", "--json")
    assert json.loads(done.out)["adapters"] == [f"k{i}" for i in range(adapters)]
    registry = PluginRegistry()
    predictor, card = load_predictor(tmp_path / "out", registry)
    assert (card.metric.unit, card.labels, [a["name"] for a in card.adapters]) == ("score", 0, [*predictor.adapters])
    network, members = networks_of(state, "here")
    model = AdaptedRegressor(network, members) if members else network
    nodes = NodeTable.of(graphs, VOCABULARIES["paper"], "fixed")
    with torch.no_grad():
        expected = model(Layers.of(graphs, nodes, HOPS if members else LAYERS).batch()).numpy()
    np.testing.assert_allclose(predictor.predict(graphs), expected, atol=1e-6)
    labels = np.linspace(0.6, 0.7, 20)
    predictor.tune(Labelled(graphs[:20], labels), TuneOptions(), seed=0, device="cpu", progress=silent)
    assert predictor.scaling.kind == "standardise_flops"
    again = aiop("gnn", "import", file, "-o", tmp_path / "out")
    assert (again.code, "overwrite it with --force" in again.err) == (1, True)
    forced = aiop("gnn", "import", file, "-o", tmp_path / "out", "--force")
    assert "aiop evaluate --predictor" in forced.out


def test_adapters_are_named(aiop: Aiop, tmp_path: Path) -> None:
    file = write(tmp_path / "x_k2.pt", paper_state(2))
    done = aiop("gnn", "import", file, "-o", tmp_path / "out", "--adapters", "lsp, od")
    assert "adapters lsp, od" in done.out
    for names in ("lsp", "lsp,lsp", "average,od"):
        refused = aiop("gnn", "import", file, "-o", tmp_path / "other", "--adapters", names)
        assert refused.code == 1
        assert "has 2 adapters, the names given are" in refused.err


def test_a_rescaling_is_multiplied_into_the_heads() -> None:
    state = paper_state(2)
    alpha, b = torch.tensor([0.5, 2.0]), torch.linspace(-1, 1, 66).view(2, 33)
    _, plain = networks_of(state, "here")
    _, rescaled = networks_of(state | {"alpha": alpha, "b": b, "I": torch.ones(1, 33)}, "here")
    for k in range(2):
        factor = alpha[k] + b[k]
        torch.testing.assert_close(rescaled[k].output.weight[0], plain[k].output.weight[0] * factor[:32])
        torch.testing.assert_close(rescaled[k].output.bias[0], plain[k].output.bias[0] * factor[32])
    with pytest.raises(WeightsError, match="here: its rescaling is not one for each of 2 heads"):
        networks_of(state | {"alpha": alpha[:1], "b": b}, "here")
    for bad in (b[:, :32], torch.tensor(1.0), b[0]):
        with pytest.raises(WeightsError, match=r"2 heads: .* and b of shape \(2, 33\) are needed"):
            networks_of(state | {"alpha": alpha, "b": bad}, "here")


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pt is no checkpoint .* that can be read safely"):
        read_paper(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no")
    with pytest.raises(WeightsError, match=r"text\.pt is no checkpoint"):
        read_paper(tmp_path / "text.pt")
    with pytest.raises(WeightsError, match=r"evil\.pt is no checkpoint"):
        read_paper(write(tmp_path / "evil.pt", paper_state(0), more=Path("/")))
    with pytest.raises(WeightsError, match=r"empty\.pt holds no weights; give a \.pt file"):
        read_paper(write(tmp_path / "empty.pt", {}))
    short = paper_state(0)
    del short["regressor.bias"]
    with pytest.raises(WeightsError, match=r"short\.pt: tensor 'output\.bias' has shape none, the network needs"):
        read_paper(write(tmp_path / "short.pt", short))
    with pytest.raises(WeightsError, match=r"odd\.pt: tensor 'body\.weight' is not one of the research code's"):
        read_paper(write(tmp_path / "odd.pt", paper_state(0) | {"body.weight": torch.ones(1)}))
    strange = paper_state(1) | {"adapter_heads.0.9.weight": torch.ones(1)}
    with pytest.raises(WeightsError, match=r"'adapter_heads\.0\.9\.weight' is not one of .*CGRegressorAdapter"):
        networks_of(strange, "here")


@pytest.mark.data
def test_the_research_codes_own_file_is_read(reference: Path) -> None:
    network, adapters = read_paper(reference / "predictor" / "cgregressor_state.pt")
    expected = np.load(reference / "predictor" / "cgregressor_state.npz")["regressor.weight"]
    np.testing.assert_array_equal(network.output.weight.detach().numpy(), expected)
    assert adapters == []
