"""A replica: a process that owns a model, and runs what it is sent in shared batches."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from coladlm import ColaDLM
from coladlm.recipe import Recipe
from coladlm.serve import Events, Scheduler, Waiting
from coladlm.serve.carried import Refusal, carry
from coladlm.serve.tasks import Steps
from coladlm.serve.threads import set_threads

from ..api.prompt_scores import score_steps
from .options import ClusterOptions


class Replica:
    """Loads the model of the options. What it sends is made by `carry`; None is a sign of life."""

    def __init__(self, options: ClusterOptions) -> None:
        self.model = ColaDLM.from_pretrained(options.checkpoint, device=options.device, dtype=options.dtype)
        set_threads(self.model)
        self.scheduler = Scheduler(options.limits())

    async def run(self, recipe: dict[str, Any], steps: Steps, logits: bool) -> AsyncGenerator[Any]:
        """The events of a recipe."""

        def begin() -> Events:
            return self.scheduler.run(self.model, Recipe.from_dict(recipe), steps=steps)

        async for event in self._sent(begin, logits):
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
