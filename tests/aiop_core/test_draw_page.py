"""The page in a real browser: it opens, finds, opens blocks, shows heat, and asks nobody for anything."""

import io
import os
import shutil
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.draw import draw
from aiop_core.graph.draw.blocks import find_blocks
from aiop_core.graph.draw.layout import everything_open, place, repeats_closed
from aiop_core.graph.draw.svg import path
from aiop_core.graph.ops import Op

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]
HOSTILE = '</script><img src=x onerror=alert(1)>&"${x}'


def network(blocks=(3, 2)):
    """Stages of residual blocks, each with a skip over all of them."""
    builder = GraphBuilder()
    node = builder.conv(builder.input((32, 32)), 8, 7, stride=2)
    for count in blocks:
        before = node
        for _ in range(count):
            inner = builder.add(Op.ReLU, [builder.batch_norm(builder.conv(node, 8, 3))])
            node = builder.add(Op.Add, [node, builder.hard_swish(builder.conv(inner, 8, 5, groups=2))])
        node = builder.add(Op.Concat, [before, node], (16, 16, 16))
        node = builder.conv(node, 8, 1)
    builder.output(builder.linear(builder.mean(node), 10))
    return builder.build()


@dataclass
class Opened:
    """A page and everything that it complained about or asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def count(self, selector):
        return self.page.locator(selector).count()

    def search(self, query):
        self.page.fill("#query", query)
        self.page.wait_for_function("q => document.getElementById('found').value || !q", arg=query)


@pytest.fixture(scope="module")
def browser():
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if executable is None or sync_playwright is None:
        missing = "playwright is not installed" if executable else f"no browser found ({', '.join(NAMES)})"
        if os.environ.get("AIOP_REQUIRE_BROWSER") == "1":
            pytest.fail(f"AIOP_REQUIRE_BROWSER=1, but {missing}")
        pytest.skip(missing)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def open_page(browser, tmp_path):
    contexts = []

    def open_it(graph=None, *, scheme="light", width=1200, **options):
        file = tmp_path / "net.html"
        draw(network() if graph is None else graph, file, **{"title": "a net", **options})
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("dialog", lambda dialog: (opened.complaints.append(dialog.message), dialog.dismiss()))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.goto(file.as_uri())
        assert not opened.complaints
        assert opened.requests == [file.as_uri()]
        return opened

    yield open_it
    for context in contexts:
        context.close()


def colours(picture):
    """How many different colours a PNG's pixels have."""
    return len(Image.open(io.BytesIO(picture)).convert("RGB").getcolors(1 << 24))


def fills(page):
    return set(page.eval_on_selector_all(".row > rect", "all => all.map(r => getComputedStyle(r).fill)"))


def test_it_opens_with_repeats_folded_and_is_no_blank_page(open_page):
    opened = open_page()
    assert opened.page.title() == "a net"
    assert "44 nodes" in opened.page.text_content("#summary")
    assert opened.page.locator(".times").all_text_contents() == ["× 3", "× 2"]
    assert opened.count(".block") == 4
    assert colours(opened.page.screenshot()) > 20
    assert "convolution" in opened.page.text_content("#legend")


@pytest.mark.parametrize("expand", [False, True])
def test_the_script_places_everything_where_python_does(open_page, expand):
    graph = network((40, 3))
    opened = open_page(graph, expand=expand)
    outline = find_blocks(graph)
    piece = place(outline, everything_open() if expand else repeats_closed(outline.root))
    shown = opened.page.evaluate(
        "() => [scene.boxes.map(b => [b.x + scene.left, b.y, b.width, b.height]), scene.lines.map(n => n.points)]"
    )
    assert len(shown[0]) == len(piece.boxes)
    assert np.allclose(shown[0], [(b.x, b.y, b.width, b.height) for b in piece.boxes])
    theirs = sorted([[x + piece.left, y] for x, y in points] for points in shown[1])
    ours = sorted([list(p) for p in line.points] for line in piece.lines)
    assert [len(points) for points in theirs] == [len(points) for points in ours]
    assert all(np.allclose(a, b) for a, b in zip(theirs, ours, strict=True))
    assert all(path(line) for line in piece.lines)


def test_search_finds_marks_and_steps(open_page):
    opened = open_page()
    opened.search("conv 5x5")
    assert opened.page.text_content("#found") == "5 found"
    assert opened.count(".row.hit") == 1
    assert opened.count(".block.hit") == 1, "the closed block holds two of them"
    opened.page.keyboard.press("Enter")
    assert opened.page.text_content("#found") == "1 / 2"
    assert "Conv 5×5 g2" in opened.page.text_content(".row.current")
    opened.page.keyboard.press("Enter")
    assert opened.count(".row.hit") == 2, "the closed block was opened"
    opened.page.keyboard.press("Shift+Enter")
    assert opened.page.text_content("#found") == "1 / 2"
    middle = opened.page.locator(".row.current").bounding_box()
    assert abs(middle["x"] + middle["width"] / 2 - 600) < 60
    opened.page.keyboard.press("Escape")
    assert opened.count(".hit") == 0


