"""On published labels the predictor is as good as it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.aiop_predictor_gp.cells import fit

from aiop_core.contracts import Labelled
from aiop_core.graph.model import GraphSet
from aiop_core.metrics import kendall, mae, spearman
from aiop_core.pipeline.table import spec_text
from aiop_core.plugins import PluginRegistry
from aiop_predictor_gp.options import GpOptions

pytestmark = pytest.mark.data


def read(rows: pd.DataFrame, family_name: str, columns: list[str], label: str) -> Labelled:
    """The graphs of a table's networks, with labels as fractions."""
    family = PluginRegistry().create("family", family_name)
    specs = [spec_text(row, columns) for row in rows.to_dict("records")]
    graphs = GraphSet.of(family.graph(family.parse(spec), family.input_hw) for spec in specs)
    return Labelled(graphs, rows[label].to_numpy(dtype=np.float64) / 100)


def test_nas_bench_201_from_156_labels(shared_data: Path) -> None:
    rows = pd.read_parquet(shared_data / "nas" / "nb201.parquet").sample(3156, random_state=0)
    data = read(rows, "nb201", ["arch_str"], "c10_test_200ep_mean")
    found = fit(data.take(np.arange(156)), GpOptions()).predict(data.graphs[156:])
    assert kendall(data.labels[156:], found) >= 0.80


def test_ofa_mobilenet_v3_from_100_labels(shared_data: Path) -> None:
    table = pd.read_csv(shared_data / "nas" / "ofa_mbv3.csv").drop_duplicates(["ks", "e", "d"])
    data = read(table.sample(1000, random_state=0), "ofa_mbv3", ["ks", "e", "d"], "imagenet_top1_mean")
    found = fit(data.take(np.arange(100)), GpOptions()).predict(data.graphs[100:])
    assert spearman(data.labels[100:], found) >= 0.985
    assert mae(data.labels[100:], found) <= 0.0025
