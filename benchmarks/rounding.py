"""What int8 changes: the tokens that a model writes and reads in float32 and in int8, memory and processor time.

    python -m benchmarks.rounding --data FOLDER [--checkpoint FOLDER] [--stories 200] [--places 5] [--device cpu]

FOLDER holds valid.jsonl, stories that the model has not been trained on. Written: the next block after the true text
up to a place, with the model's settings, temperature 0 and the same noise in both; places are spread evenly over each
story. Read: the whole story encoded and decoded again. A token agrees if both models have the same one there. The
interval is a bootstrap over stories, whose tokens do not fall independently of each other. Processor time is that of a
story of the model's usual length, the two models in turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from coladlm import BlockDone, ColaDLM
from coladlm.evaluate.speed import PROMPT
from coladlm.evaluate.stories import batches
from coladlm.hardware.threads import always
from coladlm.sampling.flow import NOISE_TIME
from coladlm.sampling.plan import Plan
from coladlm.train.corpus import read_stories

ROWS = 32  # places that are written at once
RESAMPLES = 2000
Place = tuple[int, int]  # which story, and how many blocks of it stand before the block that is written


def places_in(stories: Sequence[Sequence[int]], count: int, per_block: int) -> list[Place]:
    """`count` places in each story, evenly spread over its whole blocks; fewer where it has fewer."""
    found = []
    for story, ids in enumerate(stories):
        blocks = len(ids) // per_block
        spread = np.linspace(1, max(blocks - 1, 1), min(count, max(blocks - 1, 1)))
        found += [(story, int(block)) for block in np.unique(spread.round()) if block < blocks]
    return found


@torch.inference_mode()
def latents_of(model: ColaDLM, stories: Sequence[Sequence[int]]) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Of each story, in any order: which one, its scaled latents (n, d), and the tokens that are read in them."""
    for rows, ids in batches(stories, model.pad_id, model.vae.config.tokens_per_block):
        latents = model.vae.scale(model.vae.encode(ids.to(model.device)).mean)
        read = model.vae.decode(latents).argmax(-1).cpu()
        for row, story in enumerate(rows):
            yield story, latents[row].float().cpu(), read[row, : len(stories[story])]


def written(model: ColaDLM, stories: Sequence[Sequence[int]], latents: Sequence[Tensor], places: Sequence[Place],
            ) -> Tensor:  # fmt: skip
    """The tokens of the block at each place, (places, block), likeliest first choice, noise by the place's number."""
    b, d, ps = model.block_size, model.latent_dim, model.patch_size
    settings = dataclasses.replace(model.defaults, temperature=0.0, stop_at_end=False, whole_sentences=False,
                                   max_new_tokens=b * ps)  # fmt: skip
    found = torch.empty(len(places), b * ps, dtype=torch.long)
    order = sorted(range(len(places)), key=lambda i: places[i][1])
    for first in range(0, len(order), ROWS):
        rows = order[first : first + ROWS]
        plans = []
        for i in rows:
            story, blocks = places[i]
            plans.append(Plan(latents[story][: blocks * b], torch.tensor(stories[story][: blocks * b * ps]),
                              torch.zeros(1, b, d), torch.full((1, b), NOISE_TIME), torch.full((1, b * ps), -1),
                              b * ps, sequence=i))  # fmt: skip
        for event in model.sampler.run(plans, settings):
            if isinstance(event, BlockDone):
                found[rows] = event.token_ids.cpu()
    return found


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The share of tokens that are the same, with the 95 % interval of a bootstrap over stories."""

    share: float
    low: float
    high: float
    tokens: int

    def __str__(self) -> str:
        return (f"{100 * self.share:.2f} % of {self.tokens:,} tokens (95 % interval {100 * self.low:.2f} to "
                f"{100 * self.high:.2f})")  # fmt: skip


def agreement(same: Sequence[Sequence[bool]]) -> Agreement:
    """same: of each story, its tokens."""
    right, count = np.array([sum(s) for s in same]), np.array([len(s) for s in same])
    drawn = np.random.default_rng(0).integers(len(same), size=(RESAMPLES, len(same)))
    low, high = np.quantile(right[drawn].sum(1) / count[drawn].sum(1), (0.025, 0.975))
    return Agreement(float(right.sum() / count.sum()), float(low), float(high), int(count.sum()))


@dataclasses.dataclass(frozen=True)
class Told:
    """What one model reads in stories and writes at places in them."""

    read: list[Tensor]
    written: Tensor


def told(model: ColaDLM, stories: Sequence[Sequence[int]], places: Sequence[Place]) -> Told:
    ordered = sorted(latents_of(model, stories), key=lambda of_story: of_story[0])
    return Told([read for _, _, read in ordered],
                written(model, stories, [latents for _, latents, _ in ordered], places))  # fmt: skip


def compared(one: Told, other: Told, places: Sequence[Place]) -> tuple[Agreement, Agreement]:
    """Of the tokens that are read, and of those that are written."""
    read = agreement([(a == b).tolist() for a, b in zip(one.read, other.read, strict=True)])
    of_story: dict[int, list[bool]] = {}
    for (story, _), same in zip(places, (one.written == other.written).tolist(), strict=True):
        of_story.setdefault(story, []).extend(same)
    return read, agreement(list(of_story.values()))


def story_seconds(models: Sequence[ColaDLM], times: int = 3) -> list[float]:
    """Median processor seconds of a story, of each model, in turns."""
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(times):
        for model, taken in zip(models, seconds, strict=True):
            begun = time.process_time()
            model.generate([PROMPT], dataclasses.replace(model.defaults, stop_at_end=False))
            taken.append(time.process_time() - begun)
    return [statistics.median(taken) for taken in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with valid.jsonl, one story a line")
    parser.add_argument("--checkpoint", help="folder or Hub id; the bundled model if absent")
    parser.add_argument("--stories", type=int, default=200, help="how many, from the first on (%(default)s)")
    parser.add_argument("--places", type=int, default=5, help="in each story (%(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch on a CPU (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    plain, small = (ColaDLM.from_pretrained(options.checkpoint, options.device, dtype) for dtype in ("float32", "int8"))
    plain.sampler.threads = small.sampler.threads = always(options.threads)
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"{plain.name}: {plain.parameters / 1e6:,.1f} M parameters, torch {torch.__version__}, Python "
          f"{platform.python_version()}, load {load}\n\n{small.rounding}\n")  # fmt: skip
    texts = read_stories(options.data / "valid.jsonl")[: options.stories]
    stories = [plain.tokenize(text) for text in texts]
    places = places_in(stories, options.places, plain.vae.config.tokens_per_block)
    read, wrote = compared(told(plain, stories, places), told(small, stories, places), places)
    print(f"read, {len(stories)} stories: {read} agree")
    print(f"written, the next block at {len(places)} places of {len(stories)} stories: {wrote} agree", flush=True)
    seconds = story_seconds([plain, small])
    print(f"a story: {seconds[0]:.2f} s of processor time in float32, {seconds[1]:.2f} s in int8")


if __name__ == "__main__":
    main()