@pytest.mark.parametrize(("query", "found"), [("#12", 1), ("16×16×8 add", 5), ("Conv 1×1", 2), ("nothing", 0)])
def test_search_by_number_shape_and_operation(open_page, query, found):
    opened = open_page()
    opened.search(query)
    assert opened.page.text_content("#found") == f"{found} found"
    opened.page.keyboard.press("Enter")
    assert opened.count(".row.current") == min(found, 1)


def test_a_node_in_a_later_copy_is_shown_itself(open_page):
    opened = open_page()
    opened.search("#18")
    opened.page.keyboard.press("Enter")
    opened.page.locator(".row.current").hover()
    assert "#18" in opened.page.text_content("#card h2")


def test_blocks_open_and_close_where_they_are(open_page):
    opened = open_page()
    rows = opened.count(".row")
    closed = opened.page.locator(".block[aria-expanded=false]")
    before = closed.bounding_box()
    closed.click(position={"x": 60, "y": 34})
    assert opened.count(".row") > rows
    assert opened.count(".block[aria-expanded=false]") == 0
    frame = opened.page.locator(".block").last.bounding_box()
    assert abs(frame["x"] - before["x"]) < 30
    assert abs(frame["y"] - before["y"]) < 2
    opened.page.locator(".block").last.click(position={"x": 6, "y": 10})
    assert opened.count(".row") == rows
    opened.page.locator(".times").first.click()
    assert opened.count(".block") == 4 + 3
    opened.page.locator(".times").first.click()
    assert opened.count(".block") == 4


def test_everything_opens_folds_and_collapses(open_page):
    opened = open_page()
    folded = opened.count(".row")
    opened.page.click("#expand")
    assert opened.count(".row") == 44
    opened.page.click("#fold")
    assert opened.count(".row") == folded
    opened.page.click("#collapse")
    assert opened.count(".row") < folded
    opened.page.locator("#canvas").press("e")
    assert opened.count(".row") == 44


def test_blocks_open_by_keyboard(open_page):
    opened = open_page()
    rows = opened.count(".row")
    opened.page.locator(".block[aria-expanded=false]").focus()
    opened.page.keyboard.press("Enter")
    assert opened.count(".row") > rows


FOCUSED = "document.activeElement.getAttribute('aria-label')"


def test_the_focus_stays_where_the_keyboard_was(open_page):
    opened = open_page()

    def press(key):
        opened.page.keyboard.press(key)
        return opened.page.evaluate(FOCUSED)

    rows = opened.count(".row")
    opened.page.locator(".block[aria-expanded=false]").focus()
    assert press("Enter").startswith("Block A")
    assert opened.count(".row") > rows
    assert press("Enter").startswith("Block A")
    assert opened.count(".row") == rows
    opened.page.locator(".times").first.focus()
    assert press("Enter") == "Fold all 3 copies"
    assert press(" ") == "Show all 3 copies"
    assert press("c").startswith("Computation graph"), "where it was is no longer drawn"


def boxes(opened, selector):
    return [element.bounding_box() for element in opened.page.locator(selector).all()]


def apart(one, other):
    return min(one["x"] + one["width"], other["x"] + other["width"]) <= max(one["x"], other["x"]) or min(
        one["y"] + one["height"], other["y"] + other["height"]
    ) <= max(one["y"], other["y"])


def test_a_narrow_window_cuts_nothing_off(open_page):
    opened = open_page(width=390, title="zoo:a_network_with_a_name_that_is_much_longer_than_a_telephone_is_wide")
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 390
    for box in boxes(opened, "header *:visible:not(option), .row, .block, #legend"):
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    (legend,) = boxes(opened, "#legend")
    assert legend["y"] + legend["height"] <= 800
    assert all(apart(legend, box) for box in boxes(opened, ".row, .block"))
    assert not opened.page.locator("#keys").is_visible()
    (widest, *_) = sorted(boxes(opened, ".block"), key=lambda box: -box["width"])
    assert widest["width"] > 160, "the legend takes no room from the graph"
    opened.page.click("#legend summary")
    assert opened.page.get_by_text("convolution").is_visible()
    opened.page.set_viewport_size({"width": 1200, "height": 800})
    opened.page.wait_for_function("() => document.getElementById('keys').offsetHeight > 0")
    assert opened.page.get_by_text("convolution").is_visible()
    opened.page.set_viewport_size({"width": 390, "height": 800})
    opened.page.wait_for_function("() => !document.getElementById('legend').open")


def test_the_number_of_copies_leaves_the_name_alone(open_page):
    opened = open_page(network((280, 2)))
    assert opened.page.locator(".times").first.text_content() == "× 280"
    (chip, *_), (number, *_) = boxes(opened, ".times rect"), boxes(opened, ".times text")
    names, costs = boxes(opened, ".block .name"), boxes(opened, ".block .shape")
    assert all(apart(chip, words) for words in names + costs)
    assert chip["x"] < number["x"]
    assert number["x"] + number["width"] < chip["x"] + chip["width"]


