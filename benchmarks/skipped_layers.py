"""What guidance away from the same network without one of its layers does to text, beside guidance away from nothing.

    python -m benchmarks.skipped_layers --data DATA --judge JUDGE.gguf --layers 3 4 --guidance 1 2 --json skipped.json

A network that lacks a layer knows the text before as well as the whole one and makes more mistakes, so what differs
between the two is the mistakes (a weaker model as what guidance leads away from: Karras et al. 2024, arXiv:2406.02507).
v = guided velocity + strength (conditional velocity - conditional velocity without the layer). Nothing is trained for
it. Rows come in the measures of `python -m coladlm sweep`, which runs the same prompts with guidance alone; without
`--layers` this does so too.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from coladlm import ColaDLM
from coladlm.baseline.baseline import Baseline
from coladlm.evaluate.generation import cut_to_words, measured, written_by_model, written_in_excerpts
from coladlm.evaluate.judge import Judge
from coladlm.evaluate.measures import count_ngrams
from coladlm.evaluate.stories import excerpts_of_words
from coladlm.evaluate.sweep import COUNTED, line_of
from coladlm.networks.dit import BlockCausalDiT, LookedUp, Modulations
from coladlm.networks.layers import Attend
from coladlm.output_paths import written_whole
from coladlm.sampling import flow
from coladlm.sampling.velocity import BlockVelocity
from coladlm.train.corpus import read_stories


def velocity_without(dit: BlockCausalDiT, skipped: int, z: Tensor, modulations: Modulations | LookedUp, rope: Tensor,
                     attend: Attend) -> Tensor:  # fmt: skip
    """The velocity (B, n, d) of z (B, n, d) that a DiT has without one of its layers."""
    layers, x = modulations.layers, dit.txt_in["proj"](z).float()
    for layer, block in enumerate(dit.layers):
        if layer != skipped:
            x = block(x, layer, layers[layer], rope, attend)
    return dit.output(x, modulations)


@contextlib.contextmanager
def led_away(skipped: int, strength: float) -> Iterator[None]:
    """Runs that begin in this context are also led away from the network without this layer."""
    usual = BlockVelocity._guided

    def guided(self: BlockVelocity, z: Tensor, t: flow.Time) -> tuple[Tensor, Tensor | None, Tensor | None]:
        velocity, conditional, unconditional = usual(self, z, t)
        whole = velocity if conditional is None else conditional
        without = velocity_without(self.dit, skipped, z, self._modulations(t, 1), *self._passes(False))
        return velocity + strength * (whole - without), conditional, unconditional

    with mock.patch.object(BlockVelocity, "_guided", guided):
        yield


def rows(model: ColaDLM, baseline: Baseline, judge: Judge | None, prompts: Sequence[str], limit: int,
         options: argparse.Namespace) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The measures for each guidance, alone and with each layer and strength."""
    base = dataclasses.replace(model.defaults, max_new_tokens=options.max_new_tokens, stagger=options.stagger)
    for guidance in options.guidance:
        settings = dataclasses.replace(base, guidance=guidance)
        for layer in options.layers or [None]:
            for strength in options.strengths if layer is not None else [0.0]:
                start = time.perf_counter()
                with contextlib.nullcontext() if layer is None else led_away(layer, strength):
                    written = written_by_model(model, prompts, settings, options.batch)
                seconds = round(time.perf_counter() - start, 1)
                found = measured(cut_to_words(written, options.words), baseline, limit=limit, judge=judge)
                chosen = {"guidance": guidance, "without_layer": layer, "strength": strength}
                yield {**chosen, "seconds": seconds, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="with valid.jsonl")
    parser.add_argument("--model", metavar="PLACE", help="a checkpoint (the bundled model)")
    parser.add_argument("--judge", type=Path, metavar="PATH", help="a causal language model: folder or .gguf file")
    parser.add_argument("--layers", type=int, nargs="*", default=[], metavar="N", help="to go without, from 0")
    parser.add_argument("--strengths", type=float, nargs="*", default=[1.0], help="(%(default)s)")
    parser.add_argument("--guidance", type=float, nargs="*", default=[1.0, 2.0], help="(%(default)s)")
    parser.add_argument("--stagger", type=float, default=0.5, help="(%(default)s)")
    parser.add_argument("--prompts", type=int, default=48, metavar="N", help="(%(default)s)")
    parser.add_argument("--given", type=int, default=24, metavar="N", help="words of a prompt (%(default)s)")
    parser.add_argument("--words", type=int, default=60, metavar="N", help="of a text (%(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=96, metavar="N", help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=48, metavar="N", help="(%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = ColaDLM.from_pretrained(options.model, device="cpu", dtype="float32")
    if wrong := [layer for layer in options.layers if not 0 <= layer < len(model.dit.layers)]:
        parser.error(f"layers has {wrong[0]}, expected numbers from 0 to {len(model.dit.layers) - 1}")
    baseline = Baseline.from_pretrained(device="cpu", dtype="float32")
    judge = None if options.judge is None else Judge.from_pretrained(options.judge)
    stories = read_stories(options.data / "valid.jsonl")
    real = excerpts_of_words(stories, options.prompts, options.given, options.words)
    held_out = written_in_excerpts(real, baseline)
    limit = int(COUNTED * count_ngrams([w.text for w in held_out], 2))
    found = []
    for row in rows(model, baseline, judge, [excerpt.prompt for excerpt in real], limit, options):
        found.append(row)
        print({name: row[name] for name in ("guidance", "without_layer", "strength")}, line_of(row), flush=True)
        if options.json:
            with written_whole(options.json) as partial:
                partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
