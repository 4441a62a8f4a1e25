"""An edit as the page shows it: its candidates at every strength, in the end best first."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from coladlm import ColaDLM
from coladlm.latent.edit import OPTIONS, Candidate, Edited, count_texts
from coladlm.recipe import Recipe, check_options

from ..components.candidate_stage import candidate_value, stage_value
from ..components.progress_line import RunState
from ..components.text_rows import CHANGED, segments
from ..shared.operation_controls import percent
from ..shared.row_frames import Frame, LiveRows, Row
from ..shared.token_pieces import pieces

ALIKE = (
    "All candidates came out the same: the words around leave no other choice. Select more words, or set a temperature "
    "among the settings, to see others."
)
AROUND = 30  # tokens of a long text that are shown before and after the span


@dataclasses.dataclass(frozen=True)
class Shown:
    """A candidate as it stands on the stage. place: of its strength on the strip. words, changed: see
    `candidate_value`.
    """

    row: Row
    place: int
    words: str = ""
    changed: float = 0.0


class LiveEdit(LiveRows):
    """Frames of the events of `edit`, whose rows are a value for a CandidateStage."""

    def __init__(self, model: ColaDLM, recipe: Recipe, clock: Callable[[], float] = time.perf_counter) -> None:
        options = check_options(recipe.options, OPTIONS)
        start, end, follow = (options[name] or 0 for name in ("start", "end", "follow"))
        self.span, self.candidates = (start, end), recipe.variations
        self.strengths: list[float] = options["strengths"] or []
        self.method = options["method"]
        self.labels = [label_of(options["method"], strength) for strength in self.strengths]
        self.before = model.tokenize(recipe.texts[0])
        self.parts = pieces(model.tokenizer, self.before, whole=True)
        self.words_before = "".join(self.parts[start:end]).strip()
        self.misfit_before: float | None = None
        per_block = model.in_blocks_of(recipe.settings).block_size * model.patch_size
        self.first = start // per_block * per_block
        last = len(self.before) if follow else end
        self.low, self.high = max(0, min(self.first, start - AROUND)), min(len(self.before), end + AROUND)
        room = len(self.before) - self.first
        rows = [
            Row("", self._lead(), "", self.before[self.first :], self.before[: self.first][-8:], room)
            for _ in range(count_texts(recipe))
        ]
        super().__init__(model, recipe, rows, -(-last // per_block) - self.first // per_block, ends=False, clock=clock)
        self.on_stage = [Shown(row, i // self.candidates) for i, row in enumerate(self.rows)]

    def after(self, event: Any) -> Frame | None:
        if isinstance(event, Edited):
            return self._edited(event)
        return super().after(event)

    def outcome(self) -> list[str]:
        different = len({row.text for row in self.rows})
        if not self.strengths:
            return [counted(len(self.rows), "candidate"), counted(different, "different text")]
        firsts: dict[int, str] = {}  # by place: what the strip shows there
        for one in self.on_stage:
            firsts.setdefault(one.place, one.row.text)
        on_strip = len(set(firsts.values()))
        among = [f"{different} among all {len(self.rows)} candidates"] if different > on_strip else []
        return [counted(len(firsts), "strength"), f"{counted(on_strip, 'different text')} on the strip", *among]

    def stopped_rows(self) -> dict[str, Any]:
        for number, row in enumerate(self.rows):
            if row.final is None:
                row.label = f"no. {number % self.candidates + 1}"
        return super().stopped_rows()

    def rows_value(self, state: RunState) -> dict[str, Any]:
        for row in self.rows:
            if row.final is None:
                row.tail = self._tail(row)
        rows = [candidate_value(one.row.value(), one.place, one.words, one.changed) for one in self.on_stage]
        strip = list(zip(self.strengths, self.labels, strict=True))
        before = self.words_before, self.misfit_before
        return {**stage_value(self.run, state, rows, strip, *before, self.notes), "way": self.method}

    def text_so_far(self, row: Row) -> str:
        after = self.first + len(row.answer) + len(row.live)
        return "".join(self.parts[: self.first]) + self.written(row) + "".join(self.parts[after:])

    def _edited(self, edited: Edited) -> Frame:
        self.misfit_before = edited.misfit_before
        self.notes = list(edited.notes)
        if edited.span != self.span:
            self.notes.append("The span was widened to whole patches of tokens.")
        if len(self.rows) > 1 and len({candidate.text for candidate in edited.candidates}) == 1:
            self.notes.append(ALIKE)
        leading = leading_noise(edited.candidates) if self.strengths else None
        self.on_stage = []
        for place, group in itertools.groupby(edited.candidates, lambda candidate: candidate.row // self.candidates):
            self.on_stage += self._at(place, edited.span, group, leading)
        return self.frame("running", [self._seconds()], 1.0, "Writing")

    def _at(
        self, place: int, span: tuple[int, int], candidates: Iterable[Candidate], leading: int | None
    ) -> list[Shown]:
        """The candidates of one strength, each text once, best first. leading: the noise whose text comes before."""
        alike: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in sorted(candidates, key=lambda candidate: candidate.noise != leading):
            alike[candidate.text].append(candidate)
        shown = []
        for number, (text, same) in enumerate(alike.items(), 1):
            for candidate in same:
                self._finish(candidate)
            row, first = self.rows[same[0].row], same[0]
            row.label = f"no. {number}" if leading is None else "on the strip" if number == 1 else "other noise"
            row.score = f"misfit {first.misfit:.3f}" + (f" · {len(same)} alike" if len(same) > 1 else "")
            inside = range(span[0], min(span[1], len(first.token_ids)))
            parts = pieces(self.model.tokenizer, first.token_ids, special=self.special, whole=True)
            words = "".join(parts[i] for i in inside).strip()
            changed = sum(first.changed[i] for i in inside) / max(1, span[1] - span[0]) if text else 1.0
            shown.append(Shown(row, place, words, changed))
        return shown

    def _finish(self, candidate: Candidate) -> None:
        row = self.rows[candidate.row]
        row.text = candidate.text
        parts = pieces(self.model.tokenizer, candidate.token_ids, special=self.special, whole=True)
        row.final = self._window(parts, [CHANGED * new for new in candidate.changed])
        row.lead, row.tail, row.live, row.answer = "", "", [], list(candidate.token_ids[self.first :])

    def _window(self, parts: Sequence[str], flags: Sequence[int]) -> list[tuple[str, int]]:
        """The part of a text that is shown: around the span, and to the last token that is flagged."""
        last = max((i for i, flag in enumerate(flags) if flag), default=0)
        high = min(len(parts), max(self.high, last + 1 + AROUND)) if last >= self.high else min(len(parts), self.high)
        shown = segments(parts[self.low : high], flags[self.low : high])
        return [*([(_cut(shown[0][0]), 0)] if self.low else []), *shown, *([(" …", 0)] if high < len(parts) else [])]

    def _lead(self) -> str:
        lead = "".join(self.parts[self.low : self.first])
        return (_cut(lead) if self.low else "") + lead

    def _tail(self, row: Row) -> str:
        written = min(self.high, self.first + len(row.answer) + len(row.live))
        return "".join(self.parts[written : self.high]) + (" …" if self.high < len(self.before) else "")


def counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _cut(after: str) -> str:
    """What stands in place of a text's beginning."""
    return "…" if after[:1].isspace() else "… "


def leading_noise(candidates: Iterable[Candidate]) -> int:
    """The key of the noise whose texts fit best over all strengths, so that a strip follows one noise."""
    totals: dict[int, float] = defaultdict(float)
    for candidate in candidates:
        totals[candidate.noise] += candidate.misfit
    return min(totals, key=lambda noise: (totals[noise], noise))


def label_of(method: str, strength: float) -> str:
    """A strength in the unit of its control."""
    if method in ("renoise", "mix"):
        return f"{round(percent(strength), 1):g} %"
    return f"{round(strength, 2):+g}" if round(strength, 2) else "0"
