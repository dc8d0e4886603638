"""Passes: each takes a graph and gives a simpler one of the same network."""

from aiop_core.graph.passes.canonical import canonical
from aiop_core.graph.passes.fuse import fuse, fuse_affine
from aiop_core.graph.passes.prune import prune

__all__ = ["canonical", "fuse", "fuse_affine", "prune"]
