"""The small baseline with random weights, and stories to train it on."""

from ..small_baseline import baseline, stories  # noqa: F401
