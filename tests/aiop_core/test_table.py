"""Published labels from tables of any family."""

import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from aiop_core.errors import DataError, GraphError, LabelError, SpecError
from aiop_core.pipeline.table import spec_text, table_cache
from aiop_core.pipeline.view import Quiet
from aiop_core.testing.reference import ReferenceFamily


class Said(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def read(path: Path, unit: str = "percent", view: Quiet | None = None, family: ReferenceFamily | None = None):
    return table_cache(
        path,
        family_name="reference",
        family=family or ReferenceFamily(),
        label="acc",
        spec_columns=["spec"],
        unit=unit,
        input_hw=(64, 64),
        provenance={},
        view=view or Quiet(),
    )


def test_csv_and_parquet_give_the_same_labelled_graphs(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("spec,acc,other\nd1-w4-k3,50,x\nd2-w8-k5,75.5,y\n")
    table = pyarrow.table({"acc": [50.0, 75.5], "spec": ["d1-w4-k3", "d2-w8-k5"]})
    parquet.write_table(table, tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        found = read(tmp_path / name)
        assert found.specs == ["d1-w4-k3", "d2-w8-k5"]
        assert found.labels.tolist() == [0.5, 0.755]
        family = ReferenceFamily()
        assert found.graphs[1] == family.graph(family.parse("d2-w8-k5"), (64, 64))


def test_equal_architectures_are_merged_and_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("spec,acc\nd1-w4-k3,50\nd1-w4-k3,60\nd2-w8-k5,75\n")
    view = Said()
    assert read(tmp_path / "t.csv", view=view).labels.tolist() == [0.55, 0.75]
    assert view.lines == ["3 rows describe 2 architectures: labels of equal ones are averaged"]


def test_several_columns_become_one_json_object() -> None:
    row = {"ks": "[3, 5]", "d": "[2]", "name": "x"}
    assert json.loads(spec_text(row, ["ks", "d", "name"])) == {"ks": [3, 5], "d": [2], "name": "x"}
    assert spec_text({"ks": [3, 5]}, ["ks"]) == "[3, 5]"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("spec,top1\nd1-w4-k3,50\n", LabelError, r"has no column 'acc'; allowed are: spec, top1"),
        ("spec,acc\nd1-w4-k3,nan\n", LabelError, r"row 1: label 'acc' is nan; remove the row"),
        ("spec,acc\nd1-w4-k3,inf\n", LabelError, r"row 1: label 'acc' is inf"),
        ("spec,acc\nd1-w4-k3,good\n", LabelError, r"row 1: label 'acc' is 'good', not a number"),
        ("spec,acc\nd1-w4-k3,5000\n", LabelError, r"outside the unit 'percent'; see --label-unit"),
        ("spec,acc\nd1-w4-k3,50\nbad,50\n", SpecError, r"row 2: 'bad' is no chain"),
        (
            "spec,acc\nd1-w4-k3,0.5\n",
            LabelError,
            r"no label 'acc' is over 1 %; if they are fractions, say --label-unit",
        ),
        ("spec,acc\n", DataError, r"has a header but no rows"),
        ("", DataError, r"is not a readable table \(it is empty\)"),
        ("spec,acc\na,b,c\n", DataError, r"a row has more or fewer cells"),
    ],
)
def test_bad_tables_are_one_clear_line(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read(path)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no table .*t.csv; give a .csv or .parquet"):
        read(tmp_path / "t.csv")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"is not a readable table"):
        read(tmp_path / "t.parquet")


def test_a_family_that_cannot_draw_a_graph_names_the_architecture(tmp_path: Path) -> None:
    class Shy(ReferenceFamily):
        def graph(self, architecture, input_hw):
            raise GraphError("too small an input")

    (tmp_path / "t.csv").write_text("spec,acc\nd1-w4-k3,50\n")
    with pytest.raises(SpecError, match="d1-w4-k3 has no graph at 64x64: too small an input"):
        read(tmp_path / "t.csv", family=Shy())