def test_heat_and_given_values_colour_the_nodes(open_page):
    graph = network()
    values = np.linspace(-1, 1, len(graph))
    opened = open_page(graph, heat={HOSTILE: values})
    kinds = fills(opened.page)
    opened.page.select_option("#colour", "MACs")
    macs = fills(opened.page)
    assert not kinds & macs
    assert "MACs" in opened.page.text_content("#legend")
    opened.page.select_option("#colour", HOSTILE)
    assert fills(opened.page) != macs
    assert opened.page.text_content("#legend").startswith(HOSTILE)
    assert not opened.complaints


def test_contributions_are_warm_and_cold_and_a_closed_block_counts_as_a_whole(open_page):
    graph = network()
    outline = find_blocks(graph)
    joins = np.flatnonzero(graph.op == Op.Add)
    values = np.zeros(len(graph))
    values[joins], values[1] = -0.5, 2.0
    copies = [item for item in outline.root.walk() if item.name == "A" and item.kind == "block"]
    whole = {"gain": {(copy.lo, copy.hi): -4.0 for copy in copies}}
    opened = open_page(graph, heat={"gain": values}, whole=whole, colour="gain")
    assert opened.page.input_value("#colour") == "gain"

    def fill(row):
        colour = row.evaluate("r => getComputedStyle(r.querySelector('rect:last-of-type')).fill")
        red, _, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
        return red, blue

    warm = fill(opened.page.locator(".row", has_text="Conv 7×7"))
    cold = fill(opened.page.locator(".row", has_text="Add").first)
    block = opened.page.locator(".block[aria-expanded=false]")
    coldest = fill(block)
    assert warm[0] > warm[1]
    assert cold[0] < cold[1]
    assert sum(coldest) < sum(cold), "two blocks of -4 are the darkest"
    legend = opened.page.text_content("#legend")
    assert "-8" in legend
    assert "a closed block as a whole" in legend
    block.hover(position={"x": 60, "y": 34})
    card = opened.page.locator("#card")
    told = dict(zip(card.locator("dt").all_text_contents(), card.locator("dd").all_text_contents(), strict=True))
    assert told["gain"] == "-8", "and no share of a sum in which signs cancel"


def test_pointing_tells_shapes_and_costs(open_page):
    opened = open_page()
    opened.page.locator(".row", has_text="Conv 7×7").hover()
    card = opened.page.locator("#card")
    told = dict(zip(card.locator("dt").all_text_contents(), card.locator("dd").all_text_contents(), strict=True))
    assert (told["in"], told["out"]) == ("32×32×3", "16×16×8")
    assert (told["kernel"], told["stride"], told["bias"]) == ("7×7", "2×2", "no")
    assert told["MACs"].startswith("301 k (")
    assert told["parameters"].startswith("1.18 k (")
    opened.page.locator(".row", has_text="Conv 5×5").first.hover()
    assert "3 nodes" in card.text_content()
    assert "groups" in card.text_content()
    opened.page.locator(".block[aria-expanded=false]").hover(position={"x": 60, "y": 34})
    assert card.locator("h2").text_content() == "Block A × 2"
    opened.page.mouse.move(5, 400)
    assert not card.is_visible()


def test_wheel_drag_and_fit_move_the_view(open_page):
    opened = open_page()

    def view():
        return opened.page.get_attribute("#view", "transform")

    start = view()
    opened.page.mouse.move(600, 400)
    opened.page.mouse.wheel(0, -400)
    opened.page.wait_for_function("old => document.getElementById('view').getAttribute('transform') !== old", arg=start)
    zoomed = view()
    opened.page.mouse.down()
    opened.page.mouse.move(700, 450, steps=3)
    opened.page.mouse.up()
    assert view() != zoomed
    assert opened.count(".block") == 4, "dragging opens nothing"
    opened.page.locator("#canvas").press("f")
    assert view() == start


def test_it_is_dark_where_the_reader_wants_it_so(open_page):
    light, dark = (open_page(scheme=scheme).page for scheme in ("light", "dark"))
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert light.evaluate(background) != dark.evaluate(background)
    assert not fills(light) & fills(dark)


def test_hostile_names_are_only_shown(open_page):
    opened = open_page(title=HOSTILE)
    assert opened.page.text_content("h1") == HOSTILE
    assert opened.page.title() == HOSTILE
    assert opened.count("img") == 0


def test_two_thousand_nodes_answer_quickly(open_page):
    graph = network((145, 145))
    assert len(graph) > 2000
    opened = open_page(graph)
    spent = opened.page.evaluate(
        "() => { const t = performance.now(); commands.expand(); return performance.now() - t; }"
    )
    assert opened.count(".row") == len(graph)
    assert spent < 3000
