"""Texts of architectures: the benchmarks' own, ours, and wrong ones."""

import json

import pytest

from aiop_core.errors import SpecError


@pytest.mark.parametrize(("name", "size"), [("nb201", 5**6), ("tnb101_micro", 4**6), ("tnb101_macro", 3256)], ids=str)
def test_the_whole_space_can_be_drawn_and_read_back(family, name, size):
    made = family(name)
    specs = [architecture.spec for architecture in made.sample(size, seed=1)]
    assert len(set(specs)) == size
    assert [made.parse(spec).spec for spec in specs] == specs
    with pytest.raises(SpecError, match=rf"{size + 1} architectures were asked of {name}, which has {size}"):
        made.sample(size + 1, seed=0)


def test_nb101_samples_are_distinct_and_read_back(family):
    nb101 = family("nb101")
    drawn = nb101.sample(300, seed=1)
    assert len(set(drawn)) == 300
    assert [nb101.parse(a.spec) for a in drawn] == drawn
    assert max(len(a.letters) for a in drawn) == 5
    with pytest.raises(SpecError, match=r"-1 architectures were asked of nb101, which has 423624"):
        nb101.sample(-1, seed=0)


def test_nb201_reads_the_benchmarks_and_naslibs_form(family):
    nb201 = family("nb201")
    text = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_3x3~0|none~1|skip_connect~2|"
    assert nb201.parse(text).spec == "p_1s_30s"
    assert nb201.parse("(4, 3, 2, 0, 1, 0)").spec == "p_1s_30s"
    assert nb201.parse("[4, 3, 2, 0, 1, 0]").spec == "p_1s_30s"


def test_transnas_reads_the_benchmarks_form(family):
    assert family("tnb101_micro").parse("64-41414-3_12_031").spec == "3_12_031"
    assert family("tnb101_macro").parse("64-1234-basic").spec == "1234"


def test_nb101_reads_tables_and_prunes(family):
    nb101 = family("nb101")
    adjacency = [[0, 1, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0] * 5]
    ops = ["input", "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3", "output"]
    cell = nb101.parse(json.dumps({"adjacency": adjacency, "ops": ops}))
    assert cell.spec == "3:0_p:0_o:12"
    assert nb101.parse(json.dumps({"adjacency": json.dumps(adjacency), "ops": json.dumps(ops)})) == cell
    assert nb101.parse("3:0_1:0_p:0_o:13") == cell


def test_isomorphic_cells_stay_apart(family):
    assert family("nb201").parse("3_10_0ss") != family("nb201").parse("1_30_0ss")


def cell(**changes):
    given = {"adjacency": [[0, 1, 0], [0, 0, 1], [0, 0, 0]], "ops": ["input", "maxpool3x3", "output"], **changes}
    return json.dumps(given)


WRONG = [
    ("nb201", "3_33", "it has 2 nodes, expected 3"),
    ("nb201", "3_3x_333", "node 2 is '3x', expected 2 of the letters 0s13p"),
    ("nb201", "(1, 2, 3)", "NASLib's form has 6 numbers from 0 to 4"),
    ("nb201", "(1, 2", "it is no JSON"),
    (
        "nb201",
        "|none~0|+|none~0|none~1|+|none~0|none~1|conv~2|",
        "there is no operation 'conv', allowed are none",
    ),
    ("nb201", "|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", "node 2 is .*, expected 2 edges, as in"),
    ("nb201", "|none~0|+|none~0|none~1|", "it has 2 nodes, expected 3"),
    ("nb201", "3" * 5000, "the text has 5000 characters, allowed are 4096"),
    ("tnb101_micro", "64-41414-basic", "it has 1 nodes, expected 3"),
    ("tnb101_micro", "3_14_000", "node 2 is '14', expected 2 of the digits 0123"),
    ("tnb101_micro", "64-1234-3_12_031", r"node 1 is '64-1234-3', expected 1 of the digits"),
    ("tnb101_macro", "123", "the skeleton is '123', expected 4 to 6 digits from 1 to 4"),
    ("tnb101_macro", "1212", "no module has stride 2, allowed are 1 to 4"),
    ("tnb101_macro", "333331", "5 modules have stride 2, allowed are 1 to 4"),
    ("tnb101_macro", "3333", "0 modules double the channels, allowed are 1 to 3"),
    ("nb101", "5:0_o:1", "'5:0' is no vertex, expected an operation 1, 3, p or o and what it reads"),
    ("nb101", "3:0_1", "'1' is no vertex"),
    ("nb101", "3:1_o:1", "vertex 1 reads '1', expected different vertices before it"),
    ("nb101", "3:0_o:11", "vertex 2 reads '11', expected different vertices before it"),
    ("nb101", "3:0_1:01_p:012_3:0123_o:01234", "it has 6 vertices and 15 edges, allowed are 7 and 9"),
    ("nb101", "{", "it is no JSON"),
    ("nb101", '{"matrix": []}', "its keys are matrix, expected adjacency and ops"),
    ("nb101", cell(ops=["input", "output"]), "'adjacency' must be 2 rows of as many 0 and 1"),
    ("nb101", cell(ops=["input", "maxpool3x3"]), "'ops' must be a list that begins with input and ends with output"),
    ("nb101", cell(ops=["input", ["a"], "output"]), r"there is no operation \['a'\], allowed are conv1x1-bn-relu"),
    ("nb101", cell(adjacency=[[0, 1, 0], [1, 0, 1], [0, 0, 0]]), "none of them on or below the diagonal"),
    ("nb101", cell(adjacency=[[0, 1], [0]]), "'adjacency' must be 3 rows"),
    ("nb101", cell(adjacency=[[0, 1, 0], [0, 0, 0], [0, 0, 0]]), "no way leads from its input to its output"),
]


@pytest.mark.parametrize(("name", "text", "message"), WRONG, ids=range(len(WRONG)))
def test_malformed_texts_are_refused_in_one_line(family, name, text, message):
    with pytest.raises(SpecError, match=rf"is not a spec of {name}: .*{message}") as caught:
        family(name).parse(text)
    assert "\n" not in str(caught.value)
    assert "an example: " in str(caught.value)
