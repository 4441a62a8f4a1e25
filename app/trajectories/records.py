"""Runs as the flow map reads them: lines of JSON, one for a run and one for every state of a block.

A line is never changed once it is written, so a run that grows is a text that grows, and what compares two runs is one
text after the other. Coordinates are int16, little-endian, base64, in units that come with the cloud.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from coladlm import SamplerSettings
from coladlm.trace import Trace

from ..shared.charts import Charts
from ..shared.encoding import compact
from ..shared.run_facts import run_facts
from ..shared.token_pieces import pieces


def line(record: dict[str, Any]) -> str:
    return compact(record) + "\n"


class RunWriter:
    """Writes the lines of one sequence of a run, state by state.

    run: its name on the map. label: for people. branch: where it left another run, if it did. continues: is its text an
    answer to the prompt, that an end token or `max_new_tokens` cuts off; else it fills its blocks. facts: what its
    picture says of it, see app/shared/run_facts.py. tokens: of its text, where that has ended.
    """

    def __init__(
        self, charts: Charts, run: str, label: str, prompt: str, settings: SamplerSettings,
        branch: dict[str, Any] | None = None, continues: bool = True, facts: dict[str, Any] | None = None,
        tokens: int | None = None,
    ) -> None:  # fmt: skip
        model = charts.model.in_blocks_of(settings)
        self.charts, self.model, self.run = charts, model, run
        ids, ps, b = model.tokenize(prompt), model.patch_size, model.block_size
        self.before = ids[: len(ids) // (b * ps) * b * ps][-8:]  # tokens before the block under way
        self.special = frozenset((*model.end_ids, model.pad_id))
        self.ends = frozenset(model.end_ids) if continues and settings.stop_at_end else frozenset()
        # places of the blocks to come that belong to the text; those of the prompt stand at the start of the first
        length = settings.max_new_tokens if tokens is None else tokens
        self.lead = -(-len(ids) // ps) % b
        self.room = self.lead + -(-length // ps) if continues else None
        self.written = 0  # places of finished blocks that belong to the text, with those of the prompt in the first
        self.head = line(
            {
                "is": "run",
                "run": run,
                "label": label,
                "prompt": prompt,
                "stochasticity": settings.stochasticity,
                "places": b,
                "branch": branch,
                "facts": facts or {},
            }
        )

    def state(
        self, block: int, step: int, steps: int, noise: ArrayLike, latents: ArrayLike, clean: ArrayLike | None = None,
        ids: ArrayLike | None = None, confidence: ArrayLike | None = None, margin: ArrayLike | None = None,
    ) -> str:  # fmt: skip
        """The line of a block before one of its `steps`, or of the finished one (step == steps).

        noise: (p,) in percent. latents, clean: (p, d), the state and its clean estimate (none where it is finished).
        ids, confidence, margin: (p * patch_size,); without them no words are shown. The next block's first word is read
        after those of the last finished one.
        """
        last = step == steps
        record: dict[str, Any] = {
            "is": "state",
            "block": block,
            "step": step,
            "of": steps,
            "run": self.run,
            "last": last,
        }
        record["noise"] = [round(float(n), 2) for n in np.asarray(noise)]
        record["at"] = self.charts.coordinates(latents)
        if clean is not None:
            record["clean"] = self.charts.coordinates(clean)
        if ids is not None:
            ids = np.asarray(ids).tolist()
            record["ids"] = self._by_place(ids, list)
            record["sure"] = self._least(confidence)
            if margin is not None:
                record["margin"] = self._least(margin)
            end = 0
            if last:
                record["text"] = self._places_of_the_text(record["ids"])
                self.written += record["text"]
                end = record["text"] * self.model.patch_size if self.room == 0 else 0
            record["words"] = self._by_place(self._words(ids, end), "".join)
            if last:
                self.before = [*self.before, *ids][-8:]
        return line(record)

    def left_out(self, tokens: int) -> bool:
        """Do the lines show more of the text than its first tokens, as it is where its last sentence is not whole?"""
        return self.room is not None and self.lead + -(-tokens // self.model.patch_size) < self.written

    def states(self, trace: Trace, sequence: int, until: tuple[int, int] | None = None) -> Iterator[str]:
        """The lines of all states of a sequence of a recorded run, or of those before a step of a block."""
        clean = trace.clean()
        for block in map(int, np.flatnonzero(trace.active[sequence])):
            recorded, finished = np.flatnonzero(trace.recorded[block]), bool(trace.finished[block])
            steps = int(recorded[-1]) + 1 if finished and len(recorded) else trace.recipe.settings.steps
            for step in map(int, recorded):
                if until is not None and (block, step) >= until:
                    return
                at = (sequence, block, step)
                previews = (("ids", trace.preview_ids), ("confidence", trace.preview_confidence),
                            ("margin", trace.preview_margin))  # fmt: skip
                words = {name: read[at] for name, read in previews if read is not None}
                yield self.state(block, step, steps, trace.t[at] / 10, trace.z[at], clean[at], **words)
            if finished:
                latents, ids = trace.latents[sequence, block], trace.token_ids[sequence, block]
                sure = np.exp(trace.logprobs[sequence, block])
                yield self.state(block, steps, steps, np.zeros(len(latents)), latents, ids=ids, confidence=sure)

    def _words(self, ids: list[int], end: int) -> list[str]:
        """Those of a block's tokens. end: after how many of them the text ends, 0 where it does not."""
        tokenizer, text, rest = self.model.tokenizer, ids[:end], ids[end:]
        words = pieces(tokenizer, text, self.before, self.special, whole=True) if text else []
        return words + pieces(tokenizer, rest, [*self.before, *text], self.special) if rest else words

    def _places_of_the_text(self, ids: list[list[int]]) -> int:
        """How many places of a finished block belong to the text, which ends in it if those are not all."""
        ended = next((place for place, tokens in enumerate(ids) if self.ends.intersection(tokens)), len(ids))
        if self.room is None:
            return ended
        count = min(ended, self.room)
        self.room = self.room - len(ids) if count == len(ids) else 0
        return max(0, count)

    def _by_place(self, tokens: list[Any], join: Any) -> list[Any]:
        """What belongs to tokens, put together by the latent that holds them."""
        ps = self.model.patch_size
        return [join(tokens[start : start + ps]) for start in range(0, len(tokens), ps)]

    def _least(self, values: ArrayLike | None) -> list[float]:
        """The least sure token of every place."""
        values = np.asarray(values, np.float64).reshape(-1, self.model.patch_size)
        return [round(float(value), 3) for value in values.min(1)]


def trace_lines(
    charts: Charts, trace: Trace, sequence: int, run: str, label: str, branch: dict[str, Any] | None = None
) -> Iterator[str]:
    """The lines of one sequence of a recorded run."""
    recipe = trace.recipe
    continues = recipe.operation in ("generate", "branch")
    facts = run_facts(charts.model, recipe, sequence)
    tokens = None if trace.answers is None else len(trace.answer(sequence))
    writer = RunWriter(charts, run, label, trace.prompts[sequence], recipe.settings, branch, continues, facts, tokens)
    yield writer.head
    yield from writer.states(trace, sequence)
