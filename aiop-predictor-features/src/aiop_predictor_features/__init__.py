"""Predictors on graph features: the baselines that every result is printed beside."""
