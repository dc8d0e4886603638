"""What is written: SVG, HTML, PNG and DOT, from Python and from the command line."""

import builtins
import json
import re
import shutil
import subprocess
import time
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from aiop_core.errors import GraphError
from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.draw import draw
from aiop_core.graph.draw.kinds import KINDS, amount, caption, kind_of
from aiop_core.graph.draw.scene import heat_colour
from aiop_core.graph.ops import Op

HOSTILE = "</script><script>alert('x')</script>\"&\\\x00\u2028${title}"


def chain(blocks=3):
    builder = GraphBuilder()
    node = builder.conv(builder.input((32, 32)), 8, 3, stride=2)
    for _ in range(blocks):
        inner = builder.conv(builder.batch_norm(builder.conv(node, 8, 3)), 8, 5, groups=2)
        node = builder.add(Op.Add, [node, builder.add(Op.ReLU, [inner])])
    builder.output(builder.linear(builder.mean(node), 10))
    return builder.build()


def drawn(tmp_path, suffix, graph=None, **options):
    path = tmp_path / f"x{suffix}"
    draw(chain() if graph is None else graph, path, **options)
    return path.read_text(encoding="utf-8")


def texts(svg):
    return [e.text for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def page_data(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_svg_names_operations_shapes_and_repeats(tmp_path):
    shown = texts(drawn(tmp_path, ".svg", title="a net"))
    assert shown[:2] == ["a net", "20 nodes · 1.11 M MACs · 4.48 k parameters"]
    assert shown.count("A × 3") == 1
    assert shown.count("Conv 5×5 g2") == 1
    assert "Conv 3×3 /2" in shown
    assert "16×16×8" in shown


def test_expanded_svg_shows_every_node(tmp_path):
    shown = texts(drawn(tmp_path, ".svg", expand=True))
    assert shown.count("Conv 5×5 g2") == 3
    graph = chain()
    for words in {caption(graph, node)[0] for node in range(len(graph))}:
        assert shown.count(words) == sum(caption(graph, node)[0] == words for node in range(len(graph)))


@pytest.mark.parametrize("suffix", [".svg", ".html", ".dot"])
def test_drawing_is_deterministic(tmp_path, suffix):
    assert drawn(tmp_path, suffix) == drawn(tmp_path, suffix)


def test_hostile_titles_stay_texts(tmp_path):
    assert texts(drawn(tmp_path, ".svg", title=HOSTILE))[0] == HOSTILE.replace("\x00", "\ufffd").replace(
        "\u2028", "\ufffd"
    )
    page = drawn(tmp_path, ".html", title=HOSTILE, heat={HOSTILE: np.ones(20)})
    assert page.count("<script") == 2
    assert "alert('x')</script>" not in page
    assert HOSTILE in page_data(page)["values"]
    assert "\\u003c/script" in page
    dot = drawn(tmp_path, ".dot", title=HOSTILE)
    assert dot.splitlines()[0] == r"""digraph "</script><script>alert('x')</script>\"&\\${title}" {"""


def test_the_page_refers_to_nothing_outside(tmp_path):
    page = drawn(tmp_path, ".html")
    assert not re.findall(r"(?:src|href)\s*=|@import|url\((?!#)|https?://|fetch\(|XMLHttpRequest", page)
    assert "default-src 'none'" in page


def test_the_page_holds_every_node(tmp_path):
    data, graph = page_data(drawn(tmp_path, ".html")), chain()
    assert data["nodes"]["resolution"] == graph.resolution.tolist()
    assert sum(data["values"]["parameters"]) == graph.params.sum()
    assert sorted(data["order"]) == list(range(len(graph)))


def test_dot_has_every_edge_and_clusters(tmp_path):
    graph, dot = chain(), drawn(tmp_path, ".dot")
    assert set(re.findall(r"n(\d+) -> n(\d+);", dot)) == {(str(a), str(b)) for a, b in graph.edges.T}
    assert dot.count("subgraph cluster_") == 3
    assert dot.count("{") == dot.count("}")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_the_dot(tmp_path):
    drawn(tmp_path, ".dot", title=HOSTILE)
    subprocess.run(["dot", "-Tcanon", tmp_path / "x.dot"], check=True, capture_output=True)


def test_png_is_a_picture(tmp_path):
    pytest.importorskip("resvg_py")
    draw(chain(), tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 5000


def test_png_without_its_extra_names_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "resvg_py":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(GraphError, match=r"a \.png needs resvg-py; install it with pip install 'aiop-core\[png\]'"):
        draw(chain(), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_png_without_fonts_says_so(tmp_path, monkeypatch):
    resvg = pytest.importorskip("resvg_py")
    monkeypatch.setattr(resvg, "svg_to_bytes", lambda **_: b"the same picture")
    with pytest.raises(GraphError, match=r"a \.png needs a font and this machine has none"):
        draw(chain(), tmp_path / "x.png")


def test_heat_colours_costs_and_any_values(tmp_path):
    graph = chain()
    values = np.zeros(len(graph))
    values[3], values[5] = -2, 1
    svg = drawn(tmp_path, ".svg", graph, heat={"share of <PCK>": values}, colour="share of <PCK>", expand=True)
    assert any(text.startswith("share of <PCK>: -2") for text in texts(svg))
    assert '#{:02x}{:02x}{:02x}"'.format(*heat_colour(-2, 2)) in svg
    assert '#{:02x}{:02x}{:02x}"'.format(*heat_colour(1, 2)) in svg
    assert "parameters: 0" in texts(drawn(tmp_path, ".svg", graph, colour="parameters"))
    assert page_data(drawn(tmp_path, ".html", graph, heat={"v": values}, colour="v"))["colour"] == "v"
    assert '#{:02x}{:02x}{:02x}"'.format(*heat_colour(-2, 2)) in drawn(
        tmp_path, ".dot", graph, heat={"v": values}, colour="v"
    )


def test_folded_heat_is_the_sum_over_copies(tmp_path):
    graph = chain(3)
    values = np.zeros(len(graph))
    values[[2, 7, 12]] = 1, 2, 4
    assert any("7    square-root" in t for t in texts(drawn(tmp_path, ".svg", graph, heat={"v": values}, colour="v")))


@pytest.mark.parametrize("values", [[1.0, 2.0], [[0.0] * 20], [np.nan] + [0.0] * 19])
def test_heat_that_does_not_fit_is_refused(tmp_path, values):
    with pytest.raises(GraphError, match=r"heat 'v' has shape .*; give one finite number for each of the 20 nodes"):
        drawn(tmp_path, ".svg", heat={"v": np.array(values)})


def test_an_unknown_colouring_is_refused(tmp_path):
    with pytest.raises(GraphError, match="there is no colouring 'cost'; choose one of kind, MACs, parameters"):
        drawn(tmp_path, ".svg", colour="cost")


def test_paths_that_cannot_be_written_are_said_in_one_line(tmp_path):
    with pytest.raises(GraphError, match=r"x\.pdf names no kind of drawing; end it with \.svg, \.png, \.html or \.dot"):
        draw(chain(), tmp_path / "x.pdf")
    with pytest.raises(GraphError, match=r"cannot be written: there is no folder .*nowhere; make it first"):
        draw(chain(), tmp_path / "nowhere" / "x.svg")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(GraphError, match="cannot be written: it is a folder; name a file"):
        draw(chain(), tmp_path / "folder.svg")


def test_a_write_that_fails_leaves_the_old_drawing(tmp_path, monkeypatch):
    path = tmp_path / "x.svg"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(GraphError, match=r"x\.svg cannot be written: No space left on device"):
        draw(chain(), path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.svg"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("suffix", [".svg", ".html", ".dot"])
def test_the_command_draws_a_model(aiop, tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_text("an older drawing")
    done = aiop("graph", "draw", "reference:d2-w8-k3", "-o", path, "--colour", "macs", "--expand")
    assert (done.code, done.out) == (0, "")
    assert f"{path}: " in done.err
    assert "Conv" in path.read_text(encoding="utf-8")


def test_the_command_looks_at_the_path_before_the_model(aiop, tmp_path):
    done = aiop("graph", "draw", "no such model", "-o", tmp_path / "x.pdf")
    assert done.code == 1
    assert "names no kind of drawing" in done.err
    assert len(done.err.splitlines()) == 1


def test_every_operation_has_a_kind_with_colours():
    assert {kind_of(op) for op in Op} == set(KINDS)
    named = [op for kind in KINDS.values() for op in kind.ops.split()]
    assert len(named) == len(set(named))
    assert set(named) <= set(Op.__members__)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (999_900, "1 M"), (4.09e9, "4.09 G"), (-2500, "-2.5 k"), (0.25, "0.25")]
)
def test_amounts_are_short(value, text):
    assert amount(value) == text


def test_two_thousand_nodes_are_drawn_at_once(tmp_path):
    graph = chain(400)
    assert len(graph) > 2000
    start = time.process_time()
    draw(graph, tmp_path / "x.html")
    draw(graph, tmp_path / "x.svg", expand=True)
    assert time.process_time() - start < 6
    assert (tmp_path / "x.html").stat().st_size < 2_000_000


def test_a_network_of_many_nested_skips_is_drawn(tmp_path):
    builder = GraphBuilder()
    ways = [builder.input((8, 8))]
    for _ in range(300):
        ways.append(builder.conv(ways[-1], 3, 3))
    node = ways[-1]
    for way in reversed(ways):
        node = builder.add(Op.Add, [way, node]) if way != node else node
    builder.output(node)
    assert drawn(tmp_path, ".svg", builder.build(), expand=True).count(">Add<") == 300
