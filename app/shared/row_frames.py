"""A batch of texts as the page shows it: events of the sampler in, values for TextRows and a ProgressLine out.

What an operation has to say beside the sampler's events is told by a subclass (`LiveInterpolation`, `LiveEdit`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from coladlm import ColaDLM
from coladlm.recipe import Recipe
from coladlm.sampling.events import BlockDone, Finished, Step
from coladlm.serve import Waiting
from coladlm.trace.recorder import Preview, preview

from ..components.progress_line import RunState, progress_value, stopped_value
from ..components.text_rows import KEPT, row_value, rows_value
from ..components.token_strip import Token, first_tokens, settled_line
from ..runs.registry import RunContext
from .token_pieces import pieces
from .told_steps import ToldSteps
from .views import FRAME_SECONDS
from .waiting import waiting_frame, waiting_parts

SHARE = 4  # frames take at most one part in so many of the time: many long rows cost more to decode than to sample


class Frame(NamedTuple):
    """The values of what shows the rows, TextRows unless a subclass says otherwise, and of a ProgressLine."""

    rows: dict[str, Any]
    progress: dict[str, Any]


@dataclasses.dataclass
class Row:
    """A text on its way.

    lead, tail: what is shown around what is being written. before: ids of tokens that may stay, counted from the run's
    first block. context: ids right before that. skip: tokens of the first block that the lead holds already; None to
    take those that stay. room: how many tokens are written at most. final, text, score: see `row_value`.
    """

    label: str
    lead: str = ""
    tail: str = ""
    before: Sequence[int] = ()
    context: Sequence[int] = ()
    room: int | None = None
    skip: int | None = 0
    answer: list[int] = dataclasses.field(default_factory=list)
    settled: str = ""
    live: list[Token] = dataclasses.field(default_factory=list)
    ended: bool = False
    final: list[tuple[str, int]] | None = None
    text: str = ""
    score: str = ""

    def value(self) -> dict[str, Any]:
        return row_value(self.label, self.lead, self.settled, self.live, self.tail, self.final, self.text, self.score)


class LiveRows:
    """Follows a run and makes frames of its events, at once, then so often that they take a small share of the time.

    rows: one for each sequence of the batch. blocks: how many there will be. ends: does an end token end a text.
    """

    def __init__(self, model: ColaDLM, recipe: Recipe, rows: list[Row], blocks: int, ends: bool,
                 clock: Callable[[], float] = time.perf_counter) -> None:  # fmt: skip
        self.model, self.settings, self.clock = model, recipe.settings, clock
        self.rows, self.blocks, self.ends = rows, max(1, blocks), ends
        self.run = secrets.token_hex(4)
        self.special = frozenset((*model.end_ids, model.pad_id))
        self.notes: list[str] = []
        self.more: dict[str, Any] = {}  # further parts of the frames, beside rows and progress
        self.read: Callable[[Step], Preview] = lambda step: preview(step.preview())
        self.told: ToldSteps | None = None  # where steps may come all together
        self.phase = ""  # what comes before the numbers while something else than the run itself goes on
        self.began = False  # has the run itself had its say: one that is refused leaves what stood there before
        self.started = clock()

    def frames(self, events: Iterable[Any]) -> Generator[Frame]:
        """The frames of a run's events. Closing this generator closes `events`."""
        yield (latest := self.frame("running", ["starting"], 0.0, "Writing"))
        shown, cost = self.clock(), 0.0
        try:
            for event in events:
                if self.told is not None and isinstance(event, Step):
                    self.told.wait_for(event)
                begun = self.clock()
                self.began = self.began or not isinstance(event, Waiting)
                if isinstance(event, Step) and any(row.skip is None for row in self.rows):
                    self._note_leads(event)  # also where this step is not shown
                if isinstance(event, Waiting):  # a frame all the same: a visitor who left is noticed at one
                    waiting = waiting_frame(self.frame("running", waiting_parts(event), 0.0, "Waiting"))
                    yield waiting if event.ahead else latest
                    if self.told is not None:
                        self.told.begins()
                    continue
                if self._is_step(event) and begun - shown < max(FRAME_SECONDS, (SHARE - 1) * cost):
                    continue
                frame = self.after(event)
                if frame is not None:
                    yield (latest := frame)
                    shown = self.clock()
                    cost = shown - begun
        finally:
            if hasattr(events, "close"):
                events.close()

    def _note_leads(self, step: Step) -> None:
        """How many tokens of the first block each row's lead holds already: those that stand still at its start."""
        for row, stays in zip(self.rows, (step.start == 0).tolist(), strict=True):
            if row.skip is None:
                row.skip = _leading(stays) * self.model.patch_size

    def _is_step(self, event: Any) -> bool:
        return isinstance(event, Step)

    def after(self, event: Any) -> Frame | None:
        """The frame that an event gives, if any. Subclasses add those of their operation."""
        if isinstance(event, Step):
            return self._step(event)
        if isinstance(event, BlockDone):
            return self._block(event)
        if isinstance(event, Finished):
            self._leave_out(event)
            return self.frame("done", [*self.outcome(), self._seconds()], 1.0, f"Done: {', '.join(self.outcome())}.")
        return None

    def _leave_out(self, finished: Finished) -> None:
        """Takes back what a text's settings leave out of it in the end."""
        if not self.settings.whole_sentences:
            return
        for row, ids in zip(self.rows, finished.token_ids, strict=True):
            if row.final is None and ids == row.answer[: len(ids)]:
                row.settled, row.answer = first_tokens(row.settled, len(ids)), list(ids)

    def outcome(self) -> list[str]:
        """What the finished run came to, in a few words each."""
        return [f"{len(self.rows)} texts"]

    def shown(self) -> list[Row]:
        """The rows as they stand on the page."""
        return self.rows

    def stopped_rows(self) -> dict[str, Any]:
        """The rows of a run that was stopped: what there is of a text can be used as a finished one can."""
        for row in self.rows:
            if row.final is None and (row.answer or row.live):
                text = self.text_so_far(row)
                row.text = text if text.strip() else ""
        return self.rows_value("stopped")

    def rows_value(self, state: RunState) -> dict[str, Any]:
        """What shows the rows."""
        return rows_value(self.run, state, [row.value() for row in self.shown()], self.notes)

    def text_so_far(self, row: Row) -> str:
        """All that there is of an unfinished text."""
        return row.lead + self.written(row)

    def written(self, row: Row) -> str:
        """What has been written of an unfinished text, the tokens that still form included."""
        settled = [Token(*token) for line in row.settled.split("\n") if line for token in json.loads(line)]
        text = ""
        for token in (*settled, *row.live):
            if token.special and self.ends:
                break
            text += "" if token.special else token.text
        return text

    def _step(self, step: Step) -> Frame:
        read = self.read(step)
        kept = (step.start == 0).tolist()
        for row, ids, confidence, stays, active in zip(
            self.rows, read.ids.tolist(), read.confidence.tolist(), kept, step.active.tolist(), strict=True
        ):
            if not active or row.final is not None or row.ended:
                row.live = []
                continue
            stays = [there for there in stays for _ in range(self.model.patch_size)]
            for i, token in enumerate(row.before[len(row.answer) :][: len(ids)]):
                if stays[i]:
                    ids[i], confidence[i] = token, KEPT
            if step.block == 0:
                ids, confidence = ids[row.skip :], confidence[row.skip :]
            row.live = self._tokens(row, ids, confidence)
        return self.running(step.block, step.index, step.steps, step.noise.max().item())

    def _block(self, done: BlockDone) -> Frame:
        confidences = done.logprobs.exp().tolist()
        for row, ids, confidence, active in zip(
            self.rows, done.token_ids.tolist(), confidences, done.active.tolist(), strict=True
        ):
            row.live = []
            if not active or row.final is not None or row.ended:
                continue
            if done.block == 0 and row.skip:
                ids, confidence = ids[row.skip :], confidence[row.skip :]
            if self.ends:
                stop = next((i for i, token in enumerate(ids) if token in self.model.end_ids), None)
                row.ended, ids = stop is not None, ids[:stop]
            known = row.before[len(row.answer) : len(row.answer) + len(ids)]
            same = [i < len(known) and known[i] == token for i, token in enumerate(ids)]
            whole = row.ended or (row.room is not None and len(row.answer) + len(ids) >= row.room)
            tokens = self._tokens(row, ids, [KEPT if s else p for s, p in zip(same, confidence, strict=False)], whole)
            row.settled += settled_line(tokens)
            row.answer += ids[: len(tokens)]
        steps = self.settings.steps
        return self.running(done.block, steps, steps, 0.0)

    def _tokens(self, row: Row, ids: list[int], confidence: list[float], whole: bool = False) -> list[Token]:
        room = None if row.room is None else max(0, row.room - len(row.answer))
        ids = ids[:room]
        texts = pieces(self.model.tokenizer, ids, [*row.context, *row.answer][-8:], self.special, whole)
        return [Token(text, p, token in self.special) for text, p, token in zip(texts, confidence, ids, strict=False)]

    def running(self, block: int, index: int, steps: int, noise: float) -> Frame:
        """The frame of a run under way."""
        parts = [
            *([self.phase] if self.phase else []),
            f"block {block + 1} of {max(self.blocks, block + 1)}",
            f"step {min(index + 1, steps)} of {steps}",
            f"noise {noise:.0f} %",
            self._seconds(),
        ]
        fraction = min(1.0, (block + index / steps) / self.blocks)
        return self.frame("running", parts, 0.0 if self.phase else fraction, "Writing")

    def _seconds(self) -> str:
        return f"{self.clock() - self.started:.1f} s"

    def frame(self, state: RunState, parts: list[str], fraction: float, message: str) -> Frame:
        written, forming = (sum(map(len, kind)) for kind in zip(*((r.answer, r.live) for r in self.rows), strict=True))
        return Frame(
            self.rows_value(state), progress_value(state, parts, fraction, message, self.run, written, forming)
        )


def shown_rows(context: RunContext, live: LiveRows, events: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The parts of a run's frames: rows, progress and `live.more`. One that is stopped ends with what there is.

    Until the run has begun there is its progress alone.
    """
    live.run = context.id
    latest, done = None, False
    try:
        with contextlib.closing(live.frames(events)) as frames:
            for latest in frames:
                yield {**latest._asdict(), **live.more} if live.began else {"progress": latest.progress}
        done = True
    finally:
        if latest is not None and not done:
            rows = {"rows": live.stopped_rows(), **live.more} if live.began else {}
            context.show({**rows, "progress": stopped_value(latest.progress)})


def _leading(stays: Sequence[bool]) -> int:
    """How many are True before the first False."""
    return next((i for i, there in enumerate(stays) if not there), len(stays))
