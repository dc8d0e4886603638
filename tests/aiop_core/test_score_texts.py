"""Scores as people read them, and their summaries over seeds."""

import json
import math

from aiop_core.contracts import Metric
from aiop_core.pipeline.scores import spread_text, summary_of
from aiop_core.records.json_file import write_json

ACCURACY = Metric("acc")


def test_a_deviation_needs_two_seeds():
    assert spread_text([0.5, 0.7], "spearman", ACCURACY) == "0.600 ± 0.141  [0.500, 0.700]"
    assert spread_text([0.5, math.nan], "spearman", ACCURACY) == "0.500 ± –"
    assert spread_text([0.005], "mae", ACCURACY) == "0.50 % ± –"
    assert spread_text([math.nan], "mae", ACCURACY) == "–"


def test_the_deviation_of_one_seed_is_null(tmp_path):
    one = {"mae": (0.5, 0.4, 0.6)}
    write_json(tmp_path / "results.json", summary_of([one]))
    found = json.loads((tmp_path / "results.json").read_text())
    assert found == {"mae": {"mean": 0.5, "deviation": None, "min": 0.5, "max": 0.5, "low": 0.4, "high": 0.6}}
    assert summary_of([one, one])["mae"]["deviation"] == 0
