"""TokenCard: one word of an answer: what else it could have been, when it settled, and the latent behind it."""

from __future__ import annotations

from typing import Any

from ..own_html import OwnHTML


class TokenCard(OwnHTML):
    """Shows a value with `title`, `where`, `note`, `read` ([word, probability, was it chosen, token id], best first, at
    `noise` per cent of noise; empty where no other word was ever likely), `latent`, `size`, `point` and `requested`;
    nothing while it is None. Triggers `select` with `point` for "see its path", and `input` for another word in its
    place, which the value then has as `pin`: {"id": of a token} or {"text": a word}.

    requested: when the browser asked for it, by its own clock. A value that comes after one that was asked for later is
    dropped.
    """

    FILE = "token_card"
    SCRIPTS = ("elements.js", "quoted_words.js", "token_card/token_card.js")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(None, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload
