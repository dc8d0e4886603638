"""A scene as Graphviz text: every node and edge, blocks as clusters."""

from __future__ import annotations

from aiop_core.graph.draw.blocks import Item
from aiop_core.graph.draw.kinds import KINDS, caption
from aiop_core.graph.draw.scene import KIND_COLOURS, Scene, heat_colour


def dot(scene: Scene) -> str:
    """The graph for ``dot -Tpdf`` and other tools of Graphviz."""
    lines = [
        f"digraph {_quoted(scene.title)} {{",
        '  node [shape=box, style="rounded,filled", color="#8b96a5", fontname="sans-serif", fontsize=10];',
        '  edge [color="#7d8896"];',
    ]
    values = None if scene.colour == KIND_COLOURS else scene.values[scene.colour]
    for node in range(len(scene.graph)):
        words, shape = caption(scene.graph, node)
        fill = KINDS[scene.kinds[node]].light
        if values is not None:
            fill = "#{:02x}{:02x}{:02x}".format(*heat_colour(float(values[node]), float(abs(values).max())))
        text = ', fontcolor="#ffffff"' if scene.kinds[node] == "io" and values is None else ""
        label = _quoted(f"{words}\n{shape}" if shape else words)
        lines.append(f'  n{node} [label={label}, fillcolor="{fill}"{text}];')
    lines += [f"  n{source} -> n{target};" for source, target in scene.graph.edges.T.tolist()]
    lines += _clusters(scene, scene.outline.root.children, "  ")
    return "\n".join([*lines, "}\n"])


def _clusters(scene: Scene, items: tuple[Item, ...], indent: str) -> list[str]:
    lines = []
    for item in items:
        inner = _clusters(scene, item.children, indent + "  ")
        if item.kind == "run":
            lines += _clusters(scene, item.children, indent)
        elif item.kind == "block":
            nodes = " ".join(f"n{scene.outline.order[p]};" for p in range(item.lo, item.hi))
            name = f"cluster_{item.lo}_{item.hi}"
            lines += [f"{indent}subgraph {name} {{", f'{indent}  label="{item.name}"; color="#b4bdc9"; {nodes}']
            lines += [*inner, f"{indent}}}"]
    return lines


def _quoted(text: str) -> str:
    r"""A Graphviz string: quotes and backslashes escaped, newlines as ``\n``."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + "".join(c for c in escaped if c.isprintable()) + '"'
