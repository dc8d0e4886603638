"""What each ONNX operation becomes: one file for views, one for arithmetic, one for layers."""

from collections.abc import Mapping

from aiop_core.graph.onnx import arithmetic, layers, views
from aiop_core.graph.recorder import Rule

RULES: Mapping[str, Rule] = {**views.RULES, **arithmetic.RULES, **layers.RULES}
"""The rule for each operation that can meet an activation, by its name (``domain::Name`` for
domains other than ONNX's own). :mod:`aiop_core.graph.onnx.fused` has rewritten fused and
quantised ones before."""
