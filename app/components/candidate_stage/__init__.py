"""CandidateStage: what becomes of a span of a text, at the strength under the thumb, with what is new in it marked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..own_html import OwnHTML
from ..text_rows import State


class CandidateStage(OwnHTML):
    """Shows the value made by `stage_value`. The strip of strengths is its slider, by mouse, touch and keys.

    Triggers `submit` when the button of the empty state is pressed, and `select` with `text` and `row` when that of a
    candidate is. no_strip: why there is no strip where the workbench's `data-method` is `anew`; before_strip: what the
    strip will be, for the other methods.
    """

    FILE = "candidate_stage"
    SCRIPTS = ("elements.js", "swipe.js", "candidate_stage/strengths.js", "candidate_stage/candidate_stage.js")

    def __init__(
        self, empty_text: str, start_label: str, before_strip: str, no_strip: str, about_misfit: str, **kwargs: Any
    ) -> None:
        words = {"before_strip": before_strip, "no_strip": no_strip, "about_misfit": about_misfit}
        super().__init__(stage_value("", "empty"), empty_text=empty_text, start_label=start_label, **words, **kwargs)

    def example_payload(self) -> Any:
        return stage_value("", "empty")

    example_value = example_payload


def stage_value(
    run: str,
    state: State,
    rows: Iterable[dict[str, Any]] = (),
    strengths: Sequence[tuple[float, str]] = (),
    before: str = "",
    misfit: float | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What a CandidateStage shows.

    run, state: see `rows_value`. rows: made by `candidate_value`, those of one strength in the order in which they
    stand. strengths: the places of the strip, each with its label; none without a strip. before: the words that stood
    in the span. misfit: of the text as it was, once it is known. notes: sentences about the run.
    A key `way` may be added: the workbench's `data-method` in which the run was made; while it is another, the stage
    says so.
    """
    return {
        "run": run,
        "state": state,
        "rows": list(rows),
        "strengths": [list(strength) for strength in strengths],
        "before": before,
        "misfit": None if misfit is None else round(misfit, 3),
        "notes": list(notes),
    }


def candidate_value(row: dict[str, Any], place: int = 0, words: str = "", changed: float = 0.0) -> dict[str, Any]:
    """One candidate. row: made by `row_value`. place: of its strength on the strip. words: what stands in the span now,
    and changed: which share of the span's tokens is new, in [0, 1], once they are known.
    """
    return {**row, "place": place, "words": words, "changed": round(changed, 2)}
