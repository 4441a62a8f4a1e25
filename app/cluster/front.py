"""What stands in front of the replicas: OpenAI's API in a process without weights, whose runs the replicas work on."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from starlette.applications import Starlette

from coladlm import ColaDLM
from coladlm.garbage_collection import keep_what_is_there
from coladlm.recipe import Recipe
from coladlm.serve import Events, Scheduler
from coladlm.serve.carried import unbundled
from coladlm.serve.far_runs import FarRuns
from coladlm.serve.outline import model_outline
from coladlm.serve.replayed import replayed
from coladlm.serve.tasks import Steps

from ..api.access import API_KEY, check_api_key
from ..api.openai_api import ApiOptions, OpenAIApi
from .options import ClusterOptions

Call = Callable[..., Generator[Any]]
"""(method of a replica, its arguments) -> what it sends; raises LostReplicaError where the replica ends."""


class FrontApi(OpenAIApi):
    """OpenAI's API, whose work is done by replicas."""

    def __init__(self, outline: ColaDLM, call: Call, options: ClusterOptions) -> None:
        self.call = call
        key = os.environ.get(API_KEY)
        api = ApiOptions(accept_any_model=options.accept_any_model, api_key=None if key is None else check_api_key(key))
        super().__init__(lambda: outline, Scheduler(options.front_limits(), FarRuns(outline, self._events)), api)

    def scores(self, model: ColaDLM, prompts: Sequence[Sequence[int]], seed: int, visitor: str) -> Events:
        return self.scheduler.elsewhere(lambda: self._replayed("scores", prompts, seed), visitor, "likelihood")

    def _events(self, recipe: Recipe, steps: Steps, logits: bool, wait: float) -> Iterator[Any]:
        return self._replayed("run", recipe.to_dict(), steps, logits, wait)

    def _replayed(self, method: str, *arguments: Any) -> Iterator[Any]:
        return replayed(lambda: unbundled(self.call(method, *arguments)), lost=self.scheduler.metrics.replayed)


def front_app(call: Call, options: ClusterOptions) -> Starlette:
    """The application. Raises ValueError for a checkpoint or an API key that cannot be one."""
    routes = FrontApi(model_outline(options.checkpoint), call, options).routes()
    keep_what_is_there()
    return Starlette(routes=routes)
