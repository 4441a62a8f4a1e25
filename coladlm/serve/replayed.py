"""Events of a recipe from replicas, any of which may end in the middle: another one then replays it to the same text.

A recipe has its seed, so its events come again in the same order. What has been delivered is compared and left out, and
the visitor sees a pause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..sampling.events import BlockDone, Finished, Step
from .carried import restore
from .drafts import Draft


class LostReplicaError(Exception):
    """The replica that worked on a run has ended."""


class LostRunError(ValueError):
    """A run that no replica could bring to its end."""


def replayed(
    attempt: Callable[[], Iterator[Any]], attempts: int = 3, lost: Callable[[], None] = lambda: None
) -> Iterator[Any]:
    """The events of a run, None among them as signs of life.

    attempt: begins the run on some replica and gives what that sends (see `carry`); raises LostReplicaError where the
    replica ends. lost: called for each that does. Raises LostRunError where as many have ended as there are `attempts`,
    or where a replica writes another text: on another machine, or in another batch, two words that are nearly as likely
    may change places by rounding.
    """
    delivered: list[Any] = []
    drafted = (-1, -1)  # (block, index) of the last draft
    for _ in range(attempts):
        found, place = attempt(), 0
        try:
            for parcel in found:
                event = restore(parcel)
                if isinstance(event, Draft):
                    new = place == len(delivered) and (event.block, event.index) > drafted
                    drafted = (event.block, event.index) if new else drafted
                    yield event if new else None
                    continue
                if event is None or isinstance(event, Step):  # steps are as many as there is time for
                    yield event if place == len(delivered) else None
                    continue
                if place == len(delivered):
                    delivered.append(_told(event))
                    yield event
                elif delivered[place] != _told(event):
                    raise LostRunError("The replica that wrote this text has ended, and another one would go on with "
                                       "other words; what is written stays.")  # fmt: skip
                else:
                    yield None
                place += 1
            return
        except LostReplicaError:
            lost()
        finally:
            if hasattr(found, "close"):
                found.close()
    raise LostRunError(f"{attempts} replicas ended while they wrote this text; what is written stays. Ask again.")


def _told(event: Any) -> Any:
    """What a visitor has read of an event."""
    return event.texts if isinstance(event, BlockDone | Finished) else type(event)
