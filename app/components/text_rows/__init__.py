"""TextRows: several texts of one batch below each other, each as it crystallises, with what is new in it marked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from ..own_html import OwnHTML
from ..token_strip import Token

State = Literal["empty", "running", "done", "stopped", "error"]
CHANGED, PROMPT = 1, 2  # what a piece of a finished text can be, added up
KEPT = -1.0  # in place of a confidence: a token that stands there already


class TextRows(OwnHTML):
    """Shows the value made by `rows_value`.

    Triggers `select` with `text` and `row` when the button of a finished text is pressed. action: the label of that
    button. changed_words: what the mark of a new piece means.

    Rows with `steps` have a player, which is one with that of every other component of the workbench: see playhead.js.
    """

    FILE = "text_rows"
    SCRIPTS = ("step_text.js", "playhead.js", "text_rows/text_rows.js")

    def __init__(self, label: str, action: str, changed_words: str, empty_text: str,
                 value: dict[str, Any] | None = None, **kwargs: Any):  # fmt: skip
        words = {"action": action, "changed_words": changed_words, "empty_text": empty_text}
        super().__init__(value or rows_value("", "empty"), heading=label, **words, **kwargs)

    def example_payload(self) -> Any:
        return rows_value("", "empty")

    example_value = example_payload


def rows_value(
    run: str,
    state: State,
    rows: Iterable[dict[str, Any]] = (),
    notes: Sequence[str] = (),
    share: float = 1.0,
    room: str = "",
) -> dict[str, Any]:
    """What TextRows show. run, state: see `strip_value`. rows: made by `row_value`. notes: sentences below them.

    share: how much of a run under way is over, in [0, 1]; a row that has `steps` stands at the same share of them.
    room: a text about as long as each will be, for which every row has room from the start.
    """
    value = {"run": run, "state": state, "rows": list(rows), "notes": list(notes), "share": round(share, 4)}
    return {**value, "room": room} if room else value


def row_value(
    label: str,
    lead: str = "",
    settled: str = "",
    live: Iterable[Token] = (),
    tail: str = "",
    final: Sequence[tuple[str, int]] | None = None,
    text: str = "",
    score: str = "",
    steps: dict[str, str] | None = None,
) -> dict[str, Any]:
    """One text.

    label: what it is, in a word. lead, tail: what stands around it. settled, live: see `strip_value`; a token with the
    confidence KEPT is one that stays. final: the finished text in pieces (see `segments`), after the lead in
    place of the others. text: all of it, for the button; without it there is none. score: a number with its name.
    steps: of a run that is over, {"lead", "settled", "look"} of a TokenStrip's value, to play it.
    """
    tokens = [[token.text, round(token.confidence, 3), int(token.special)] for token in live]
    return {
        "label": label,
        "lead": lead,
        "settled": settled,
        "live": tokens,
        "tail": tail,
        "final": None if final is None else [list(piece) for piece in final],
        "text": text,
        "score": score,
        "steps": steps,
    }


def segments(pieces: Sequence[str], flags: Sequence[int]) -> list[tuple[str, int]]:
    """Pieces of a text with the same flags joined into one; an empty piece joins what stands before it."""
    out: list[tuple[str, int]] = []
    for piece, flag in zip(pieces, flags, strict=True):
        if out and (out[-1][1] == flag or not piece):
            out[-1] = (out[-1][0] + piece, out[-1][1])
        else:
            out.append((piece, flag))
    return out
