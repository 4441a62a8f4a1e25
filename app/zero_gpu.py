"""Hugging Face's ZeroGPU: a Space that has a GPU only inside a function decorated with `spaces.GPU`.

Such a function runs in a worker process, forked from this one, on arguments and results that are pickled. So a whole
run is one call: a recipe goes in, its events come back one by one (`coladlm.serve.carried`). The worker has the copy of
the model that was moved to "cuda" when the program began, which is a name here and a device there; this process keeps
one on its processor for everything that is not a run: looks at a point, branches, sweeps, the map.
https://huggingface.co/docs/hub/spaces-zerogpu
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.recipe import Recipe
from coladlm.serve.carried import carried_events, restore
from coladlm.serve.far_runs import FarRuns
from coladlm.serve.passes import flow_batches
from coladlm.serve.tasks import Steps

BEGIN_SECONDS = 10  # for a worker to begin, which counts, too
STEP_SECONDS = 0.02  # a pass over the blocks of a batch; the published size takes 0.013 on an H100 at batch 1 to 32
ROWS = 16  # sequences that are sure to take no longer than one
SHORTEST, LONGEST = 15, 110  # what may be asked for: a visitor without an account has a few minutes a day


def on_zero_gpu() -> bool:
    """Is this a Space with ZeroGPU?"""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def gpu_seconds(model: ColaDLM, recipe: Recipe) -> int:
    """The time on the GPU to ask for, by the passes that a recipe makes.

    A call that takes longer is ended, one that asks for more waits longer. Raises ValueError for a recipe that
    cannot be run, where that shows here.
    """
    seconds = float(BEGIN_SECONDS)
    for batch in flow_batches(model, recipe):
        # at the end of a block come a pass that remembers it and the decoder; before the first, one over the prefix
        passes = batch.blocks * (batch.passes + 1) + 1
        seconds += STEP_SECONDS * passes * -(-batch.rows // ROWS)
    return round(min(LONGEST, max(SHORTEST, seconds)))


def zero_gpu_runs(model: ColaDLM, gpu_model: ColaDLM) -> FarRuns:
    """The runs of a scheduler on ZeroGPU. model: of the page. gpu_model: the same one, moved to "cuda".

    To be called once, before anybody visits: it tells ZeroGPU that the program is ready, which gradio's `launch` would
    do, and this program serves gradio inside an application of its own.
    """
    import spaces
    import spaces.zero

    def duration(recipe: dict[str, Any], steps: Steps, logits: bool) -> int:
        return gpu_seconds(model, Recipe.from_dict(recipe))

    @spaces.GPU(duration=duration)
    def carried_run(recipe: dict[str, Any], steps: Steps, logits: bool) -> Iterator[Any]:
        yield from carried_events(gpu_model, Recipe.from_dict(recipe), steps, logits)

    def events(recipe: Recipe, steps: Steps, logits: bool, wait: float) -> Iterator[Any]:
        found = carried_run(recipe.to_dict(), steps, logits)
        try:
            for event in found:
                yield restore(event)
        except gr.Error as error:  # no GPU was given, or it was taken away: its message is for people
            raise ValueError(str(error.message)) from error
        finally:
            found.close()

    spaces.zero.startup()
    return FarRuns(model, events)
