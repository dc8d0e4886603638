"""What ``aiop predict``, ``explain`` and ``graph draw`` say with a saved predictor, and how far it may be believed."""

import json
import math
import re

import numpy as np
import pytest
from tests.aiop_core.saved_predictors import ACC, FAMILY, LATENCY, SPECS, labelled, odd_network, predicted, saved

from aiop_core.errors import WeightsError
from aiop_core.graph.files import save_graph
from aiop_core.graph.model import GraphSet
from aiop_core.pipeline.calibrate import fitting
from aiop_core.pipeline.domain import Domain
from aiop_core.pipeline.saved import load_predictor
from aiop_core.pipeline.trust import Coverage, Trust, learn_trust
from aiop_core.pipeline.view import Quiet
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_core.testing import reference
from aiop_core.testing.reference import ReferencePredictor


def test_predictions_have_intervals(aiop, tmp_path):
    card = saved(tmp_path / "p")
    found = predicted(aiop, tmp_path / "p", *SPECS[:3])
    assert found["confidence"] == 0.9
    assert found["caveats"] == []
    half = card.trust.calibration.width(0.9)
    for row in found["predictions"]:
        assert row["high"] - row["predicted"] == pytest.approx(half, rel=1e-5)
        assert row["predicted"] - row["low"] == pytest.approx(half, rel=1e-5)
        assert row["outside"] == ""
    narrow = predicted(aiop, tmp_path / "p", *SPECS[:3], "--confidence", 0.5)["predictions"]
    assert all(a["high"] < b["high"] for a, b in zip(narrow, found["predictions"], strict=True))
    shown = aiop("predict", "--predictor", tmp_path / "p", SPECS[0])
    row = next(r for r in found["predictions"] if r["model"] == SPECS[0])
    value, low, high = (100 * row[key] for key in ("predicted", "low", "high"))
    assert f"{value:.2f} % [{low:.2f}, {high:.2f}]" in shown.out
    assert "acc [low, high] at 90 %" in shown.out
    assert "Expect an error of about 1.00 % (MAE). Judged." in shown.out


def test_too_much_confidence_for_the_labels_is_one_line(aiop, tmp_path):
    saved(tmp_path / "p")
    done = aiop("predict", "--predictor", tmp_path / "p", SPECS[0], "--confidence", 0.99)
    wanted = "--confidence 0.99 needs 99 held-out labels, and there are 12, which tell at most 0.923"
    assert f"Intervals are unbounded: {wanted}" in done.out
    assert "[0.00, 100.00]" in done.out
    saved(tmp_path / "ms", LATENCY)
    args = ("predict", "--predictor", tmp_path / "ms", SPECS[0], "--confidence", 0.99)
    assert "ms [-∞, ∞]" in aiop(*args).out
    (row,) = json.loads(aiop(*args, "--json").out)["predictions"]
    assert (row["low"], row["high"]) == (None, None)
    wrong = aiop(*args[:-1], 90)
    assert (wrong.code, wrong.err.count("\n")) == (1, 1)
    assert "confidence is 90; it must lie between 0 and 1" in wrong.err


def test_a_model_unlike_the_training_graphs_is_marked(aiop, tmp_path):
    saved(tmp_path / "p")
    save_graph(odd_network(), tmp_path / "odd.safetensors", name="odd")
    done = aiop("predict", "--predictor", tmp_path / "p", SPECS[0], tmp_path / "odd.safetensors")
    text = " ".join(done.out.replace("│", " ").split())
    assert "1 of 2 models are unlike the training graphs: their intervals may not hold." in text
    rows = {
        r["model"]: r for r in predicted(aiop, tmp_path / "p", SPECS[0], tmp_path / "odd.safetensors")["predictions"]
    }
    assert rows["odd"]["outside"].startswith("operations Softmax, Erf not in training graphs; nodes 7, training graphs")
    assert rows[SPECS[0]]["outside"] == ""


