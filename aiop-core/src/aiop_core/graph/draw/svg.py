"""A scene as one SVG text: everything that a reader of paper or a slide needs is on it."""

from __future__ import annotations

from html import escape

from aiop_core.graph.draw.kinds import KINDS, amount, caption, times
from aiop_core.graph.draw.layout import (
    BOX_WIDTH,
    ROW_HEIGHT,
    Box,
    Line,
    everything_open,
    place,
    repeats_closed,
)
from aiop_core.graph.draw.scene import COOL, HEAT, KIND_COLOURS, Scene, heat_colour, is_dark

MARGIN, HEAD = 24, 84
FONTS = (
    "Inter,'Segoe UI',Roboto,'Helvetica Neue',Arial,'Noto Sans','Liberation Sans','DejaVu Sans',Cantarell,Ubuntu,"
    "FreeSans,sans-serif"
)
"""Families by name, since a renderer without a browser may know no generic one."""

_STYLE = (
    f"text{{font-family:{FONTS};font-size:11px;fill:#1c2430}}"
    + """
.title{font-size:20px;font-weight:600}.soft{fill:#5b6675}.shape{font-size:9.5px;fill:#3f4a59}
.name{font-weight:700}.on-dark{fill:#fff}
.frame{fill:#8592a6;fill-opacity:.05;stroke:#b4bdc9}.closed{fill:#fff;stroke:#8b96a5}
.line{fill:none;stroke:#7d8896;stroke-width:1.3}.quiet{stroke:#b3bcc8;stroke-width:1.1}
"""
)


def svg(scene: Scene, *, expand: bool = False) -> str:
    """Draw a scene; with ``expand`` every node, else repeats of a block only once."""
    piece = place(scene.outline, everything_open() if expand else repeats_closed(scene.outline.root))
    painter = _Painter(scene, piece.boxes)
    body = [painter.frame(box) for box in piece.boxes if box.is_open]
    body += [_line(line) for line in sorted(piece.lines, key=lambda line: not line.quiet)]
    body += [painter.box(box) for box in piece.boxes if not box.is_open]
    legend, legend_width = painter.legend(MARGIN, MARGIN + 54)
    width = max(piece.left + piece.right, legend_width, 12 * len(scene.title)) + 2 * MARGIN
    height = piece.height + HEAD + 2 * MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}">',
            f"<title>{_clean(scene.title)}</title><style>{_STYLE}</style>",
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 1L7 4L0 7z" fill="#7d8896"/></marker></defs>',
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
            f'<text class="title" x="{MARGIN}" y="{MARGIN + 16}">{_clean(scene.title)}</text>',
            f'<text class="soft" x="{MARGIN}" y="{MARGIN + 36}">{_clean(scene.summary)}</text>',
            *legend,
            f'<g transform="translate({MARGIN} {MARGIN + HEAD})">',
            *body,
            "</g></svg>\n",
        ]
    )


