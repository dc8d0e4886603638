"""Saved predictors of the reference family, and networks for them."""

import json
from dataclasses import replace

import numpy as np

from aiop_core.contracts import Labelled, Metric
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.model import GraphSet
from aiop_core.graph.ops import Op
from aiop_core.pipeline.calibrate import fitting
from aiop_core.pipeline.saved import PredictorCard, save_predictor
from aiop_core.pipeline.trust import learn_trust
from aiop_core.pipeline.view import Quiet
from aiop_core.testing.reference import ReferenceFamily, ReferencePredictor

ACC, LATENCY = Metric("acc"), Metric("latency", "ms", higher_is_better=False)
FAMILY = ReferenceFamily()
SPECS = [architecture.spec for architecture in FAMILY.all()]


def labelled(unit=1.0, copies=1):
    graphs = GraphSet.of(FAMILY.graph(a, hw) for a in FAMILY.all() for hw in [(64, 64), (72, 72), (80, 80)][:copies])
    noise = np.random.default_rng(0).normal(0, 0.01, len(graphs))
    return Labelled(graphs, unit * (0.5 + 0.02 * np.log(graphs.columns["params"].sum() / graphs.sizes / 1e3) + noise))


def saved(folder, metric=ACC, data=None, **changes):
    """A reference predictor in a folder, learnt from all of the family."""
    data = labelled() if data is None else data
    predictor = ReferencePredictor()
    predictor.fit(data, seed=0, device="cpu", progress=lambda *_: None)
    fit = fitting(ReferencePredictor, seed=0, device="cpu")
    card = PredictorCard(
        predictor="reference",
        options={},
        metric=metric,
        graphs={"family": {"name": "reference"}, "input_hw": [64, 64]},
        labels=len(data),
        scores={"mae": (0.01, 0.0, 0.02)},
        evaluation="Judged.",
        provenance={},
        trust=learn_trust(fit, data, metric, seed=0, view=Quiet()),
    )
    save_predictor(folder, predictor, replace(card, **changes), {})
    return card


def predicted(aiop, folder, *args):
    done = aiop("predict", "--predictor", folder, *args, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def odd_network():
    builder = GraphBuilder()
    node = builder.conv(builder.input((64, 64)), 4, 3, stride=2)
    node = builder.add(Op.Softmax, [builder.add(Op.Erf, [node])])
    builder.output(builder.linear(builder.mean(node), 10))
    return builder.build()
