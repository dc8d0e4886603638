"""A scene as one page that works offline: the graph as data, and a script that draws it."""

from __future__ import annotations

import json
from html import escape
from importlib import resources
from string import Template
from typing import Any

from aiop_core.graph.draw import layout
from aiop_core.graph.draw.blocks import Item, Outline
from aiop_core.graph.draw.grid import make_grid
from aiop_core.graph.draw.kinds import KINDS, caption
from aiop_core.graph.draw.layout import IsOpen, repeats_closed
from aiop_core.graph.draw.scene import COOL, HEAT, Scene

_SIZES = """
BOX_WIDTH ROW_HEIGHT CLOSED_HEIGHT ROW_GAP WIDE_GAP LANE_GAP TRACK_GAP STRAND_GAP BUNDLE PAD HEADER
FOLD_HEIGHT FOLD_RATIO
""".split()
"""The constants of ``layout`` that the script uses, too."""


def html(scene: Scene, *, expand: bool = False) -> str:
    """The page; with ``expand`` every node is drawn when it opens, else repeats of a block once."""
    folder = resources.files(__package__)
    style = Template((folder / "page.css").read_text(encoding="utf-8"))
    page = Template((folder / "page.html").read_text(encoding="utf-8"))
    light, dark = (
        "".join(f"  --{kind}: {getattr(entry, theme)};\n" for kind, entry in KINDS.items())
        for theme in ("light", "dark")
    )
    return page.substitute(
        title=escape(scene.title),
        summary=escape(scene.summary),
        style=style.substitute(light=light, dark=dark),
        data=_for_script(_data(scene, expand=expand)),
        script=(folder / "page.js").read_text(encoding="utf-8"),
    )


def _for_script(value: Any) -> str:
    """JSON that cannot end the script element that holds it, whatever texts are in it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _data(scene: Scene, *, expand: bool) -> dict[str, Any]:
    """All that the script needs; nodes in columns, items as a tree."""
    graph, outline = scene.graph, scene.outline
    return {
        "size": {name: getattr(layout, name) for name in _SIZES},
        "kinds": {kind: KINDS[kind].title for kind in scene.present},
        "ramps": {"heat": HEAT, "cool": COOL},
        "colour": scene.colour,
        "nodes": {
            "caption": [caption(graph, node) for node in range(len(graph))],
            "kind": scene.kinds,
            **{
                name: getattr(graph, name).tolist()
                for name in ("resolution", "kernel", "stride", "groups", "bias", "params")
            },
        },
        "values": {name: [_short(v) for v in values.tolist()] for name, values in scene.values.items()},
        "whole": {name: {f"{a}-{b}": _short(v) for (a, b), v in known.items()} for name, known in scene.whole.items()},
        "order": outline.order,
        "reads": outline.reads,
        "root": _item(outline, outline.root, repeats_closed(outline.root)),
        "expand": expand,
    }


def _short(value: float) -> float:
    """Six figures are enough for a colour and a card; whole numbers stay as they are."""
    return value if isinstance(value, int) else float(f"{value:.6g}")


def _item(outline: Outline, item: Item, is_open: IsOpen) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": item.kind, "lo": item.lo, "hi": item.hi}
    if item.kind == "stack":
        return entry
    grid = make_grid(outline, item)
    return entry | {
        "name": item.name,
        "open": is_open(item),
        "children": [_item(outline, child, is_open) for child in item.children],
        "cells": grid.cells,
        "rows": grid.rows,
        "routes": [(r.source, r.target, r.lane, r.track) for r in grid.routes],
        "tracks": grid.tracks,
    }
