"""An edit as the page shows it: the text as it was, and its candidates as rows, in the end best first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from coladlm import ColaDLM
from coladlm.latent.edit import Edited
from coladlm.recipe import Recipe

from ..components.text_rows import CHANGED, SPAN, segments
from ..shared.row_frames import Frame, LiveRows, Row
from ..shared.token_pieces import pieces

ALIKE = (
    "All candidates came out the same: the words around leave no other choice. Select more words, or set a temperature "
    "under Sampler, to see others."
)
AROUND = 60  # tokens of a long text that are shown before and after the span


class LiveEdit(LiveRows):
    """Frames of the events of `edit`; the first row is the text as it was."""

    def __init__(self, model: ColaDLM, recipe: Recipe, clock: Callable[[], float] = time.perf_counter) -> None:
        start, end, follow = (recipe.options.get(name) or 0 for name in ("start", "end", "follow"))
        self.span = (start, end)
        self.before = model.tokenize(recipe.texts[0])
        self.parts = pieces(model.tokenizer, self.before, whole=True)
        per_block = model.block_size * model.patch_size
        self.first = start // per_block * per_block
        last = len(self.before) if follow else end
        self.low, self.high = max(0, min(self.first, start - AROUND)), min(len(self.before), end + AROUND)
        room = len(self.before) - self.first
        rows = [
            Row("", self._lead(), "", self.before[self.first :], self.before[: self.first][-8:], room)
            for _ in range(recipe.variations)
        ]
        super().__init__(model, recipe, rows, -(-last // per_block) - self.first // per_block, ends=False, clock=clock)
        self.was = Row(
            "before", final=self._window(self.parts, [SPAN * (start <= i < end) for i in range(len(self.parts))])
        )

    def after(self, event: Any) -> Frame | None:
        if isinstance(event, Edited):
            return self._edited(event)
        return super().after(event)

    def outcome(self) -> list[str]:
        different = len({row.text for row in self.rows})
        count = f"{len(self.rows)} candidate" + ("" if len(self.rows) == 1 else "s")
        return [count, f"{different} different text" + ("" if different == 1 else "s")]

    def shown(self) -> list[Row]:
        for row in self.rows:
            if row.final is None:
                row.tail = self._tail(row)
        return [self.was, *(row for row in self.rows if row.label or row.final is None)]

    def stopped_rows(self) -> dict[str, Any]:
        for number, row in enumerate(self.rows, 1):
            if row.final is None:
                row.label = f"no. {number}"
        return super().stopped_rows()

    def text_so_far(self, row: Row) -> str:
        after = self.first + len(row.answer) + len(row.live)
        return "".join(self.parts[: self.first]) + self.written(row) + "".join(self.parts[after:])

    def _edited(self, edited: Edited) -> Frame:
        self.was.score = f"misfit {edited.misfit_before:.3f}"
        self.notes = list(edited.notes)
        if edited.span != self.span:
            self.notes.append("The span was widened to whole patches of tokens.")
        texts = [candidate.text for candidate in edited.candidates]
        if len(texts) > 1 and len(set(texts)) == 1:
            self.notes.append(ALIKE)
        ranks = {text: rank for rank, text in enumerate(dict.fromkeys(texts), 1)}
        for at, (row, candidate) in enumerate(zip(self.rows, edited.candidates, strict=True)):
            alike = texts.count(candidate.text)
            row.text = candidate.text
            row.label = "" if candidate.text in texts[:at] else f"no. {ranks[candidate.text]}"  # stands there once
            row.score = f"misfit {candidate.misfit:.3f}" + (f" · {alike} alike" if alike > 1 else "")
            parts = pieces(self.model.tokenizer, candidate.token_ids, special=self.special)
            row.final = self._window(parts, [CHANGED * new for new in candidate.changed])
            row.lead, row.tail, row.live, row.answer = "", "", [], list(candidate.token_ids[self.first :])
        return self.frame("running", [self._seconds()], 1.0, "Writing")

    def _window(self, parts: Sequence[str], flags: Sequence[int]) -> list[tuple[str, int]]:
        """The part of a text that is shown: around the span, and to the last token that is flagged."""
        last = max((i for i, flag in enumerate(flags) if flag), default=0)
        high = min(len(parts), max(self.high, last + 1 + AROUND)) if last >= self.high else min(len(parts), self.high)
        shown = segments(parts[self.low : high], flags[self.low : high])
        return [*([("… ", 0)] if self.low else []), *shown, *([(" …", 0)] if high < len(parts) else [])]

    def _lead(self) -> str:
        return ("… " if self.low else "") + "".join(self.parts[self.low : self.first])

    def _tail(self, row: Row) -> str:
        written = min(self.high, self.first + len(row.answer) + len(row.live))
        return "".join(self.parts[written : self.high]) + (" …" if self.high < len(self.before) else "")
