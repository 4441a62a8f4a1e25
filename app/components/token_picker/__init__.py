"""TokenPicker: a text as its tokens, of which a span can be selected by mouse, touch or keyboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML


class TokenPicker(OwnHTML):
    """Its value is made by `picker_value`; the browser changes `start` and `end` as a visitor selects.

    Triggers `undo` with `by`, -1 for back and 1 for forth, on Ctrl+Z and Ctrl+Shift+Z (or Ctrl+Y).
    value: of the text that stands there first. small: for a second text beside the first.
    none_words: what it means that no token is selected.
    """

    FILE = "token_picker"

    def __init__(
        self,
        label: str,
        empty_text: str,
        none_words: str,
        value: dict[str, Any] | None = None,
        small: bool = False,
        **kwargs: Any,
    ) -> None:
        made_of = {"heading": label, "empty_text": empty_text, "none_words": none_words, "small": small}
        super().__init__(value or picker_value("", ()), **made_of, **kwargs)

    def example_payload(self) -> Any:
        return picker_value("", ())

    example_value = example_payload


def picker_value(
    text: str, tokens: Sequence[str], start: int = 0, end: int = 0, note: str = "", wrong: str = ""
) -> dict[str, Any]:
    """What a TokenPicker shows.

    tokens: the pieces of `text`. start, end: the selected tokens, none where equal. note: a sentence on what has
    happened to the text. wrong: what is wrong with it, in place of tokens.
    """
    return {"text": text, "tokens": list(tokens), "start": start, "end": end, "note": note, "wrong": wrong}
