"""PointCard: what is to know of one point on a path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML


class PointCard(OwnHTML):
    """Shows the value made by `card_value`; nothing while it is None."""

    FILE = "point_card"
    SCRIPTS = ("quoted_words.js", "point_card/point_card.js")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(None, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload


def card_value(
    title: str, about: str, read: Sequence[Sequence[str]] = (), near: Sequence[Sequence[str]] = ()
) -> dict[str, Any]:
    """What a PointCard shows. read: (word, probability) and near: (word, distance), as texts, best first."""
    return {"title": title, "about": about, "read": [list(row) for row in read], "near": [list(row) for row in near]}
