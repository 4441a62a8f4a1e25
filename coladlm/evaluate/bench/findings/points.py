"""A point is one comparison of the two models, and who has the better of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from ..intervals import Interval

Outcome = Literal["wins", "loses", "not to be told apart"]
WINS: Outcome = "wins"
LOSES: Outcome = "loses"
ALIKE: Outcome = "not to be told apart"
# kinds of points, in the order in which they are told
FILLING, EDITS, DRAFTS = "Infilling and pinned words", "Global edits and directions", "Parallel drafts"
FLUENCY, STRUCTURE, LONG, LIKELIHOOD = "Fluency", "Structure", "Long context", "Likelihood"
KINDS = (FILLING, EDITS, DRAFTS, FLUENCY, STRUCTURE, LONG, LIKELIHOOD)


@dataclasses.dataclass(frozen=True)
class Point:
    """outcome: of the Cola-DLM. kind: one of KINDS. said: what was compared, with both figures, that of the Cola-DLM
    first. main: stands in the summary of the whole bench.
    """

    outcome: Outcome
    kind: str
    said: str
    main: bool = True


def apart(cola: Interval, other: Interval, less_is_better: bool = False) -> Outcome:
    """Where no difference over the same items is kept: a side wins only where the two intervals do not meet."""
    if less_is_better:
        return WINS if cola.high < other.low else LOSES if cola.low > other.high else ALIKE
    return WINS if cola.low > other.high else LOSES if cola.high < other.low else ALIKE


def sentences(points: Sequence[Point], outcome: Outcome) -> list[str]:
    """A sentence for each kind of which there is a point of this outcome."""
    found = []
    for kind in KINDS:
        said = [point.said for point in points if point.kind == kind and point.outcome == outcome]
        if said:
            found.append(f"{kind}: {'; '.join(said)}.")
    return found
