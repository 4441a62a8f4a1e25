"""Runs a recipe, keeps its trace, and asks the trace at which step each word was settled.

python -m examples.look_back run.npz
python -m examples.look_back run.npz path/to/checkpoint
"""

import dataclasses
import sys

from coladlm import ColaDLM
from coladlm.recipe import Recipe
from coladlm.run import recorder, run
from coladlm.trace import Trace
from coladlm.trace.measures import settled_step


def main(file: str = "run.npz", checkpoint: str | None = None) -> None:
    model = ColaDLM.from_pretrained(checkpoint)
    settings = dataclasses.replace(model.defaults, max_new_tokens=16)
    recipe = Recipe("generate", ("Once upon a time", "The cat"), settings, variations=2, model=model.fingerprint)

    watcher = recorder(recipe)
    for _ in watcher.watch(run(model, recipe)):
        pass
    watcher.trace().save(file)

    trace = Trace.load(file)
    settled = settled_step(trace.preview_ids, trace.token_ids)  # (sequence, block, token)
    for sequence, (prompt, text) in enumerate(zip(trace.prompts, trace.texts, strict=True)):
        steps = settled[sequence, trace.active[sequence]].ravel()
        print(f"{prompt}{text}\n  settled at step {steps.mean():.1f} of {settings.steps} on average: {steps.tolist()}")
    print(f"the same again: {trace.recipe.to_url()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
