"""Tables of models as users spell them, of scores, and of networks under several specs."""

from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from aiop_core.errors import LabelError, SpecError
from aiop_core.graph.files import save_graph
from aiop_core.pipeline.models import ModelReader
from aiop_core.pipeline.table import merge_isomorphic, models_cache, table_cache
from aiop_core.pipeline.view import Quiet
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_core.testing import reference

FAMILY = reference.ReferenceFamily()
REGISTRY = PluginRegistry([PluginSource("reference", "aiop-core", "0", lambda: reference)])


class Said(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def models(path: Path, **other):
    given = {"label": "top1", "spec_columns": ["model"], "unit": "percent", "input_shape": None, "provenance": {}}
    return models_cache(REGISTRY, path, **given | {"view": Quiet()} | other)


def family(path: Path, **other):
    given = {"label": "acc", "spec_columns": ["spec"], "unit": "percent", "input_hw": (64, 64), "provenance": {}}
    return table_cache(path, family_name="reference", family=FAMILY, **given | {"view": Quiet()} | other)


def test_models_of_every_kind_in_one_table(tmp_path: Path) -> None:
    code = tmp_path / "net.py"
    code.write_text("import torch\ndef make():\n    return torch.nn.Conv2d(3, 5, 3)\n")
    graph = FAMILY.graph(FAMILY.parse("d1-w6-k5"), (64, 64))
    save_graph(graph, tmp_path / "net.safetensors")
    rows = ["reference:d1-w4-k3,50", "reference_zoo:heron,60", f"{code}:make,70", f"{tmp_path}/net.safetensors,80"]
    (tmp_path / "t.csv").write_text("\n".join(["model,top1", *rows]))
    with pytest.warns(UserWarning, match="naming it as a model runs it"):
        found = models(tmp_path / "t.csv", input_shape=(3, 64, 64))
    assert found.families == ["reference", "reference_zoo", "models", "models"]
    assert found.specs == ["d1-w4-k3", "reference_zoo:heron", f"{code}:make", f"{tmp_path}/net.safetensors"]
    assert found.labels == pytest.approx([0.5, 0.6, 0.7, 0.8])
    reader = ModelReader(REGISTRY, input_shape=(3, 64, 64))
    assert found.graphs[0] == FAMILY.graph(FAMILY.parse("d1-w4-k3"), (64, 64))
    assert found.graphs[1] == reader.read("reference_zoo:heron").graph
    assert found.graphs[2].resolution[-1, 5] == 5
    assert found.graphs[3] == graph


def test_families_of_a_models_table_have_their_own_resolution(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("model,top1\nreference:d1-w4-k3,50\n")
    assert models(tmp_path / "t.csv").graphs[0].resolution[0, 0] == 64
    assert models(tmp_path / "t.csv", input_shape=(3, 32, 32)).graphs[0].resolution[0, 0] == 32


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("reference:bad", r"t\.csv, row 2: 'bad' is no chain"),
        ("wren", r"t\.csv, row 2: 'wren' names no model; write family:spec"),
        ("reference_zoo:wrem", r"row 2: 'reference_zoo:wrem': the zoo .*did you mean reference_zoo:wren"),
        ("absent.onnx", r"row 2: 'absent\.onnx': there is no file absent\.onnx"),
        ("torch.nn:Identity", r"row 2: 'torch\.nn:Identity' needs --input-shape"),
    ],
)
def test_a_row_that_names_no_model_is_said(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(f"model,top1\n{row},50\n")
    with pytest.raises(SpecError, match=message):
        models(tmp_path / "t.csv")


def test_misspelt_models_are_all_said_before_graphs_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    graph = reference.ReferenceFamily.graph
    monkeypatch.setattr(reference.ReferenceFamily, "graph", lambda *args: made.append(args) or graph(*args))
    right = [f"reference:d{depth}-w{width}-k3" for depth in (1, 2) for width in (4, 6, 8)]
    models_ = [
        *right,
        "reference_zoo:wren",
        "reference_zoo:wrem",
        "wren",
        "robin",
        "reference:bad",
        "reference_zoo:wrem",
    ]
    (tmp_path / "t.csv").write_text("\n".join(["model,top1", *(f"{model},50" for model in models_)]))
    with pytest.raises(SpecError) as caught:
        models(tmp_path / "t.csv")
    assert not made
    lines = [line.partition(";")[0] for line in str(caught.value).splitlines()]
    assert lines == [
        f"{tmp_path / 't.csv'}: 5 rows cannot be used",
        "  row 9: 'reference_zoo:wrem': the zoo 'reference_zoo' has no 'wrem'",
        "  row 10: 'wren' names no model",
        "  row 11: 'robin' names no model",
        "  row 12: 'bad' is no chain",
        "  row 13: 'reference_zoo:wrem': the zoo 'reference_zoo' has no 'wrem'",
    ]
    assert str(caught.value).count("write family:spec") == 1


def test_a_zoo_may_know_more_names_than_it_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference.ReferenceZoo, "names", lambda _: ["heron"])
    (tmp_path / "t.csv").write_text("model,top1\nreference_zoo:heron,50\nreference_zoo:wren,60\n")
    assert models(tmp_path / "t.csv").specs == ["reference_zoo:heron", "reference_zoo:wren"]


