"""Computation graphs: one node per primitive operation, one edge per tensor."""
