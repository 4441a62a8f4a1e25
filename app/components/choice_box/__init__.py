"""ChoiceBox: one of several values in a closed list, the browser's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML


class ChoiceBox(OwnHTML):
    """A select element; its value is that of the chosen option. Triggers `select` when a visitor chooses one.

    A value that is none of the choices is shown as one more.

    In place of gr.Dropdown, whose list opens when the field gets the focus and stays open when Tab moves on.
    """

    FILE = "choice_box"

    def __init__(self, label: str, hint: str, choices: Sequence[tuple[str, str]], value: str | None = None,
                 placeholder: str = "", forgets: str = "", **kwargs: Any) -> None:  # fmt: skip
        """choices: (words, value). placeholder: the words for the value "", which cannot be chosen. forgets: a selector
        of settings of the same list; what a visitor enters in one of them sets the value back to "".
        """
        self.values = [known for _, known in choices]
        own = {"heading": label, "hint": hint, "choices": [list(choice) for choice in choices]}
        super().__init__(value, placeholder=placeholder, forgets=forgets, **own, **kwargs)

    def api_info(self) -> dict[str, Any]:
        return {"type": "string", "enum": self.values}

    def example_payload(self) -> Any:
        return self.values[0]

    example_value = example_payload
