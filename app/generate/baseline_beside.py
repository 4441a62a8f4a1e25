"""The view of the autoregressive baseline's text, written beside that of a kept run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from coladlm.baseline.baseline import BaselineSettings, Chosen
from coladlm.sampling.events import Finished
from coladlm.sampling.sentences import whole_sentences
from coladlm.serve import ClosingError, Waiting

from ..components.progress_line import RunState, progress_value
from ..components.text_rows import row_value, rows_value
from ..runs.registry import Frame, RunContext
from ..shared.amounts import in_millions
from ..shared.errors import labelled_errors
from ..shared.generation import FILL
from ..shared.operation_controls import number
from ..shared.trace_store import Run
from ..shared.views import FRAME_SECONDS, owner_of, with_stopped_frame
from ..shared.waiting import waiting_parts
from .differences import measures_of
from .frames import shown_prompt
from .handlers import GenerateHandlers
from .kept_texts import kept_row, kept_text, measures_of_texts, written
from .row_steps import word_by_word

NO_HOLES = "The baseline fills no holes: it goes on from what stands before the first, and knows nothing of the rest."


def write_baseline(handlers: GenerateHandlers, context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
    """The view of the baseline's text beside that of the run `kept`, then their measures.

    Controls: temperature and top_p of the baseline. Parts: rows, progress and measures. Raises ValueError with a
    sentence.
    """
    with labelled_errors():
        kept = controls.get("kept")
        found = handlers.kept(owner_of(context, kept), kept)
        recipe, holes = found.trace.recipe.settings, found.trace.recipe.operation == FILL
        settings = BaselineSettings(
            max_new_tokens=len(found.trace.answer(found.sequence)) if holes else recipe.max_new_tokens,
            temperature=number(controls.get("temperature"), "Temperature"),
            top_p=number(controls.get("top_p"), "Top-p"),
            seed=recipe.seed,
            stop_at_end=recipe.stop_at_end,
        )
        taken = kept.get("seconds") if kept else None  # None of a recorded run
        seconds = None if taken is None else number(taken, "The time of the run")
        writing = _BaselineWriting(handlers, found, settings, seconds)
        yield from with_stopped_frame(context, writing.frames(context), "rows")


class _BaselineWriting:
    """The baseline's text on its way, beside that of a kept run, which took so many seconds."""

    def __init__(
        self, handlers: GenerateHandlers, found: Run, settings: BaselineSettings, seconds: float | None
    ) -> None:  # fmt: skip
        self.handlers, self.found, self.settings, self.seconds_kept = handlers, found, settings, seconds
        self.baseline = handlers.baseline.get(handlers.model.device)
        self.prompt = found.trace.prompts[found.sequence]
        self.first, self.lead = kept_row(handlers.model, found, "model"), shown_prompt(self.prompt)
        self.ids: list[int] = []
        self.begun = time.perf_counter()

    def frames(self, context: RunContext) -> Generator[Frame]:
        yield {"rows": self._rows(context.id, "running", ""), "measures": None,
               "progress": progress_value("running", ["starting"], 0.0, "Writing")}  # fmt: skip
        shown, seconds, end = time.perf_counter(), 0.0, None
        writing = self.handlers.scheduler.alone(self._sample, context.visitor, "baseline")
        with contextlib.closing(writing) as events:
            for event in events:
                now = time.perf_counter()
                if isinstance(event, Waiting):
                    yield self._waiting(event, now)
                elif isinstance(event, Chosen):
                    self.ids.append(int(event.token_ids[0]))
                    if now - shown >= FRAME_SECONDS:
                        shown = now
                        rows = self._rows(context.id, "running", self.baseline.read(self.ids))
                        yield {"rows": rows, "progress": self._progress(now)}
                elif isinstance(event, Finished):
                    end, seconds = event, now - self.begun
        if end is None:
            raise ClosingError
        answer = self._answer(end)
        ids = [token for token in answer if token not in self.baseline.end_ids]
        steps = word_by_word(self.baseline.tokenizer, ids, self.baseline.tokenize(self.prompt)[-8:], self.lead)
        rows = self._rows(context.id, "done", self.baseline.read(answer), steps)
        parts = [f"{len(answer)} tokens", f"{seconds:.1f} s"]
        measuring = {**self._progress(time.perf_counter()), "message": "Measuring"}
        yield {"rows": {**rows, "state": "running"}, "progress": measuring}
        yield {"rows": rows, "progress": progress_value("done", parts, 1.0), "measures": self._measures(end, seconds)}

    def _answer(self, end: Finished) -> list[int]:
        """Up to the last whole sentence, where the model's own text is."""
        answer = end.token_ids[0]
        whole = self.found.trace.recipe.settings.whole_sentences and end.reasons[0] == "length"
        return whole_sentences(answer, self.baseline.read) if whole else answer

    def _sample(self) -> Iterator[Any]:
        return self.baseline.sample([self.prompt], self.settings, sequences=[self.found.sequence])

    def _waiting(self, waiting: Waiting, now: float) -> Frame:
        """A frame also where nothing is new: a run that is stopped ends at one."""
        if not waiting.ahead:
            return {"progress": self._progress(now)}
        self.begun = now
        return {"progress": progress_value("waiting", waiting_parts(waiting), 0.0, "Waiting")}

    def _progress(self, now: float) -> dict[str, Any]:
        count, most = len(self.ids), self.settings.max_new_tokens
        parts = [f"token {count} of {most}", f"{now - self.begun:.1f} s"]
        return progress_value("running", parts, count / most, "Writing", tokens=count)

    def _rows(self, run: str, state: RunState, text: str, steps: dict[str, str] | None = None) -> dict[str, Any]:
        row = row_value("baseline", self.lead, final=[(text, 0)], steps=steps)
        notes = [NO_HOLES] if self.found.trace.recipe.operation == FILL else []
        return rows_value(run, state, [self.first, row], notes, share=len(self.ids) / self.settings.max_new_tokens)

    def _measures(self, end: Finished, seconds: float) -> dict[str, Any]:
        """The value of the table: both texts side by side."""
        mine, answer, texts = kept_text(self.found), self._answer(end), len(self.found.trace.texts)
        theirs = (self.baseline.read(answer), end.reasons[0] == "end", len(answer))
        scores = measures_of_texts(self.handlers, self.prompt, mine, theirs)
        model, baseline = in_millions(self.handlers.model.parameters), in_millions(self.baseline.parameters)
        note = f"The model has {model}, the baseline {baseline} parameters."
        if texts > 1:
            note += f" The model's time is a share of a batch of {texts}."
        own = None if self.seconds_kept is None else self.seconds_kept / texts
        columns = [("Model", scores[0], own, written(self.found)),
                   ("Baseline", scores[1], seconds, len(end.token_ids[0]))]  # fmt: skip
        return measures_of(columns, note)