def test_the_domain_is_operations_and_sizes():
    graphs = labelled().graphs
    domain = Domain.of(graphs)
    assert domain.operations == ["Input", "Output", "Conv", "BatchNorm", "ReLU", "MatMul", "Mean"]
    assert domain.sizes["nodes"] == (int(graphs.sizes.min()), int(graphs.sizes.max()))
    assert Domain.from_json(json.loads(json.dumps(domain.to_json()))).sizes == domain.sizes
    assert domain.outside(graphs) == [""] * len(graphs)
    small, large = FAMILY.all()[0], FAMILY.all()[-1]
    near, far = (GraphSet.of([FAMILY.graph(small, hw)]) for hw in ((72, 72), (224, 224)))
    assert domain.outside(near) == [""]
    assert "input height 224, training graphs have 64" in domain.outside(far)[0]
    both = Domain.of(far) | Domain.of(GraphSet.of([odd_network()]))
    assert both.sizes["input height"] == (64, 224)
    assert both.operations == [*domain.operations, "Softmax", "Erf"]
    only_large = Domain.of(GraphSet.of([FAMILY.graph(large, (64, 64))]))
    assert "parameters" in only_large.outside(GraphSet.of([FAMILY.graph(small, (64, 64))]))[0]


def test_an_older_card_loads_and_has_no_intervals(aiop, tmp_path):
    saved(tmp_path / "p")
    path = tmp_path / "p" / "predictor.json"
    card = json.loads(path.read_text())
    del card["trust"]
    path.write_text(json.dumps(card))
    done = aiop("predict", "--predictor", tmp_path / "p", SPECS[0])
    assert "There are no intervals: this predictor was saved without any; train it again." in done.out
    assert "[" not in done.out.split("MMACs")[0]
    assert predicted(aiop, tmp_path / "p", SPECS[0])["predictions"][0]["low"] is None


@pytest.mark.parametrize(
    "damage",
    [
        {"calibration": {}},
        {"calibration": {"scores": [2, 1], "base": 1.0, "how": ""}},
        *({"calibration": {"scores": [1, 2], "base": base, "how": ""}} for base in (0, -1.0, math.nan, math.inf, "x")),
        {"domain": {"operations": 3}},
        {"coverage": {"x": 1}},
    ],
)
def test_a_damaged_card_is_said(tmp_path, damage):
    saved(tmp_path)
    path = tmp_path / "predictor.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"trust": card["trust"] | damage}))
    with pytest.raises(WeightsError, match=r"predictor\.json is damaged"):
        load_predictor(tmp_path, PluginRegistry([PluginSource("r", "r", "0", lambda: reference)]))


def test_the_coverage_part_is_seen_by_neither_predictor_nor_calibration():
    data, seen = labelled(copies=3), []

    def fit(known):
        seen.append({graph.fingerprint for graph in known.graphs})
        return fitting(ReferencePredictor, seed=0, device="cpu")(known)

    trust = learn_trust(fit, data, ACC, seed=3, view=Quiet(), train=24)
    assert trust.coverage.test == 12
    assert trust.coverage.learnt == 24
    assert len(seen) == 5 + 1
    every = {graph.fingerprint for graph in data.graphs}
    allowed = seen[-1]
    assert len(every - allowed) == 12
    assert all(part <= allowed for part in seen)
    assert len(trust.calibration.scores) == 36
    assert trust.calibration.how == "cross-conformal: 5 folds of 24 labels, and 12 labels by a fit on all of these"
    text = trust.coverage.text(ACC)
    assert text.startswith(f"Intervals of 90% held {trust.coverage.covered:.1%} of 12 labels that nothing had seen")


def test_a_predictor_of_few_labels_does_not_speak_for_one_of_all():
    sizes = []

    def fit(known):
        sizes.append(len(known))
        return fitting(ReferencePredictor, seed=0, device="cpu")(known)

    trust = learn_trust(fit, labelled(copies=3), ACC, seed=3, view=Quiet(), train=10)
    assert sizes == [8] * 5 + [10] + [28] + [29] * 4
    assert trust.calibration.how == "cross-conformal: 5 folds of 36 labels"


def test_coverage_without_bounds_is_kept():
    data = labelled()
    trust = learn_trust(fitting(ReferencePredictor, seed=0, device="cpu"), data, LATENCY, seed=0, view=Quiet(), train=6)
    assert math.isinf(trust.coverage.width)
    assert "mean width –" in trust.coverage.text(LATENCY)
    table = trust.to_json()
    table["coverage"]["width"] = None
    again = Trust.from_json(table)
    assert again.coverage == Coverage(0.9, 1.0, math.inf, 6, 6)


def test_models_in_a_list(aiop, tmp_path):
    saved(tmp_path / "p")
    (tmp_path / "models.txt").write_text("\n".join([SPECS[0], "", f"  reference:{SPECS[1]}"]) + "\n")
    found = predicted(aiop, tmp_path / "p", SPECS[2], "--from", tmp_path / "models.txt")
    assert sorted(row["model"] for row in found["predictions"]) == sorted(SPECS[:3])


