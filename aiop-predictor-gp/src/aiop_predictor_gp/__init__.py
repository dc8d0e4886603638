"""Predictor `gp`: Gaussian processes on what a computation graph is made of and how it is connected."""
