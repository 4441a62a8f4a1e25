"""IntervalCurve: a measure over a few values of a setting, each with the interval in which it lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML


class IntervalCurve(OwnHTML):
    """Shows the value made by `curve_value` as lines with whiskers and as a table, nothing for None."""

    FILE = "interval_curve"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(None, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload


def curve_value(
    measure: str, setting: str, values: Sequence[str], about: str,
    lines: Sequence[tuple[str, Sequence[tuple[float, float, float] | None]]], published: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What an IntervalCurve shows. about: a sentence on what it is.

    lines: (label, for each value the measure with the ends of its interval, all above 0; None where it is not known).
    A measure without a known interval is both of its ends. published: the same of somebody else, drawn beside it.
    """
    plain = [[label, [None if point is None else list(point) for point in points]] for label, points in lines]
    value = {"measure": measure, "setting": setting, "values": list(values), "about": about, "lines": plain}
    return value if published is None else {**value, "published": published}