def test_models_stand_in_one_column(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="models stand in one column, not in a, b; name it with --spec-columns"):
        models(tmp_path / "t.csv", spec_columns=["a", "b"])


def test_score_columns_stand_beside_the_graphs(tmp_path: Path) -> None:
    rows = ["spec,acc,s,other", "d1-w4-k3,50,1,x", "d2-w8-k5,60,,x", "d1-w4-k3,70,4,x", "d1-w6-k3,70,nan,x"]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    found = family(tmp_path / "t.csv", score_columns=["s", "acc"])
    assert [repr(x) for x in found.graphs.scores["s"].tolist()] == ["2.5", "nan", "nan"]
    assert found.graphs.scores["acc"].tolist() == [60, 60, 70]
    assert found.score_sources == {name: {"table": "t.csv", "column": name} for name in ("s", "acc")}
    table = pyarrow.table(
        {"model": ["reference:d1-w4-k3", "reference:d1-w6-k3"], "top1": [50.0, 60.0], "s": [None, 2.0]}
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    scores = models(tmp_path / "t.parquet", score_columns=["s"]).graphs.scores["s"]
    assert [repr(x) for x in scores.tolist()] == ["nan", "2.0"]


@pytest.mark.parametrize("cell", ["good", "inf", "-inf"])
def test_a_score_that_is_no_number_is_said(tmp_path: Path, cell: str) -> None:
    (tmp_path / "t.csv").write_text(f"spec,acc,s\nd1-w4-k3,50,{cell}\n")
    message = rf"row 2: score 's' is '{cell}', not a number; leave it empty if it is not known"
    with pytest.raises(LabelError, match=message):
        family(tmp_path / "t.csv", score_columns=["s"])


def test_a_score_column_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("spec,acc\nd1-w4-k3,50\n")
    with pytest.raises(LabelError, match="has no column 's', which --score-columns asks for; allowed are: acc, spec"):
        family(tmp_path / "t.csv", score_columns=["s"])


def test_isomorphic_networks_are_averaged_and_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "model,top1\nreference:d1-w4-k3,50\nreference_zoo:heron,80\nreference_zoo:wren,60\n"
    )
    apart, view = models(tmp_path / "t.csv"), Said()
    assert len(apart) == 3
    merged = merge_isomorphic(apart, view)
    assert (merged.specs, merged.families) == (["d1-w4-k3", "reference_zoo:heron"], ["reference", "reference_zoo"])
    assert merged.labels == pytest.approx([0.55, 0.8])
    assert view.lines == ["3 architectures are 2 different networks: labels of isomorphic ones are averaged"]
    assert merge_isomorphic(merged, view) is merged
    assert len(view.lines) == 1


def test_equal_rows_are_averaged_before_isomorphic_ones(tmp_path: Path) -> None:
    """Three rows of one architecture weigh as one against another spelling of the same network."""
    (tmp_path / "t.csv").write_text(
        "model,top1\nreference:d1-w4-k3,50\nreference:d1-w4-k3,52\nreference:d1-w4-k3,54\nreference_zoo:wren,60\n"
    )
    assert merge_isomorphic(models(tmp_path / "t.csv"), Quiet()).labels == np.array([0.56])
