"""Which of many candidates become the waypoints between two texts: a chain that goes one way and reads likely.

The flow makes a sentence of a mixture of latents, and which one depends on the noise as much as on the mixture: what
comes of one noise jumps about between the texts. Of many candidates, the chain is found in which every waypoint is
farther from the first text and nearer to the second than the one before it, by the least sum of costs (a shortest
path, Dijkstra 1959, in layers).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

EVEN = 0.3  # weight of a squared deviation from even spacing, against a misfit of about 0.4 to 1.2
AGAINST = 10.0  # for a step that does not go on
STAYING = 1.0  # for the same candidate once more, where there are too few that go on
NOT_BETWEEN = 5.0  # for a candidate that is a text itself, or farther from one than the other text is
LEAST = 1e-3  # of a step, in units of distance


def chain(distances: Sequence[Sequence[float]], costs: Sequence[float], apart: float, count: int) -> list[int]:
    """The candidates that become `count` waypoints, in their order. One stays where there are too few.

    distances: (n, 2), of each candidate from the first and the second text. costs: (n,), how unlikely each is, its
    misfit for instance; NaN for one that holds nothing, which is not taken if there is another. apart: the distance of
    the texts.
    """
    first, second = np.asarray(distances, float).T
    own = np.nan_to_num(np.asarray(costs, float), nan=100.0)
    between = (first > LEAST) & (second > LEAST) & (first < apart - LEAST) & (second < apart - LEAST)
    own = own + NOT_BETWEEN * ~between
    share = first / np.maximum(first + second, LEAST)
    goes_on = (first[None] > first[:, None] + LEAST) & (second[None] < second[:, None] - LEAST)  # from row to column
    step = AGAINST * ~goes_on
    np.fill_diagonal(step, STAYING)
    places = np.arange(1, count + 1) / (count + 1)
    cost = own + EVEN * (share - places[0]) ** 2
    came_from = []
    for place in places[1:]:
        through = cost[:, None] + step
        came_from.append(through.argmin(0))
        cost = through.min(0) + own + EVEN * (share - place) ** 2
    found = [int(cost.argmin())]
    for before in reversed(came_from):
        found.append(int(before[found[-1]]))
    return found[::-1]