class _Painter:
    def __init__(self, scene: Scene, boxes: tuple[Box, ...]) -> None:
        self.scene = scene
        self.most = 0.0
        if scene.colour != KIND_COLOURS:
            self.most = max(abs(self._value(box, at)) for box in boxes if not box.is_open for at in _rows(box))

    def _value(self, box: Box, at: int | None) -> float:
        return self.scene.value(self.scene.colour, box, at)

    def fill(self, box: Box, at: int | None) -> tuple[str, bool]:
        """The colour of a box or of one of its rows, and whether text on it is white."""
        if self.scene.colour != KIND_COLOURS:
            colour = heat_colour(self._value(box, at), self.most)
            return "#{:02x}{:02x}{:02x}".format(*colour), is_dark(colour)
        if at is None:
            return "#fff", False
        kind = self.scene.kinds[self.scene.outline.order[at]]
        return KINDS[kind].light, kind in ("io",)

    def box(self, box: Box) -> str:
        """A stack, row by row, or a closed block."""
        if box.item.kind != "stack":
            return self._closed(box)
        parts = []
        for number, at in enumerate(_rows(box)):
            assert at is not None
            fill, white = self.fill(box, at)
            y = box.y + number * ROW_HEIGHT
            words, shape = caption(self.scene.graph, self.scene.outline.order[at])
            dark = " on-dark" if white else ""
            parts.append(_rect(box.x, y, box.width, ROW_HEIGHT - 1, fill, 'rx="3"'))
            parts.append(_text(box.x + 8, y + 13.5, words, dark.strip(), _squeeze(words, shape)))
            if shape:
                parts.append(_text(box.x + box.width - 8, y + 13.5, shape, f"shape{dark}", 'text-anchor="end"'))
            inner = [p - box.item.lo for p in self.scene.outline.reads[at] if box.item.lo <= p < at - 1]
            parts += [_bypass(box.x, box.y, source, number) for source in inner]
        return "".join(parts)

    def _closed(self, box: Box) -> str:
        fill, white = self.fill(box, None)
        dark = " on-dark" if white else ""
        pile = ""
        if box.copies > 1:
            pile = _rect(box.x + 4, box.y + 4, box.width, box.height, "#fff", 'class="closed" rx="5"')
        words, cost = self.headline(box)
        return (
            pile
            + f'<rect class="closed" x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}" '
            f'rx="5" style="fill:{fill}"/>'
            + _text(box.x + 10, box.y + 17, words, f"name{dark}")
            + _text(box.x + 10, box.y + 33, cost, f"shape{dark}")
            + _text(box.x + box.width - 10, box.y + 17, self.result(box), f"shape{dark}", 'text-anchor="end"')
        )

    def frame(self, box: Box) -> str:
        """The border and headline of an open block."""
        words, cost = self.headline(box)
        return (
            f'<rect class="frame" x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}" '
            'rx="7"/>'
            + _text(box.x + 10, box.y + 16, words, "name")
            + _text(box.x + box.width - 10, box.y + 16, cost, "shape", 'text-anchor="end"')
        )

    def result(self, box: Box) -> str:
        """The shape that a block gives."""
        last = self.scene.outline.order[box.item.hi - 1 + box.shifts[-1]]
        return times(self.scene.graph.resolution[last, [1, 3, 5]].tolist())

    def headline(self, box: Box) -> tuple[str, str]:
        """A block's name with how often it is repeated, and its size."""
        copies = len(box.item.children) if box.item.kind == "run" else box.copies
        nodes = self.scene.nodes(box)
        words = f"{box.item.name} × {copies}" if copies > 1 else box.item.name
        return words, f"{len(nodes)} nodes · {amount(self.scene.total('MACs', nodes))} MACs"

    def legend(self, x: float, y: float) -> tuple[list[str], float]:
        """What the colours mean, and how wide that is."""
        parts = []
        if self.scene.colour == KIND_COLOURS:
            for kind in self.scene.present:
                parts.append(_rect(x, y, 12, 12, KINDS[kind].light, 'rx="3"'))
                parts.append(_text(x + 17, y + 10, KINDS[kind].title, "soft"))
                x += 32 + 6.4 * len(KINDS[kind].title)
            return parts, x
        signed = any(self.scene.values[self.scene.colour] < 0)
        ramp = (*COOL[::-1], *HEAT) if signed else HEAT
        stops = "".join(
            f'<stop offset="{n / (len(ramp) - 1):.3f}" stop-color="rgb{colour}"/>' for n, colour in enumerate(ramp)
        )
        words = [
            f"{self.scene.colour}: {amount(-self.most) if signed else 0}",
            f"{amount(self.most)}    {self.scene.heat_note}",
        ]
        start = x + 7 * len(words[0]) + 8
        parts = [
            f'<defs><linearGradient id="heat">{stops}</linearGradient></defs>',
            _text(x, y + 10, words[0], "soft"),
            _rect(start, y, 160, 12, "url(#heat)", 'rx="3"'),
            _text(start + 168, y + 10, words[1], "soft"),
        ]
        return parts, start + 168 + 6.4 * len(words[1])


def _rows(box: Box) -> list[int] | list[None]:
    return list(range(box.item.lo, box.item.hi)) if box.item.kind == "stack" else [None]


def _squeeze(words: str, shape: str) -> str:
    """Keeps a long caption clear of its shape, whatever font draws it."""
    room, wanted = BOX_WIDTH - 24 - 6.1 * len(shape), 7 * len(words)
    return f'textLength="{room:.0f}" lengthAdjust="spacingAndGlyphs"' if wanted > room else ""


def path(line: Line) -> str:
    """The ``d`` of a line: straight along an axis, else an S that starts and ends vertically."""
    (x, y), *rest = line.points
    parts = [f"M{_n(x)} {_n(y)}"]
    for to_x, to_y in rest:
        if to_x in (x,) or to_y == y:
            parts.append(f"L{_n(to_x)} {_n(to_y)}")
        else:
            middle = (y + to_y) / 2
            parts.append(f"C{_n(x)} {_n(middle)} {_n(to_x)} {_n(middle)} {_n(to_x)} {_n(to_y)}")
        x, y = to_x, to_y
    return "".join(parts)


def _line(line: Line) -> str:
    quiet = " quiet" if line.quiet else ""
    return f'<path class="line{quiet}" d="{path(line)}"{_ARROW if line.arrow else ""}/>'


_ARROW = ' marker-end="url(#arrow)"'


def _bypass(x: float, y: float, source: int, target: int) -> str:
    """An arc beside a stack, from one of its rows to one that is not the next."""
    top, bottom = y + (source + 0.5) * ROW_HEIGHT, y + (target + 0.5) * ROW_HEIGHT
    side = _n(x - 12)
    curve = f"M{_n(x)} {_n(top)}C{side} {_n(top)} {side} {_n(bottom)} {_n(x)} {_n(bottom)}"
    return f'<path class="line quiet" d="{curve}"/>'


def _rect(x: float, y: float, width: float, height: float, fill: str, more: str = "") -> str:
    return f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{fill}" {more}/>'


def _text(x: float, y: float, words: str, style: str = "", more: str = "") -> str:
    named = f' class="{style.strip()}"' if style.strip() else ""
    return f'<text x="{_n(x)}" y="{_n(y)}"{named} {more}>{_clean(words)}</text>'


def _n(value: float) -> str:
    """A coordinate without needless digits."""
    return f"{value:.1f}".removesuffix(".0")


def _clean(words: str) -> str:
    """Escaped, and without the control characters that XML has no way to write."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words))
