"""TokenStrip: a text as it crystallises, token by token: noise is blur, doubt is pale, certainty is ink."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from ..own_html import OwnHTML

State = Literal["empty", "running", "done", "stopped", "error"]


class Token(NamedTuple):
    """What the strip shows of one token: its text, its confidence in [0, 1], whether it is a special token, its noise
    in [0, 1] while it is being decided, and whether it was given, as a prompt is.
    """

    text: str
    confidence: float
    special: bool = False
    noise: float = 0.0
    given: bool = False


class TokenStrip(OwnHTML):
    """Shows the value made by `strip_value`. Triggers `submit` when the button of the empty state is pressed.

    A run that is over, with `look` (see app/generate/inspection.py), can be played and scrubbed through, by a finger
    that goes over the text too; a click on one of its words triggers `select` with `block` and `token`. Its workbench
    gets an event `playhead` with {block, step, noise}, those of the state that is shown, or {block: null} where the
    finished text is. A text that was steered has a button that brings the one before back: it, or Ctrl+Z outside a
    field, triggers `undo` with `row`.

    The value is cumulative, so an update that the browser never drew is not missed: the settled text is one string
    that only grows by a line a block, of which the new part alone is sent.
    """

    FILE = "token_strip"
    SCRIPTS = ("step_text.js", "swipe.js", "playhead.js", "roll.js", "token_strip/token_strip.js")

    def __init__(
        self, empty_text: str, start_label: str, value: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:  # fmt: skip
        super().__init__(value or strip_value("", "empty"), empty_text=empty_text, start_label=start_label, **kwargs)

    def example_payload(self) -> Any:
        return strip_value("", "empty")

    example_value = example_payload


def strip_value(
    run: str, state: State, prompt: str = "", settled: str = "", live: Iterable[Token] = (), recorded: str = ""
) -> dict[str, Any]:
    """What a TokenStrip shows.

    run: names the run. prompt: what stands before the answer. settled: finished blocks, each a line made by
    `settled_line`. live: the block under way. recorded: of a run that ships with the page, what is said of it; it
    plays by itself, once, where the visitor wants to see movement. Three keys may be added for a text that was steered.
    pinned: how many characters at the end of the prompt are a word that the visitor put there; it is in sight when the
    run is over. after: how many characters of the prompt come after it, none if absent. before: the row of the text
    that it was steered from.
    """
    return {
        "run": run,
        "state": state,
        "prompt": prompt,
        "settled": settled,
        "live": _plain(live),
        "look": "",
        "recorded": recorded,
    }


def settled_line(tokens: Iterable[Token]) -> str:
    """A finished block as a line for `strip_value`."""
    return json.dumps(_plain(tokens), ensure_ascii=False, separators=(",", ":")) + "\n"


def first_tokens(settled: str, count: int) -> str:
    """The first `count` tokens of finished blocks, as lines again."""
    lines = [json.loads(line) for line in settled.split("\n") if line]
    kept = []
    for line in lines:
        part, count = line[:count], max(0, count - len(line))
        if part:
            kept.append(json.dumps(part, ensure_ascii=False, separators=(",", ":")) + "\n")
    return "".join(kept)


def with_given(settled: str, given: Iterable[bool]) -> str:
    """The lines of finished blocks, those tokens marked that were given. given: of each token of the answer."""
    marks, lines = iter(given), [json.loads(line) for line in settled.split("\n") if line]
    return "".join(
        settled_line(Token(*token[:3], noise=0.0, given=next(marks, False)) for token in line) for line in lines
    )


def _plain(tokens: Iterable[Token]) -> list[list[Any]]:
    return [_plain_token(token) for token in tokens]


def _plain_token(token: Token) -> list[Any]:
    """[text, confidence, special], with the noise where there is any, and with both it and 1 where it was given."""
    plain = [token.text, round(token.confidence, 3), int(token.special)]
    if token.given:
        return [*plain, round(token.noise, 2), 1]
    return [*plain, round(token.noise, 2)] if token.noise else plain
