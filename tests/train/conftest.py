"""The stories of the small baseline, to train one on."""

from ..small_baseline import stories  # noqa: F401
