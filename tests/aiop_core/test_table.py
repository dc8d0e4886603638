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
        (
            "spec,top1\nd1-w4-k3,50\n",
            LabelError,
            r"has no column 'acc', which --label asks for; allowed are: spec, top1",
        ),
        ("spec,acc\nd1-w4-k3,nan\n", LabelError, r"row 2: label 'acc' is nan; remove the row"),
        ("spec,acc\nd1-w4-k3,inf\n", LabelError, r"row 2: label 'acc' is inf"),
        ("spec,acc\nd1-w4-k3,good\n", LabelError, r"row 2: label 'acc' is 'good', not a number"),
        ("spec,acc\nd1-w4-k3,5000\n", LabelError, r"outside the unit 'percent'; see --label-unit"),
        ("spec,acc\nd1-w4-k3,50\nbad,50\n", SpecError, r"row 3: 'bad' is no chain"),
        (
            "spec,acc\nd1-w4-k3,0.5\n",
            LabelError,
            r"no label 'acc' is over 1 %; if they are fractions, say --label-unit",
        ),
        ("spec,acc\n", DataError, r"has a header but no rows"),
        ("", DataError, r"is not a readable table \(it is empty\)"),
        (
            "spec,acc\nd1-w4-k3,50\n\na,b,c\nd\n",
            DataError,
            r"rows 4, 5: more or fewer cells than the header, 2; a cell that holds ',' stands in double quotes",
        ),
        ("top,acc\na,50\n", LabelError, r"no column 'spec', which --spec-columns asks for; allowed are: acc, top$"),
        ("top\na\n", LabelError, r"no column 'acc', which --label asks for and no column 'spec', which --spec-col"),
        ("spec,acc,acc\na,1,2\n", LabelError, r"has several columns 'acc'; rename all but one"),
        ("spec;acc\nd1-w4-k3;50,5\n", LabelError, r"label 'acc' is '50,5', not a number; write decimals with a point"),
    ],
)
def test_bad_tables_are_one_clear_line(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read(path)


@pytest.mark.parametrize(
    "text",
    [
        "spec;acc\nd1-w4-k3;50\nd2-w8-k5;75.5\n",
        "\ufeffspec\tacc\nd1-w4-k3\t50\nd2-w8-k5\t75.5\n",
        ' spec , acc\n"d1-w4-k3" , 50\n\n , \nd2-w8-k5 , 75.5 \n',
        "spec,acc,a;b\nd1-w4-k3,50,\nd2-w8-k5,75.5,x;y;z\n",
    ],
)
def test_separators_and_spaces_of_other_programs(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    found = read(tmp_path / "t.csv")
    assert (found.specs, found.labels.tolist()) == (["d1-w4-k3", "d2-w8-k5"], [0.5, 0.755])


def test_all_bad_rows_are_said_at_once_by_the_number_that_an_editor_shows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("spec,acc\nd1-w4-k3,50\n" + "bad,60\n" * 6 + "\nworse,70\nd2-w8-k5,80\n")
    with pytest.raises(SpecError) as caught:
        read(tmp_path / "t.csv")
    head, *lines, last = str(caught.value).splitlines()
    assert head == f"{tmp_path / 't.csv'}: 7 rows cannot be used"
    assert [line.split(": ")[0] for line in lines] == [f"  row {number}" for number in (3, 4, 5, 6, 7)]
    assert last == "  and 2 more"
    (tmp_path / "t.csv").write_text("spec,acc\nd1-w4-k3,nan\n\nd1-w4-k5,x\nd1-w6-k5,nan\n")
    with pytest.raises(LabelError) as caught:
        read(tmp_path / "t.csv")
    assert str(caught.value).splitlines()[1:] == [
        "  row 2: label 'acc' is nan; remove the row or mend the label",
        "  row 4: label 'acc' is 'x', not a number",
        "  row 5: label 'acc' is nan",
    ]


@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        ([80, 0.71, 60, 90, 0.9], "rows 3, 6: a label 'acc' of 0.71"),
        ([0.8, 71, 0.6, 0.9], "rows 2, 4, 5: a label 'acc' of 0.8"),
        ([80, 0.1, 60, 90], ""),
        ([0.8, 0.9, 1.1, 1.5], ""),
        ([60, 0], ""),
    ],
)
def test_fractions_among_percents_are_said(tmp_path: Path, labels: list[float], rows: str) -> None:
    specs = [f"d{depth}-w{width}-k3" for depth in (1, 2) for width in (4, 6, 8)]
    lines = [f"{spec},{label}" for spec, label in zip(specs, labels, strict=False)]
    (tmp_path / "t.csv").write_text("\n".join(["spec,acc", *lines]))
    view = Said()
    assert read(tmp_path / "t.csv", view=view).labels == pytest.approx([label / 100 for label in labels])
    assert len(view.lines) == bool(rows)
    if rows:
        assert f"t.csv, {rows} looks like a fraction among percents and is taken as" in view.lines[0]
        assert "or write all as fractions and say --label-unit fraction" in view.lines[0]


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
