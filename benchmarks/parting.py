"""How often a text parts from itself by rounding alone: captured from eager steps, and alone from a batch of four.

    python -m benchmarks.parting [--checkpoint FOLDER] [--dtype float32] [--histories reencoded latents] [--stories 18]

Stories of 64 tokens with the model's settings, each from an opening and a seed of its own. The captured form is that of
the device: a CUDA graph on a GPU, a tape of operators elsewhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import random

import torch

from coladlm import BlockDone, ColaDLM, SamplerSettings
from coladlm.sampling.form import choose_form

OPENINGS = (
    "Once upon a time, there was a little girl", "Tom and Lily went to the beach. They found",
    "One day, the moon did not come up.", "The dog ran to the park with", "Ben had a big red ball. He liked to",
    "Once there was a small bird who", "It was a sunny day and Mia wanted to", "The old man looked at the",
)  # fmt: skip
TOKENS = 64


def blocks(model: ColaDLM, form: str, prompts: list[str], settings: SamplerSettings) -> list[BlockDone]:
    choose_form(model.sampler, form, compiled=False)
    return [event for event in model.sample(prompts, settings) if isinstance(event, BlockDone)]


def apart(alone: list[BlockDone], other: list[BlockDone]) -> float:
    """How far the latents of the first text are off by at most, in blocks of the story alone."""
    blocks = zip(alone, other, strict=False)  # others may go on when this one has come to its end
    return max(float((one.latents[0] - two.latents[0]).abs().max()) for one, two in blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder or Hub id; the bundled model if absent")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32", help="(%(default)s)")
    parser.add_argument("--histories", nargs="+", default=["reencoded", "latents"], choices=("reencoded", "latents"))
    parser.add_argument("--stories", type=int, default=18, help="(%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = ColaDLM.from_pretrained(options.checkpoint, options.device, options.dtype, form="eager", compiled=False)
    print("| history | captured and eager: other texts | latents off by at most | alone and in a batch: other texts | "
          "latents off by at most |\n|---|---|---|---|---|")  # fmt: skip
    for history in options.histories:
        draw, forms, batches, of_forms, of_batches = random.Random(0), 0, 0, 0.0, 0.0
        for _ in range(options.stories):
            settings = dataclasses.replace(model.defaults, history=history, max_new_tokens=TOKENS,
                                           seed=draw.randrange(1 << 31), whole_sentences=False)  # fmt: skip
            prompt, *others = draw.sample(OPENINGS, 4)
            eager, captured = (blocks(model, form, [prompt], settings) for form in ("eager", "graph"))
            together = blocks(model, "eager", [prompt, *others], settings)
            forms += eager[-1].texts != captured[-1].texts
            batches += eager[-1].texts[0] != together[-1].texts[0]
            of_forms = max(of_forms, apart(eager, captured))
            of_batches = max(of_batches, apart(eager, together))
        print(f"| {history} | {forms} of {options.stories} | {of_forms:.1e} | {batches} of {options.stories} | "
              f"{of_batches:.1e} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
