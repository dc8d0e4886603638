"""The cell-based search spaces with published labels, as families of aiop."""
