"""What Keras spells out in TensorFlow's operations, under its own name."""

from __future__ import annotations

import math

from aiop_core.graph.model import Graph
from aiop_core.graph.ops import Op
from aiop_core.graph.passes.draft import Draft


def fuse_spelling(graph: Graph) -> Graph:
    """Normalisations by mean and variance, PReLU, and biases of projections that are split into heads."""
    draft = Draft(graph)
    for fuse_in in (_normalisations, _head_biases, _prelus):
        fuse_in(draft)
    return draft.graph() if draft.changed else graph


def _normalisations(draft: Draft) -> None:
    """Recognise x · i + (β - mean(x) · i) with i = γ / √variance(x): LayerNorm, or GroupNorm over pixels, too."""
    for node in list(draft.nodes(Op.Add)):
        for scaled, shift in _pairs(draft, node):
            if draft.op[scaled] is not Op.Mul or draft.op[shift] not in (Op.Add, Op.Sub, Op.Mul):
                continue
            shifted = shift if draft.op[shift] is Op.Mul else _only(draft, shift)
            if shifted is None or draft.op[shifted] is not Op.Mul:
                continue
            for x, inverse in _pairs(draft, scaled):
                others = [i for i in draft.inputs[shifted] if i != inverse]
                if inverse not in draft.inputs[shifted] or len(others) != 1 or not _is_mean(draft, others[0], x):
                    continue
                root = inverse if draft.op[inverse] is Op.Sqrt else _only(draft, inverse)
                if root is None or not _is_deviation(draft, root, x, others[0]):
                    continue
                over_pixels = draft.out[others[0]][:2] != draft.out[x][:2]
                held = {inverse, shift} - {root, shifted}
                draft.op[node] = Op.GroupNorm if over_pixels else Op.LayerNorm
                draft.params[node] = sum(draft.params[n] for n in held)
                draft.seen[node] = draft.out[node] = draft.out[x]
                draft.read(node, [x])
                break


def _pairs(draft: Draft, node: int) -> list[tuple[int, int]]:
    """Both orders of a node's two inputs."""
    inputs = draft.inputs[node]
    return [(inputs[0], inputs[1]), (inputs[1], inputs[0])] if len(inputs) == 2 else []


def _only(draft: Draft, node: int) -> int | None:
    return draft.inputs[node][0] if len(draft.inputs[node]) == 1 else None


def _is_mean(draft: Draft, node: int, x: int) -> bool:
    return draft.op[node] is Op.Mean and draft.inputs[node] == [x]


def _is_deviation(draft: Draft, root: int, x: int, mean: int) -> bool:
    """Whether ``root`` is √mean((x - mean)²)."""
    node: int | None = root
    for op in (Op.Sqrt, Op.Mean, Op.Pow):
        if node is None or draft.op[node] is not op:
            return False
        node = _only(draft, node)
    return node is not None and draft.op[node] is Op.Sub and set(draft.inputs[node]) == {x, mean}


def _head_biases(draft: Draft) -> None:
    """A bias for each head and channel, added to a matrix product of as many columns."""
    for node in list(draft.nodes(Op.Add)):
        source = draft.only_input(node, Op.MatMul)
        if source is None or draft.bias[source] or not draft.params[source]:
            continue
        if draft.params[node] == draft.out[source][2] and math.prod(draft.out[node]) == math.prod(draft.out[source]):
            draft.bias[source] = True
            draft.params[source] += draft.params[node]
            draft.bypass(node)


def _prelus(draft: Draft) -> None:
    """ReLU(x) + α · ReLU(-x)."""
    for node in list(draft.nodes(Op.Add)):
        for positive, negative in _pairs(draft, node):
            turned = _only(draft, negative)
            if (
                draft.op[positive] is Op.ReLU
                and draft.op[negative] is Op.Mul
                and draft.params[negative]
                and turned is not None
                and draft.op[turned] is Op.ReLU
                and draft.inputs[turned] == draft.inputs[positive]
            ):
                draft.op[node], draft.params[node] = Op.PReLU, draft.params[negative]
                draft.seen[node] = draft.out[node]
                draft.read(node, draft.inputs[positive])
                break
