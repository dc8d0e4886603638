"""Drawing a graph as a picture, a page or Graphviz text; ``draw`` writes whichever the path's suffix names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aiop_core.errors import GraphError
from aiop_core.graph.draw.scene import KIND_COLOURS, Scene, Wholes
from aiop_core.graph.model import Graph

__all__ = ["SUFFIXES", "Scene", "draw"]

SUFFIXES = (".svg", ".png", ".html", ".dot")
"""What ``draw`` can write."""


def draw(
    graph: Graph,
    path: Path,
    *,
    title: str | None = None,
    expand: bool = False,
    heat: Mapping[str, np.ndarray[Any, Any]] | None = None,
    colour: str = KIND_COLOURS,
    whole: Wholes | None = None,
    note: str = "",
) -> None:
    """Draw a graph into a file, in one piece; an older drawing there is replaced.

    Args:
        graph: what is drawn.
        path: ends in .svg, .png, .html or .dot.
        title: shown above the drawing; the file's name by default.
        expand: draw every node instead of each kind of block once.
        heat: values by name, one for each node, that the page can show as colours.
        colour: ``kind``, ``MACs``, ``parameters`` or a name in ``heat``.
        whole: values of boxes that are not the sum of their nodes', see :class:`Scene`.
        note: shown with the graph's size below the title, such as a predicted value.

    Raises:
        GraphError: if the suffix is none of these, the file cannot be written, values do not
            fit the graph, or a .png is asked for and cannot be rendered.
    """
    check_path(path)
    scene = Scene(graph, path.stem if title is None else title, heat or {}, colour, whole or {}, note)
    content = _render(scene, path.suffix.lower(), expand=expand)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise GraphError(f"{path} cannot be written: {error.strerror}") from error


def check_path(path: Path) -> None:
    """Whether ``draw`` can write there, before anything slow is done.

    Raises:
        GraphError: if the suffix is not one of ``SUFFIXES``, or its folder does not exist.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise GraphError(f"{path} names no kind of drawing; end it with {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if not path.parent.is_dir():
        raise GraphError(f"{path} cannot be written: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise GraphError(f"{path} cannot be written: it is a folder; name a file")


def _render(scene: Scene, suffix: str, *, expand: bool) -> bytes:
    if suffix == ".html":
        from aiop_core.graph.draw.html import html

        return html(scene, expand=expand).encode()
    if suffix == ".dot":
        from aiop_core.graph.draw.dot import dot

        return dot(scene).encode()
    from aiop_core.graph.draw.svg import svg

    text = svg(scene, expand=expand)
    if suffix == ".svg":
        return text.encode()
    from aiop_core.graph.draw.png import png

    return png(text)
