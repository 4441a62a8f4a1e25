"""A run as the page shows it: events of the sampler in, frames for a TokenStrip and a ProgressLine out."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from coladlm import ColaDLM
from coladlm.recipe import Recipe
from coladlm.sampling.events import BlockDone, Event, Finished, Step
from coladlm.sampling.tokens import NO_TOKEN
from coladlm.serve import Waiting
from coladlm.trace.recorder import Preview, preview

from ..components.progress_line import RunState, progress_value
from ..components.token_strip import Token, first_tokens, settled_line, strip_value
from ..shared.generation import OPERATION
from ..shared.token_pieces import pieces
from ..shared.told_steps import ToldSteps
from ..shared.views import FRAME_SECONDS
from ..shared.waiting import waiting_frame, waiting_parts
from .direction_dial import turned_to
from .filling import shown_prompt, start_of
from .paths import PathWriter, joined, least
from .steered import marks_of

NOTHING = "Done: nothing is written, as the model takes the text to be over. It knows texts like those of its training."


class Frame(NamedTuple):
    """The values of a TokenStrip and a ProgressLine."""

    strip: dict[str, Any]
    progress: dict[str, Any]


class LiveRun:
    """Follows the first sequence of a run and makes frames of its events. Words that stood there already are shown as
    they are, whatever the decoder reads in their place.

    `frames` yields at once and at the first step, then at most every FRAME_SECONDS, at the end of every block and at
    the end of the run.
    """

    def __init__(
        self, model: ColaDLM, recipe: Recipe, clock: Callable[[], float] = time.perf_counter,
        read: Callable[[Step], Preview] = lambda step: preview(step.preview()), paths: PathWriter | None = None,
    ) -> None:  # fmt: skip
        """read: what the decoder reads at a step, for who knows it already. paths: gets the states that are shown."""
        model = model.in_blocks_of(recipe.settings)
        self.model, self.settings, self.clock, self.read = model, recipe.settings, clock, read
        self.paths = paths
        self.run = secrets.token_hex(4)
        start = start_of(model, recipe)
        self.prompt, self.marks = shown_prompt(start.prompt), marks_of(recipe)
        self.room = start.answers[0]
        self.special = frozenset((*model.end_ids, model.pad_id))
        per_block = model.block_size * model.patch_size
        self.prompt_ids = model.tokenize(start.prompt)
        self.skip = tokens_of_first_block(model, len(self.prompt_ids))
        self.blocks = -(-(self.skip + max(map(len, start.answers))) // per_block)
        self.ends = frozenset(model.end_ids if recipe.operation == OPERATION and self.settings.stop_at_end else ())
        self.answer: list[int] = []
        self.settled = ""
        self.live: list[Token] = []
        self.started = clock()
        self.told = ToldSteps(self.settings, model.block_size, clock)
        noises = self.settings.noises_of(model.block_size)
        self.drafted = [f"the best of {noises} noises"] if noises > 1 else []
        self.turned = turned_to(recipe.options)
        self.opened = False  # the prompt was empty, and the text begins with a line of the model's

    def frames(self, events: Iterator[Event]) -> Generator[Frame]:
        yield (latest := self._frame("running", ["starting"], 0.0, "Writing"))
        shown = self.clock() - FRAME_SECONDS  # the first words do not wait
        for event in events:
            if isinstance(event, Step):
                self.told.wait_for(event)
                if self.clock() - shown < FRAME_SECONDS:
                    continue
                yield (latest := self._step(event))
            elif isinstance(event, BlockDone):
                yield (latest := self._block(event))
            elif isinstance(event, Finished):
                yield self._finish(event)
            elif isinstance(event, Waiting):  # a frame all the same: a visitor who left is noticed at one
                yield (
                    waiting_frame(self._frame("running", waiting_parts(event), 0.0, "Waiting"))
                    if event.ahead
                    else latest
                )
                self.told.begins()
                continue
            shown = self.clock()

    def _step(self, step: Step) -> Frame:
        read = self.read(step)
        start = self.skip if step.block == 0 else 0
        given = self.room[len(self.answer) :]
        times = step.t[0].cpu().numpy()
        read_ids = zip(given, read.ids[0].tolist()[start:], strict=False)
        ids = [found if token == NO_TOKEN else token for token, found in read_ids]
        sure = read.confidence[0].tolist()[start:][: len(ids)]
        noises = np.repeat(times / 1000, self.model.patch_size).tolist()[start:]
        self.live = self._tokens(ids, sure, noises, [token != NO_TOKEN for token in given])
        self._add_path(step.block, step.index, step.steps, times, step.z[0].float().cpu().numpy())
        noise = step.noise[0].item()
        return self._running(step.block, step.index, step.steps, noise)

    def _block(self, done: BlockDone) -> Frame:
        start = self.skip if done.block == 0 else 0
        ids, confidence = done.token_ids[0].tolist()[start:], done.logprobs[0].exp().tolist()[start:]
        ids = ids[: len(self.room) - len(self.answer)]
        ends = [i for i, token in enumerate(ids) if token in self.ends]
        ids = ids[: ends[0]] if ends else ids
        given = [token != NO_TOKEN for token in self.room[len(self.answer) :]]
        whole = bool(ends) or len(self.answer) + len(ids) == len(self.room)
        self.live = self._tokens(ids, confidence, given=given, whole=whole)
        latents, steps = done.latents[0].float().cpu().numpy(), self.settings.steps
        self._add_path(done.block, steps, steps, np.zeros(len(latents)), latents)
        self.settled += settled_line(self.live)
        self.answer += ids
        self.live = []
        return self._running(done.block, self.settings.steps, self.settings.steps, 0.0)

    def _finish(self, finished: Finished) -> Frame:
        how = {"end": "it came to its end", "length": "as long as asked for"}[finished.reasons[0]]
        count, written = len(finished.token_ids[0]), len(self.answer)
        if count < written:  # a sentence that is not whole is left out
            self.settled, self.answer = first_tokens(self.settled, count), self.answer[:count]
            how = "up to the last whole sentence"
        kept = _count(count) if count == written else f"{_count(written)} written, {count} kept"
        given = ["the first words were given"] if self.opened else []
        parts = [kept, *self._speed(written), how, *given, *self.turned]
        note = NOTHING if not count else f"Done: {kept}." if count < written else f"Done: {kept} written."
        return self._frame("done", parts, 1.0, note)

    def _tokens(
        self, ids: list[int], confidence: list[float], noise: Iterable[float] = itertools.repeat(0.0),
        given: Iterable[bool] = itertools.repeat(False), whole: bool = False,
    ) -> list[Token]:  # fmt: skip
        texts = pieces(self.model.tokenizer, ids, [*self.prompt_ids[-8:], *self.answer][-8:], self.special, whole)
        found = zip(texts, confidence, ids, noise, given, strict=False)
        return [Token(text, p, token in self.special, share, known) for text, p, token, share, known in found]

    def _add_path(self, block: int, step: int, of: int, times: ArrayLike, latents: ArrayLike) -> None:
        if self.paths is None:
            return
        size = self.model.patch_size
        words, sure = [token.text for token in self.live], [token.confidence for token in self.live]
        self.paths.add(block, step, of, times, latents, joined(words, size), least(sure, size))

    def _running(self, block: int, index: int, steps: int, noise: float) -> Frame:
        parts = [
            f"block {block + 1} of {self.blocks}",
            f"step {min(index + 1, steps)} of {steps}",
            f"noise {noise:.0f} %",
            *self.drafted,
            *self._speed(len(self.answer)),
        ]
        return self._frame("running", parts, (block + index / steps) / self.blocks, "Writing")

    def _speed(self, tokens: int) -> list[str]:
        seconds = self.clock() - self.started
        if not tokens or seconds <= 0:
            return [f"{seconds:.1f} s"]
        rate = tokens / seconds
        return [f"{seconds:.1f} s", f"{rate:.{0 if rate >= 10 else 1}f} tokens/s"]

    def _frame(self, state: RunState, parts: list[str], fraction: float, message: str) -> Frame:
        tokens = len(self.answer)
        return Frame(
            strip_value(self.run, state, self.prompt, self.settled, self.live) | self.marks,
            progress_value(state, parts, fraction, message, self.run, tokens, len(self.live)),
        )


def tokens_of_first_block(model: ColaDLM, prompt_tokens: int) -> int:
    """Tokens of the first new block that belong to a prompt: what its whole blocks leave over."""
    return -(-prompt_tokens // model.patch_size) % model.block_size * model.patch_size


def _count(tokens: int) -> str:
    return f"{tokens:,} token" + ("" if tokens == 1 else "s")
