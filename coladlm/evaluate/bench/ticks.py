"""Which numbers stand along an axis of a chart, on the page and in a picture."""

from __future__ import annotations

from collections.abc import Sequence

MOST = 10


def sizes_used(values: Sequence[float]) -> list[float]:
    """Whole numbers of which there are few, such as lengths of texts, to be named one by one; [] for others."""
    found = sorted(set(values))
    return found if len(found) <= MOST and all(value == round(value) for value in found) else []


def tick_text(value: float) -> str:
    """A number beside an axis, without an exponent where a reader wants none."""
    if abs(value - round(value)) < 1e-9 * max(1.0, abs(value)):
        return f"{round(value):,}"
    return f"{value:.3g}"
