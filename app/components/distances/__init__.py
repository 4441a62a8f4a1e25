"""Distances: how far each waypoint is from the texts, as a small picture and as a table of the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML


class Distances(OwnHTML):
    """Shows the value made by `distances_value`, nothing for None."""

    FILE = "distances"
    SCRIPTS = ("save_file.js", "picture_file.js", "distances/distances.js")

    def __init__(self, value: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(value, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload


def distances_value(
    labels: Sequence[str], latents: Sequence[Sequence[float]], tokens: Sequence[Sequence[int]], unit: str
) -> dict[str, Any]:
    """What Distances show.

    labels: of the waypoints. latents, tokens: of each waypoint the distance to each text. unit: of those in latents.
    """
    return {
        "labels": list(labels),
        "latents": [[round(value, 4) for value in waypoint] for waypoint in latents],
        "tokens": [list(waypoint) for waypoint in tokens],
        "unit": unit,
    }
