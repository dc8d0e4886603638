"""The network's input: which placeholder it is, its shape, and where its channels are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aiop_core.errors import GraphError
from aiop_core.graph.recorder import Shape
from aiop_core.graph.tensorflow.library import Node


def find_input(nodes: Mapping[str, Node], source: str, name: str | None) -> Node:
    """The placeholder that something reads.

    Raises:
        GraphError: if there is none, several of which none is chosen, or not the one that is.
    """
    read = {other for node in nodes.values() for other, _ in node.inputs}
    found = [node for node in nodes.values() if node.op == "Placeholder" and node.name in read]
    defaults = [node for node in nodes.values() if node.op == "PlaceholderWithDefault" and node.attrs.get("shape")]
    found = found or defaults
    listed = ", ".join(f"'{node.name}' {_shown(_declared(node))}" for node in found)
    if name is not None:
        chosen = [node for node in found if node.name == name.removesuffix(":0")]
        if not chosen:
            raise GraphError(f"{source} has no input '{name}'; its inputs are {listed or 'none'}")
        return chosen[0]
    if not found:
        raise GraphError(f"{source} has no input: no placeholder that any node reads; give a network's graph")
    if len(found) > 1:
        raise GraphError(f"{source} has {len(found)} inputs: {listed}; choose one by its name (--input-name)")
    return found[0]


def _declared(node: Node) -> Shape | None:
    """The shape with -1 for open sizes; ``None`` if not even the number of axes is known."""
    shape = node.attrs.get("shape")
    if shape is None or (shape == () and "_output_shapes" in node.attrs):
        noted = node.attrs.get("_output_shapes") or [None]
        shape = noted[0]
    return None if shape is None else tuple(shape)


def _shown(shape: Shape | None) -> str:
    return "(any)" if shape is None else "(" + ", ".join("?" if n < 0 else str(n) for n in shape) + ")"


def input_shape_of(node: Node, given: Sequence[int] | None, source: str) -> Shape:
    """The input's shape with a batch of one.

    Raises:
        GraphError: if the file leaves sizes open and none are given, or they do not fit.
    """
    declared = _declared(node)
    if given is None:
        if declared is None or any(n < 0 for n in declared[1:]):
            raise GraphError(
                f"{source}: the input '{node.name}' has the shape {_shown(declared)}; "
                "give its sizes without the batch axis: --input-shape 3,224,224"
            )
        return (1, *declared[1:]) if declared else ()
    own = tuple(int(n) for n in given)
    channels_first = (own[1], own[2], own[0]) if len(own) == 3 else own
    for shape in (own, channels_first):
        if declared is None or _fits(shape, declared):
            return (1, *shape)
    raise GraphError(
        f"{source}: the input '{node.name}' has the shape {_shown(declared)}, which --input-shape "
        f"{','.join(map(str, own))} does not fit; "
        + ("give C,H,W" if declared and -1 in declared[1:] else "the file fixes its sizes: leave the option out")
    )


def _fits(shape: Shape, declared: Shape) -> bool:
    return len(shape) == len(declared) - 1 and all(d in (-1, n) for n, d in zip(shape, declared[1:], strict=True))


def channel_axis(order: Sequence[Node]) -> Callable[[Shape], int]:
    """Where the input's channels are: first if the first layout that is met without a transposition says so."""
    first = False
    for node in order:
        layout = node.attrs.get("data_format")
        if node.op == "Transpose" or layout:
            first = node.op != "Transpose" and str(layout).startswith("NC")
            break
    return lambda shape: 1 if first and len(shape) > 3 else max(len(shape) - 1, 0)
