"""What each ATen call becomes in the graph: one file for views, one for arithmetic, one for layers."""

from collections.abc import Mapping

from aiop_core.graph.aten import arithmetic, layers, views
from aiop_core.graph.aten.call import Call
from aiop_core.graph.recorder import Rule

RULES: Mapping[str, Rule] = {**views.RULES, **arithmetic.RULES, **layers.RULES}
"""The rule for each operation that can meet an activation: ATen's by their name without a
final ``_``, those of other libraries as ``library::name``."""

VIEWS = views.VIEWS

__all__ = ["RULES", "VIEWS", "Call"]
