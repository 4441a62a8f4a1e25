"""Replicas of a model on a cluster, and what stands in front of them."""

from coladlm.garbage_collection import collect_seldom

# Ray starts a process of either with the import of one of these modules; torch and all else come after it.
collect_seldom()
