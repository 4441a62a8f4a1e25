"""Measures of a model, and the autoregressive baseline that they are read against."""