def test_a_card_without_an_error_says_none(aiop, tmp_path):
    saved(tmp_path / "p", scores={"spearman": (0.9, 0.8, 1.0)})
    done = aiop("predict", "--predictor", tmp_path / "p", SPECS[0])
    assert done.code == 0, done.err
    assert done.out.endswith("\nJudged.\n")
    assert "Expect an error" not in done.out


def test_models_get_the_input_of_the_table_that_was_learnt_from(aiop, tmp_path):
    saved(tmp_path / "p", graphs={"input_shape": [3, 48, 40]})
    args = ("predict", "--predictor", tmp_path / "p", "reference_zoo:wren", "--json")

    def macs(*more):
        (row,) = json.loads(aiop(*args, *more).out)["predictions"]
        return row["macs"]

    assert macs() == macs("--input-shape", "3,48,40")
    assert macs() < macs("--input-shape", "3,64,64")


def test_an_interval_holds_the_shown_value(aiop, tmp_path, monkeypatch):
    saved(tmp_path / "p")
    values = iter([[1.2, -0.3, 1.1]])
    monkeypatch.setattr(ReferencePredictor, "predict", lambda self, graphs: np.array(next(values)))
    rows = predicted(aiop, tmp_path / "p", *SPECS[:3])["predictions"]
    assert [row["model"] for row in rows] == [SPECS[0], SPECS[2], SPECS[1]]
    assert [row["predicted"] for row in rows] == [1, 1, 0]
    assert all(row["low"] <= row["predicted"] <= row["high"] for row in rows)


def test_explain_lists_blocks_and_operations(aiop, tmp_path):
    saved(tmp_path / "p")
    done = aiop("explain", "reference:d2-w8-k3", "--predictor", tmp_path / "p", "--top", 2)
    assert done.code == 0, done.err
    assert done.out.startswith("d2-w8-k3: acc ")
    assert " at 90 %\n" in done.out
    assert done.out.count("Conv 3×3") >= 1
    assert "contribution, percentage points" in done.out
    assert done.out.count("output H×W×C") == 2
    assert "\nBlocks with the same letter are built alike" in done.out
    data = json.loads(aiop("explain", "reference:d2-w8-k3", "--predictor", tmp_path / "p", "--json").out)
    (row,) = data["predictions"]
    assert row["predicted"] == data["explanation"]["predicted"]
    assert len(data["explanation"]["nodes"]) == 34
    sizes = [abs(part["contribution"]) for part in data["explanation"]["blocks"]]
    assert sizes == sorted(sizes, reverse=True)
    assert "--predictor" in aiop("explain", "reference:d2-w8-k3").err


def test_the_graph_page_gets_the_contributions(aiop, tmp_path):
    saved(tmp_path / "p")
    done = aiop("graph", "draw", "d2-w8-k3", "--predictor", tmp_path / "p", "-o", tmp_path / "net.html")
    assert done.code == 0, done.err
    page = (tmp_path / "net.html").read_text()
    assert "<title>d2-w8-k3</title>" in page
    assert re.search(r'<p id="summary">acc \d+\.\d\d % \[[\d., ]+\] at 90 % · 34 nodes · ', page)
    start = page.index('id="data">') + len('id="data">')
    data = json.loads(page[start : page.index("</script>", start)])
    name = "contribution (percentage points)"
    assert data["colour"] == name
    explained = json.loads(aiop("explain", "d2-w8-k3", "--predictor", tmp_path / "p", "--json").out)
    largest = explained["explanation"]["nodes"][0]["contribution"]
    assert max(data["values"][name], key=abs) == pytest.approx(100 * largest, rel=1e-5)
    assert set(data["whole"]) == {name}
    by_cost = aiop(
        "graph", "draw", "d2-w8-k3", "--predictor", tmp_path / "p", "--colour", "macs", "-o", tmp_path / "n.svg"
    )
    assert by_cost.code == 0, by_cost.err
    assert "MACs: 0" in (tmp_path / "n.svg").read_text()


def test_numbers_that_only_rank_have_no_unit(aiop, tmp_path):
    saved(tmp_path / "p", sources=[{"name": "a"}, {"name": "b"}], trust=None, scores={"mae": (None, None, None)})
    done = aiop("predict", "--predictor", tmp_path / "p", SPECS[0])
    assert done.code == 0, done.err
    assert "The numbers rank models and are in no unit" in done.out
    assert "%" not in done.out
    assert "Expect an error" not in done.out
