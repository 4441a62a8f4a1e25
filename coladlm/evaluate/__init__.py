"""Measures of a model, read against those of real text and of an autoregressive baseline."""
