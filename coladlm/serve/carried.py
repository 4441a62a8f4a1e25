"""Events that cross from one process to another: every event as plain values and numpy arrays, and back.

`pickle` would carry a tensor as a handle of shared memory, or of a GPU that the other process does not see, and a
Step's preview not at all: it works in the caches of its run. So tensors cross as arrays, and a preview is computed
before it leaves.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..model import ColaDLM
from ..recipe import Recipe
from ..run import run
from ..sampling.events import BlockDone, Step
from .drafts import draft_of
from .previews import PreviewBudget, clock_of
from .tasks import Steps


@dataclasses.dataclass(frozen=True)
class Parcel:
    """A dataclass on its way: its class, and the values that it is made of."""

    kind: type
    values: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Carried events that cross together, oldest first: to send one takes longer than its bytes are worth."""

    parcels: list[Any]


@dataclasses.dataclass(frozen=True)
class Refusal:
    """What takes the place of events where a recipe cannot be run. message: a sentence for people."""

    message: str


class RefusedElsewhereError(ValueError):
    """The process that was to run a recipe refused it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Preview:
    """The preview of a step, computed where the step was."""

    logits: Tensor  # (batch, b * patch_size, vocab)

    def __call__(self, clean: Tensor) -> Tensor:
        return self.logits


def carry(value: Any, logits: bool = True) -> Any:
    """A value, such as an event, in a form that pickles and needs no device.

    logits: with those of a finished block, which are most of its bytes, or with none in their place.
    """
    if isinstance(value, Step):
        value = dataclasses.replace(value, decode=Preview(value.preview()))
    elif isinstance(value, BlockDone) and not logits:
        value = dataclasses.replace(value, logits=value.logits[..., :0])
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()  # numpy has no bfloat16
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field.name for field in dataclasses.fields(value) if field.init)
        return Parcel(type(value), {name: carry(getattr(value, name)) for name in fields})
    if isinstance(value, list):
        return [carry(part) for part in value]
    if isinstance(value, tuple):
        return tuple(carry(part) for part in value)
    return value


def unbundled(sent: Generator[Any]) -> Iterator[Any]:
    """What is sent, with the parcels of a Bundle one by one, None for an empty one. Closing it closes `sent`."""
    with contextlib.closing(sent):
        for parcel in sent:
            if isinstance(parcel, Bundle):
                yield from parcel.parcels or [None]
            else:
                yield parcel


def restore(value: Any) -> Any:
    """What `carry` was given, its tensors on the CPU. Raises RefusedElsewhereError for a Refusal."""
    if isinstance(value, Refusal):
        raise RefusedElsewhereError(value.message)
    if isinstance(value, Parcel):
        return value.kind(**{name: restore(part) for name, part in value.values.items()})
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value if value.flags.writeable else value.copy())
    if isinstance(value, list):
        return [restore(part) for part in value]
    if isinstance(value, tuple):
        return tuple(restore(part) for part in value)
    return value


def carried_events(model: ColaDLM, recipe: Recipe, steps: Steps = "all", logits: bool = True) -> Iterator[Any]:
    """The events of a recipe, run alone and carried; None in place of a step that is not wanted, as a sign of life.

    steps: every Step, a Draft of every one, some of them or none, as in `Scheduler.operate`; some are the first one and
    those that a PreviewBudget allows. logits: as in `carry`. A recipe that cannot be run gives a Refusal.
    """
    try:
        budget = PreviewBudget(clock_of(model.device))
        for event in _wanted(run(model, recipe), steps, budget):
            yield None if event is None else carry(event, logits)
    except ValueError as error:
        yield Refusal(str(error))


def _wanted(events: Iterator[Any], steps: Steps, budget: PreviewBudget) -> Iterator[Any]:
    first = True  # of the run: its preview does not wait
    while True:
        with budget.work():
            event = next(events, None)
        if event is None:
            return
        if not isinstance(event, Step):
            yield event
            continue
        if steps == "drafts":
            yield draft_of(event)
            continue
        due = steps == "some" and budget.due()
        if steps == "none" or (steps == "some" and not (first or due)):
            yield None
            continue
        with budget.previews(due):
            preview = Preview(event.preview())
        first = False
        yield dataclasses.replace(event, decode=preview)
