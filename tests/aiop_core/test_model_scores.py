"""Scores beside the graphs of models that a saved predictor is asked about."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.aiop_core.saved_predictors import FAMILY, LATENCY, SPECS, labelled, odd_network, predicted, saved

from aiop_core.contracts import Labelled
from aiop_core.graph.files import save_graph
from aiop_core.pipeline.saved import PredictorCard, save_predictor
from aiop_core.pipeline.trust import learn_trust
from aiop_core.pipeline.view import Quiet
from aiop_core.plugins import PluginSource
from aiop_core.records.cache import GraphCache
from aiop_core.testing import reference
from aiop_core.testing.reference import ReferencePredictor


class Pixels:
    """Scores a module by its input and a factor."""

    def __init__(self, factor):
        self.factor = factor

    def profile(self, model, input_shape):
        return {"count": self.factor * input_shape[1] + sum(p.numel() for p in model.parameters())}


class ByScore(ReferencePredictor):
    """Says what the profiler said."""

    def predict(self, graphs):
        return graphs.scores["pixels/count"]


@pytest.fixture
def scored(sources, tmp_path):
    """A predictor that learnt from a profiler's scores."""

    class Plugin:
        @staticmethod
        @reference.hookimpl
        def aiop_register_profilers():
            return [reference.Registration("pixels", "", lambda _: Pixels(1000))]

        @staticmethod
        @reference.hookimpl
        def aiop_register_predictors():
            return [reference.Registration("by_score", "", lambda _: ByScore())]

    sources.append(PluginSource("more", "aiop-more", "0.1", lambda: Plugin))
    data = labelled()
    graphs = replace(data.graphs, scores={"pixels/count": np.arange(len(data), dtype=float)})
    saved(tmp_path / "p", LATENCY)
    card = PredictorCard(
        "by_score", {}, LATENCY, {"family": {"name": "reference"}}, 12, {"mae": (1, 1, 1)}, "", {},
        trust=learn_trust(lambda _: ByScore(), Labelled(graphs, data.labels), LATENCY, seed=0, view=Quiet()),
    )  # fmt: skip
    save_predictor(tmp_path / "p", ByScore(), card, {})
    return tmp_path / "p"


def test_scores_that_were_learnt_from_are_computed_again(aiop, scored):
    (row,) = predicted(aiop, scored, SPECS[0])["predictions"]
    network = FAMILY.network(FAMILY.parse(SPECS[0]))
    assert row["predicted"] == 64_000 + sum(p.numel() for p in network.parameters())
    explained = aiop("explain", SPECS[0], "--predictor", scored, "--json")
    assert {n["contribution"] for n in json.loads(explained.out)["explanation"]["nodes"]} == {0.0}


def test_a_model_without_a_module_has_no_scores(aiop, scored, tmp_path):
    save_graph(odd_network(), tmp_path / "odd.safetensors", name="odd")
    done = aiop("predict", "--predictor", scored, tmp_path / "odd.safetensors")
    assert (done.code, done.err.splitlines()[-1].count("Error: ")) == (1, 1)
    assert "gives a graph but no torch module" in done.err
    assert "profiler 'pixels', which needs one" in done.err


def test_scores_of_random_weights_follow_from_the_seed(aiop, scored, monkeypatch):
    def first_weight(self, model, input_shape):
        return {"count": float(next(model.parameters()).flatten()[0])}

    monkeypatch.setattr(Pixels, "profile", first_weight)
    one, again, other = (
        predicted(aiop, scored, SPECS[0], "--seed", seed)["predictions"][0]["predicted"] for seed in (1, 1, 2)
    )
    assert one == again != other


def test_scores_that_a_cache_stores_are_taken_from_it(aiop, scored, tmp_path):
    graphs = replace(labelled().graphs, scores={"pixels/count": 7.0 + np.arange(12)})
    cache = GraphCache.of(graphs, np.zeros(12), SPECS, ["reference"] * 12, LATENCY, {})
    cache.save(tmp_path / "c.safetensors")
    (row,) = predicted(aiop, scored, f"{tmp_path / 'c.safetensors'}#3")["predictions"]
    assert row["predicted"] == 10


def test_scores_of_no_profiler_are_unknown_and_said_once(aiop, scored, monkeypatch):
    path = scored / "predictor.json"
    path.write_text(path.read_text().replace("pixels/count", "zc_column"))
    given = []
    monkeypatch.setattr(ByScore, "predict", lambda self, graphs: given.append(graphs.scores) or np.ones(len(graphs)))
    done = aiop("predict", "--predictor", scored, *SPECS[:2])
    assert done.code == 0, done.err
    assert np.isnan(given[0]["zc_column"]).tolist() == [True, True]
    assert done.err.count("no installed profiler computes zc_column, which this predictor learnt from") == 1


def test_a_number_that_a_profiler_leaves_out_is_unknown(aiop, scored, monkeypatch):
    path = scored / "predictor.json"
    path.write_text(path.read_text().replace('"pixels/count"', '"pixels/count", "pixels/at_times"'))
    given = []
    monkeypatch.setattr(ByScore, "predict", lambda self, graphs: given.append(graphs.scores) or np.ones(len(graphs)))
    monkeypatch.setattr(Pixels, "profile", lambda *_: {"count": 2.0, "other": 1.0})
    done = aiop("predict", "--predictor", scored, *SPECS[:2])
    assert done.code == 0, done.err
    assert given[0]["pixels/count"].tolist() == [2, 2]
    assert np.isnan(given[0]["pixels/at_times"]).all()
    assert "no installed profiler" not in done.err


def test_a_profiler_that_lost_a_score_is_named(aiop, scored, monkeypatch):
    monkeypatch.setattr(Pixels, "profile", lambda self, model, input_shape: {"other": 1.0})
    done = aiop("predict", "--predictor", scored, SPECS[0])
    wanted = f"profiler 'pixels' gives no pixels/count for '{SPECS[0]}', which the predictor learnt from; install"
    assert wanted in done.err
