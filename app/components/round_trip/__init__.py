"""RoundTrip: a text token by token, with what each came back as and how wide its posterior is."""

from __future__ import annotations

from typing import Any

from ..own_html import OwnHTML


class RoundTrip(OwnHTML):
    """Shows a value with `note` and `tokens`: [text, word, did it come back, what it reads as, probability, spread],
    nothing while it is None. most: the largest spread, which fills its bar.
    """

    FILE = "round_trip"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(None, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload
