"""One network, one graph: what frameworks write in different ways becomes the same.

``aiop graph diff`` compares canonical graphs. Unlike :func:`~aiop_core.graph.passes.fuse.fuse`
this changes what a reader would say about a module: batch normalisation disappears into the
convolution before it, as exporters fold it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from aiop_core.graph.model import Graph
from aiop_core.graph.ops import WEIGHTED, Op
from aiop_core.graph.passes.draft import Draft
from aiop_core.graph.passes.fuse import fuse, fuse_affine
from aiop_core.graph.passes.prune import prune

_WINDOWS = (Op.Conv, Op.Depthwise, Op.ConvTranspose, Op.Maxpool, Op.Avgpool)


def canonical(graph: Graph) -> Graph:
    """The graph that every framework's way of writing a network gives."""
    graph = fuse(prune(graph))
    graph = _rewrite(graph, _preprocessing)
    graph = fuse_affine(graph)
    return _rewrite(graph, _nothing, _paddings, _slices, _rolls, _concats, _batch_norms, _global_pools, _vectors)


def _rewrite(graph: Graph, *steps: Callable[[Draft], None]) -> Graph:
    draft = Draft(graph)
    for step in steps:
        step(draft)
    return draft.graph()


def _preprocessing(draft: Draft) -> None:
    """Arithmetic on the image itself is no part of the network."""
    for node in list(draft.nodes(Op.Add, Op.Sub, Op.Mul, Op.Div)):
        image = len(draft.inputs[node]) == 1 and draft.op[draft.inputs[node][0]] is Op.Input
        if image and draft.bias[node]:
            draft.bypass(node)


def _nothing(draft: Draft) -> None:
    """Identities, windows of one place, and what joins one tensor or pads with nothing."""
    for node in list(draft.nodes(Op.Identity, Op.Avgpool, Op.Maxpool, Op.Concat, Op.Paddings)):
        one = draft.kernel[node] == (1, 1) and draft.stride[node] == (1, 1)
        kept = draft.op[node] in (Op.Concat, Op.Paddings) and draft.seen[node] == draft.out[node]
        if len(draft.inputs[node]) == 1 and (draft.op[node] is Op.Identity or one or kept):
            draft.bypass(node)


def _paddings(draft: Draft) -> None:
    """Padding is part of the window that follows."""
    for node in reversed(list(draft.nodes(Op.Paddings))):
        same_channels = draft.seen[node][2] == draft.out[node][2]
        if same_channels and all(draft.op[reader] in _WINDOWS for reader in draft.readers[node]):
            for reader in draft.readers[node]:
                draft.seen[reader] = draft.seen[node]
            draft.bypass(node)


def _rolls(draft: Draft) -> None:
    """Two unequal parts of a map, joined again to as much as it was, are the map rolled along an axis."""
    for node in list(draft.nodes(Op.Concat)):
        parts = draft.inputs[node]
        wholes = {whole for part in parts for whole in draft.inputs[part]}
        if len(parts) != 2 or len(wholes) != 1 or any(draft.op[part] is not Op.Slice for part in parts):
            continue
        (whole,) = wholes
        sizes = [math.prod(draft.out[part]) for part in parts]
        same_channels = len({draft.out[n][2] for n in (node, whole, *parts)}) == 1
        if same_channels and sizes[0] != sizes[1] and sum(sizes) == math.prod(draft.out[whole]):
            draft.bypass(node, whole)


def _slices(draft: Draft) -> None:
    """A part of a part is a part."""
    for node in draft.nodes(Op.Slice):
        while (whole := draft.only_input(node, Op.Slice)) is not None:
            draft.seen[node] = draft.seen[whole]
            draft.read(node, draft.inputs[whole])


def _concats(draft: Draft) -> None:
    """A concatenation of concatenations along the channels is one."""
    for node in draft.nodes(Op.Concat):
        if not _joins_channels(draft, node):
            continue
        flat = []
        for source in draft.inputs[node]:
            inner = draft.op[source] is Op.Concat and _joins_channels(draft, source)
            flat += draft.inputs[source] if inner else [source]
        if flat != draft.inputs[node]:
            draft.read(node, flat)
            draft.seen[node] = draft.out[flat[0]]


def _joins_channels(draft: Draft, node: int) -> bool:
    return sum(draft.out[i][2] for i in draft.inputs[node]) == draft.out[node][2]


def _batch_norms(draft: Draft) -> None:
    """Batch normalisation after a weighted node is folded into it; others hold scale and shift."""
    for node in list(draft.nodes(Op.BatchNorm)):
        channels = draft.out[node][2]
        source = draft.only_input(node, *WEIGHTED)
        if source is None or draft.out[source][2] != channels or not draft.params[source]:
            draft.params[node] = 2 * channels
            continue
        if not draft.bias[source]:
            draft.bias[source] = True
            draft.params[source] += channels
        draft.bypass(node)


def _global_pools(draft: Draft) -> None:
    """Pooling over everything is a mean, or a maximum."""
    for node in draft.nodes(Op.Avgpool, Op.Maxpool):
        if draft.out[node][:2] == (1, 1) and draft.kernel[node] == draft.seen[node][:2]:
            draft.op[node] = Op.Mean if draft.op[node] is Op.Avgpool else Op.Max
            draft.kernel[node], draft.stride[node] = (0, 0), (1, 1)


def _vectors(draft: Draft) -> None:
    """A convolution of a vector is a matrix product."""
    for node in draft.nodes(Op.Conv):
        vector = draft.seen[node][:2] == draft.out[node][:2] == (1, 1)
        if vector and draft.kernel[node] == (1, 1) and draft.groups[node] == 1:
            draft.op[node], draft.kernel[node], draft.stride[node] = Op.MatMul, (0, 0), (1, 1)
