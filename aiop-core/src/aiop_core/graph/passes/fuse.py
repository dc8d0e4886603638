"""What networks and exporters spell out becomes the operation it is.

All readers apply :func:`fuse`, so that SiLU is ``Swish`` whether a file has its name or
x · sigmoid(x). Readers of files whose batch normalisation may be two vectors apply
:func:`fuse_affine`, too.
"""

from __future__ import annotations

from aiop_core.graph.model import Graph
from aiop_core.graph.ops import WEIGHTED, Op
from aiop_core.graph.passes.draft import Draft

_ELEMENTWISE = (Op.Add, Op.Sub, Op.Mul, Op.Div, Op.Where, Op.Max, Op.Min, Op.Pow)


def fuse(graph: Graph) -> Graph:
    """Activations, normalisations, biases and broadcasts that are spelt out, under their own names."""
    draft = Draft(graph)
    for fuse_in in (_tiles, _norms, _norm_affine, _biases, _gates):
        fuse_in(draft)
    return draft.graph() if draft.changed else graph


def fuse_affine(graph: Graph) -> Graph:
    """A vector of scales and a vector of shifts are a ``BatchNorm``.

    What the two hold may be scale, shift, mean and variance (four vectors, of which two are
    parameters), or three of them, or two that an exporter made of the four.
    """
    draft = Draft(graph)
    for shift in draft.nodes(Op.Add, Op.Sub):
        scale = draft.only_input(shift, Op.Mul)
        channels = draft.out[shift][2]
        if scale is None or len(draft.inputs[scale]) != 1:
            continue
        vectors = [draft.params[node] / channels for node in (scale, shift)]
        if not all(v in (1, 2) for v in vectors) or not (draft.bias[scale] and draft.bias[shift]):
            continue
        draft.op[shift], draft.bias[shift] = Op.BatchNorm, False
        draft.params[shift] = channels * (1 if sum(vectors) == 3 else 2)
        draft.seen[shift] = draft.seen[scale]
        draft.read(shift, draft.inputs[scale])
    return draft.graph() if draft.changed else graph


def _tiles(draft: Draft) -> None:
    """Elementwise operations repeat the smaller side by themselves."""
    for node in list(draft.nodes(Op.Tile)):
        (source,) = draft.inputs[node]
        for reader in list(draft.readers[node]):
            if draft.op[reader] in _ELEMENTWISE and len(draft.inputs[reader]) > 1:
                draft.read(reader, [source if i == node else i for i in draft.inputs[reader]])
                draft.see_smallest(reader)


def _biases(draft: Draft) -> None:
    """A vector added to what a weighted node gives is its bias."""
    for node in list(draft.nodes(Op.Add)):
        source = draft.only_input(node, *WEIGHTED)
        if source is None or draft.bias[source] or not draft.bias[node]:
            continue
        if draft.out[source][2] != draft.out[node][2]:
            continue
        draft.bias[source] = True
        draft.params[source] += draft.params[node]
        draft.bypass(node)


def _gates(draft: Draft) -> None:
    """Swish is x · sigmoid(x); GeLU is x · erf(x), or x · tanh(x + x³), up to constants."""
    for node in draft.nodes(Op.Mul):
        for x, gate in _both_ways(draft.inputs[node]):
            if draft.op[gate] is Op.Sigmoid and draft.inputs[gate] == [x]:
                named = Op.Swish
            elif (draft.op[gate] is Op.Erf and draft.inputs[gate] == [x]) or _is_tanh_of_cubic(draft, gate, x):
                named = Op.GeLU
            else:
                continue
            draft.op[node] = named
            draft.read(node, [x])
            draft.seen[node] = draft.out[node]
            break


def _both_ways(inputs: list[int]) -> list[tuple[int, int]]:
    return [(inputs[0], inputs[1]), (inputs[1], inputs[0])] if len(inputs) == 2 else []


def _is_tanh_of_cubic(draft: Draft, gate: int, x: int) -> bool:
    """Whether ``gate`` is tanh(a · (x + b · x³))."""
    if draft.op[gate] is not Op.Tanh or len(draft.inputs[gate]) != 1:
        return False
    total = draft.inputs[gate][0]
    if draft.op[total] is Op.Add:
        return any(one == x and _is_power(draft, cube, x) for one, cube in _both_ways(draft.inputs[total]))
    # x · (1 + b · x²)
    return draft.op[total] is Op.Mul and any(
        one == x and _is_power(draft, square, x) for one, square in _both_ways(draft.inputs[total])
    )


def _is_power(draft: Draft, node: int, x: int) -> bool:
    """Whether ``node`` is x², or x³, by name or as a product."""
    inputs = draft.inputs[node]
    if draft.op[node] is Op.Pow or (draft.op[node] is Op.Mul and len(inputs) == 1):
        return inputs == [x] and draft.params[node] == 0
    return draft.op[node] is Op.Mul and any(
        one == x and _is_power(draft, square, x) for one, square in _both_ways(inputs)
    )


def _norms(draft: Draft) -> None:
    """(x - mean) / √variance, or x / √mean(x²): ``LayerNorm`` over the channels of a place, else ``GroupNorm``."""
    for node in draft.nodes(Op.Div, Op.Mul):
        for numerator, factor in _both_ways(draft.inputs[node]):
            reciprocal = draft.op[factor] is Op.Div and len(draft.inputs[factor]) == 1
            root = draft.inputs[factor][0] if reciprocal else factor
            if draft.op[root] is not Op.Sqrt or len(draft.inputs[root]) != 1:
                continue
            variance = draft.inputs[root][0]
            x = _normalised(draft, numerator, variance)
            if x is not None:
                one_place = draft.out[variance] == (*draft.out[x][:2], 1)
                draft.op[node] = Op.LayerNorm if one_place else Op.GroupNorm
                draft.read(node, [x])
                draft.seen[node] = draft.out[node]
                break


def _normalised(draft: Draft, numerator: int, variance: int) -> int | None:
    """The x of (x - mean(x)) / √variance(x), or of x / √mean(x²)."""
    x = numerator
    if draft.op[numerator] is Op.Sub:
        ways = _both_ways(draft.inputs[numerator])
        centred = [
            one
            for one, mean in ways
            if draft.op[mean] is Op.Mean and draft.inputs[mean] == [one] and draft.out[mean] == draft.out[variance]
        ]
        if not centred:
            return None
        x = centred[0]
    if draft.op[variance] is Op.Var:
        return x if draft.inputs[variance] == [x] else None
    if draft.op[variance] is not Op.Mean or len(draft.inputs[variance]) != 1:
        return None
    return x if _is_power(draft, draft.inputs[variance][0], numerator) else None


def _norm_affine(draft: Draft) -> None:
    """Scale and shift that follow a normalisation without its own belong to it."""
    for op in (Op.Mul, Op.Add):
        for node in list(draft.nodes(op)):
            norm = draft.only_input(node, Op.LayerNorm, Op.GroupNorm)
            channels = draft.out[node][2]
            before = 0 if op is Op.Mul else channels
            if norm is not None and draft.bias[node] and draft.params[norm] == before:
                draft.params[norm] += draft.params[node]
                draft.bypass(node)
