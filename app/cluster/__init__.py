"""Replicas of a model on a cluster, and what stands in front of them."""
