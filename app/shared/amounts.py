"""Large numbers in words."""

from __future__ import annotations


def in_millions(count: int) -> str:
    """So many in millions or billions, where there are as many: "2.3 billion", "12.3 million", "4,096"."""
    for name, size in (("billion", 1e9), ("million", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {name}"
    return f"{count:,}"
