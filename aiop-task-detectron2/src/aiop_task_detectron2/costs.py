"""What each piece of a detector costs, the box and mask heads for one proposal.

Counted on graphs of the real modules, so that the pieces add up to what
:func:`~aiop_task_detectron2.fixed_part.graphs` holds.
"""

from __future__ import annotations

from dataclasses import replace

from aiop_core.capabilities import Piece
from aiop_core.graph.cost import Cost, cost
from aiop_core.graph.trace import trace
from aiop_task_detectron2.assembly import DetectionModel
from aiop_task_detectron2.fixed_part import HEADS, require_multiple


def pieces(model: DetectionModel, part: str, input_hw: tuple[int, int]) -> dict[str, Piece]:
    """Body, pyramid and each head of one part of the task; their sums are its graph's cost.

    Args:
        model: put together for that part, or for more.
        part: a key of :data:`~aiop_task_detectron2.fixed_part.HEADS`.
        input_hw: of an image.

    Raises:
        OptionError: if the size does not fit the pyramid.
    """
    require_multiple(model, input_hw)
    shape, heads = (3, *input_hw), HEADS[part]
    counts = {"box": model.box_proposals, "mask": model.mask_proposals}

    def counted(*with_heads: str) -> Cost:
        fixed = model.fixed_part(with_heads, read=heads, box_proposals=1, mask_proposals=1)
        return cost(trace(fixed, shape))

    body, maps = cost(trace(model.detector.backbone.body, shape)), counted()
    found = {"body": Piece(body.macs, body.params), "pyramid": _more(maps, body)}
    for head in heads:
        found[head] = replace(_more(counted(head), maps), count=counts.get(head, 1))
    return found


def _more(cost: Cost, than: Cost) -> Piece:
    return Piece(cost.macs - than.macs, cost.params - than.params)
