"""Dilated convolutions that TensorFlow spells with batches: one convolution again."""

from __future__ import annotations

from aiop_core.graph.model import Graph
from aiop_core.graph.ops import Op
from aiop_core.graph.passes.draft import Draft


def fold_atrous(graph: Graph) -> Graph:
    """``SpacetoBatchND``, a convolution, ``BatchtoSpaceND`` become the convolution over the whole map.

    The pair moves pixels that lie a dilation apart into a batch of its own, so the convolution
    between shows a map smaller by the dilation and would count too few MACs.
    """
    draft = Draft(graph)
    for node in list(draft.nodes(Op.BatchtoSpaceND)):
        conv = draft.only_input(node, Op.Conv, Op.Depthwise)
        spread = None if conv is None else draft.only_input(conv, Op.SpacetoBatchND)
        if conv is not None and spread is not None:
            draft.seen[conv], draft.out[conv] = draft.seen[spread], draft.out[node]
            draft.bypass(spread)
            draft.bypass(node)
    return draft.graph() if draft.changed else graph
