"""Predictor `gnn`: the graph neural network of AIO-P."""
