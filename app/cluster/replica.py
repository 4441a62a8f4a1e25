"""A replica: a process that owns a model, and runs what it is sent in shared batches."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from coladlm import ColaDLM
from coladlm.garbage_collection import keep_what_is_there
from coladlm.recipe import Recipe
from coladlm.serve import Events, Scheduler, Waiting
from coladlm.serve.carried import Bundle, Refusal, carry
from coladlm.serve.tasks import Steps
from coladlm.serve.threads import set_threads

from ..api.prompt_scores import score_steps
from .options import ClusterOptions


async def bundled(parcels: AsyncGenerator[Any], wait: float) -> AsyncGenerator[Any]:
    """The parcels in bundles: one whenever something comes `wait` seconds or more after the last, and the rest at the
    end. A bundle may be empty, as a sign of life. Nothing waits, and nothing is bundled, where `wait` is 0.
    """
    kept: list[Any] = []
    sent = time.monotonic()
    async with contextlib.aclosing(parcels):
        async for parcel in parcels:
            if not wait:
                yield parcel
                continue
            if parcel is not None:
                kept.append(parcel)
            if time.monotonic() - sent >= wait:
                yield Bundle(kept)
                kept, sent = [], time.monotonic()
    if kept:
        yield Bundle(kept)


class Replica:
    """Loads the model of the options. What it sends is made by `carry`; None is a sign of life."""

    def __init__(self, options: ClusterOptions) -> None:
        self.model = ColaDLM.from_pretrained(options.checkpoint, device=options.device, dtype=options.dtype)
        set_threads(self.model)
        self.scheduler = Scheduler(options.limits())
        keep_what_is_there()

    async def run(self, recipe: dict[str, Any], steps: Steps, logits: bool, wait: float = 0.0) -> AsyncGenerator[Any]:
        """The events of a recipe, in bundles of what `wait` seconds bring."""

        def begin() -> Events:
            return self.scheduler.run(self.model, Recipe.from_dict(recipe), steps=steps)

        async for event in bundled(self._sent(begin, logits), wait):
            yield event

    async def scores(self, prompts: Sequence[Sequence[int]], seed: int) -> AsyncGenerator[Any]:
        """The scores of the tokens of prompts, as a list, after signs of life."""

        def begin() -> Events:
            return self.scheduler.alone(lambda: score_steps(self.model, prompts, seed), name="likelihood")

        async for event in self._sent(begin):
            yield None if isinstance(event, int) else event

    async def _sent(self, begin: Callable[[], Events], logits: bool = True) -> AsyncGenerator[Any]:
        try:
            events = begin()
            arriving = events.asynchronous()
            try:
                async for event in arriving:
                    yield None if isinstance(event, Waiting) else carry(event, logits)
            finally:
                await arriving.aclose()
        except ValueError as error:  # the visitor's to see
            yield Refusal(str(error))

    def pid(self) -> int:
        """The number of the process."""
        return os.getpid()

    def check_health(self) -> None:
        """Raises RuntimeError where the thread of the model has ended, which nothing should make it do."""
        turns = self.scheduler.turns
        if self.scheduler.metrics.turns and not turns.alive:
            raise RuntimeError("the thread of the model has ended")
